"""Checkpoints in s3prl's layout that are whole, checked and never the only copy at risk.

Between `runs/` and `runner/`. `states-N.ckpt` and `dev-best.ckpt` hold s3prl's keys
(Optimizer, Step, Epoch, Args, Config, [Upstream], Featurizer, Downstream, [Scheduler],
[WorldSize]) and `Spknorm`, what our engine needs to go on bit for bit.
"""

import argparse
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

from spknorm.config.memory import or_else
from spknorm.errors import CheckpointError, MissingError, is_disk_full
from spknorm.files import atomic_path, system_errors
from spknorm.upstreams.weights import describe, load_weights

logger = logging.getLogger(__name__)

BEST = "dev-best.ckpt"
_STATES = re.compile(r"states-(\d{1,18})\.ckpt")
_NEEDED = ("Step", "Args", "Config", "Downstream")
_TRAINING = ("Optimizer", "Scheduler")


def save(path: Path, states: dict[str, Any]) -> None:
    """Write a checkpoint beside `path`, fsync it, read it back, and only then rename it.

    Raises:
        CheckpointError: It could not be written (no space left, ...); `path` is as it was.
    """
    import torch
    from torch.utils._pytree import tree_map_only

    def write(content: dict[str, Any]) -> None:
        with temporary.open("wb") as file:
            torch.save(content, file)

    try:
        with atomic_path(path) as temporary:
            with system_errors(path):
                or_else(
                    lambda: write(states),  # which takes memory of a GPU, tensor by tensor
                    lambda: write(tree_map_only(torch.Tensor, torch.Tensor.cpu, states)),
                )
            read(temporary, lazily=True)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise CheckpointError(disk_full(path.parent, error)) from error


def read(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """Return a checkpoint's content; tensors on the CPU, nothing but plain data is unpickled.

    `lazily`: tensors are read from the file as they are used.

    Raises:
        MissingError: No such file.
        CheckpointError: Damaged, not a checkpoint, or holding objects that would run code.
    """
    # Lets the Namespace in; torch's context manager would take it away from s3prl's Runner again.
    import spknorm.compat  # noqa: F401

    try:
        with zipfile.ZipFile(path) as archive:  # torch.load itself compares no checksum
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"The checkpoint {path} is damaged (checksum of {damaged}).")
    except FileNotFoundError as error:
        raise MissingError(f"There is no checkpoint {path}.") from error
    except OSError as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read: {error}.") from error
    except CheckpointError:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds for a damaged archive
        what = describe(path)
        if what.startswith("is a "):  # a pointer of git-lfs, a web page, ...
            raise CheckpointError(f"The checkpoint {path} {what}.") from error
        raise CheckpointError(f"The checkpoint {path} is damaged ({error}).") from error
    states = load_weights(path, map_location="cpu", mmap=lazily)
    if not isinstance(states, dict) or any(key not in states for key in _NEEDED):
        raise CheckpointError(
            f"{path} is not a checkpoint of s3prl: it lacks {', '.join(_NEEDED)}."
        )
    return states


def latest(expdir: Path) -> tuple[Path, dict[str, Any]]:
    """Return the newest usable checkpoint of an experiment and its content.

    A damaged one is named in a warning, and the one before it (which may be `dev-best.ckpt`) used.

    Raises:
        MissingError: There is no checkpoint.
        CheckpointError: There are checkpoints, but none is usable.
    """
    usable: list[tuple[int, Path]] = []
    problems: list[str] = []
    for path in existing(expdir):
        try:
            states = read(path, lazily=bool(problems))
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if not problems:
            return path, states
        usable.append((int(states["Step"]), path))
    if not usable:
        if not problems:
            raise MissingError(
                f"There is no checkpoint in {expdir}: it is no experiment's folder, or its run "
                "kept none (config.runner.keep)."
            )
        raise CheckpointError(
            f"No checkpoint in {expdir} is usable, so the run cannot go on. "
            + " ".join(problems)
            + " Put a copy back, or start again in another folder (-n or -p)."
        )
    chosen = max(usable, key=lambda pair: pair[0])[1]
    for problem in problems:
        logger.warning("%s The one before, %s, is used.", problem, chosen.name)
    return chosen, read(chosen)


def existing(expdir: Path) -> list[Path]:
    """Return an experiment's checkpoints, the newest numbered one first, `dev-best.ckpt` last."""
    paths = [path for _, path in sorted(_numbered(expdir).items(), reverse=True)]
    return paths + [path for path in (expdir / BEST,) if path.exists()]


def rotate(expdir: Path, *, step: int, keep: int) -> None:
    """Delete numbered checkpoints but the one of `step` and the `keep - 1` before it.

    Later ones belong to a course that was left when the run went on from an earlier checkpoint.
    """
    paths = _numbered(expdir)
    kept = sorted((number for number in paths if number <= step), reverse=True)[:keep]
    for number, path in paths.items():
        if number not in kept:
            path.unlink(missing_ok=True)


def shrink(expdir: Path, *, keep: str) -> None:
    """Delete what a complete run does not need any more.

    Args:
        expdir: Of a run whose result is written.
        keep: all; best: dev-best.ckpt (or the newest one, where there is none); weights: the same
            without what training on takes; last: that, and the newest one whole; none: nothing.

    Raises:
        CheckpointError: The disk is full; nothing was deleted.
    """
    paths = existing(expdir)
    if keep == "all" or not paths:
        return
    best, newest = paths[-1] if paths[-1].name == BEST else paths[0], paths[0]
    if keep == "weights" or (keep == "last" and newest != best):
        states = read(best)
        if any(key in states for key in _TRAINING):
            save(best, {key: one for key, one in states.items() if key not in _TRAINING})
    kept = {"last": (best, newest), "best": (best,), "weights": (best,), "none": ()}[keep]
    for path in paths:
        if path not in kept:
            path.unlink(missing_ok=True)


def plain_args(args: argparse.Namespace) -> argparse.Namespace:
    """Return the command line with plain values alone, as `load` accepts them."""
    plain = (str, int, float, bool, type(None))
    return argparse.Namespace(
        **{key: val if isinstance(val, plain) else str(val) for key, val in vars(args).items()}
    )


def disk_full(folder: Path, error: OSError) -> str:
    """Return what to tell the user when `folder` takes no more data."""
    return (
        f"{folder} takes no more data ({error.strerror}). What was saved before is whole: "
        "free some space and go on with -a."
    )


def _numbered(expdir: Path) -> dict[int, Path]:
    if not expdir.is_dir():
        return {}
    matches = ((_STATES.fullmatch(path.name), path) for path in expdir.iterdir())
    return {int(match[1]): path for match, path in matches if match}
