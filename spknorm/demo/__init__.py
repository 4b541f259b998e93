"""The embedded corpora: a deterministic generator of emotional speech with known confounding.

Below it, in data-flow order: `synthesis.py` (a voice), `population.py` (who says what),
`trees.py` (folders in IEMOCAP's and VoxCeleb1's layouts).
"""

import itertools
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.errors import ConfigError
from spknorm.files import cache_root, read_json, sha256_of, system_errors, write_json

logger = logging.getLogger(__name__)

NUM_UTTERANCES = 10 * (48 + 64) + 80 * 16
_SOURCES = ("synthesis.py", "population.py", "trees.py")
_STAMP = "demo.json"


class DemoRoots(NamedTuple):
    """Where the demo corpora are: arguments for the iemocap and voxceleb1 readers."""

    iemocap: Path
    voxceleb1: Path
    voxceleb1_split: Path


def make_demo_corpora(
    folder: Path | None = None,
    *,
    rho: float = 0.8,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DemoRoots:
    """Write the demo corpora unless they are there; return where they are.

    Up to 16 s of one core, 106 MB. They are built beside `folder` and renamed, so a folder is
    whole or absent, and stamped, so that other parameters or a changed generator build them anew.

    The folder holds iemocap/, voxceleb1/ and the stamp; by default it is demo-<key> in
    $SPKNORM_CACHE or ~/.cache/spknorm, where the key stands for parameters and generator. `rho` is
    the confounding of speaker and emotion in the improvised dialogues, 0-1; progress is called with
    (utterances written, utterances in all).

    Raises:
        ConfigError: `rho` is not within 0-1, `seed` is negative, or `folder` holds something else.
    """
    if not 0.0 <= rho <= 1.0:
        raise ConfigError(f"The demo's `rho` must be within 0 and 1, but is {rho}.")
    if seed < 0:
        raise ConfigError(f"The demo's `seed` must be 0 or more, but is {seed}.")
    stamp = _stamp(rho, seed)
    folder = default_folder(rho=rho, seed=seed) if folder is None else Path(folder).absolute()
    split = folder / "voxceleb1" / "iden_split.txt"
    roots = DemoRoots(folder / "iemocap", split.parent, split)
    if _is_current(folder, stamp):
        return roots
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        logger.info("Making the demo corpora in %s (about 10 s).", folder)
        with system_errors(folder):
            from spknorm.demo import trees

            done = itertools.count(1)

            def spoken() -> None:
                progress(next(done), NUM_UTTERANCES)

            trees.write_iemocap(beside / "iemocap", rho=rho, seed=seed, spoken=spoken)
            place = beside / split.parent.name
            trees.write_voxceleb1(place, place / split.name, seed=seed, spoken=spoken)
        write_json(beside / _STAMP, stamp)
        beside.chmod(0o755)
        _install(beside, folder, stamp)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return roots


def default_folder(*, rho: float = 0.8, seed: int = 0) -> Path:
    """Return where `make_demo_corpora` writes when no folder is named."""
    key = sha256_of(repr(sorted(_stamp(rho, seed).items())).encode())[:12]
    return cache_root().absolute() / f"demo-{key}"


def _stamp(rho: float, seed: int) -> dict[str, Any]:
    sources = b"".join(Path(__file__).with_name(name).read_bytes() for name in _SOURCES)
    return {"rho": float(rho), "seed": int(seed), "generator": sha256_of(sources)}


def _is_current(folder: Path, stamp: dict[str, Any]) -> bool:
    if not folder.exists():
        return False
    if (folder / _STAMP).is_file():
        return bool(read_json(folder / _STAMP) == stamp)
    if not folder.is_dir() or any(folder.iterdir()):
        raise ConfigError(
            f"{folder} is not a folder of demo corpora and is not empty, so it is left alone. "
            "Name another folder."
        )
    return False


def _install(built: Path, folder: Path, stamp: dict[str, Any]) -> None:
    """Put `built` in the place of `folder`; another process may have done so meanwhile."""
    old = built.with_name(f"{built.name}.old")
    for _ in range(10):
        if _is_current(folder, stamp):
            return
        try:
            if folder.exists():
                folder.rename(old)
            built.rename(folder)
            return
        except OSError:
            continue
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise ConfigError(f"{folder} cannot be replaced; is another process writing to it?")
