"""Which runs an audit probes: those below some folders, told apart by all that changes numbers.

First in this folder. It reads result.json, or dev-best.ckpt where there is none; no weights yet.
"""

import argparse
import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spknorm import config as configuration
from spknorm.config import effects
from spknorm.errors import CheckpointError, MissingError
from spknorm.files import own_place, require_folder, sha256_of
from spknorm.runs.checkpoint import BEST
from spknorm.runs.trained import object_in, read_checkpoint
from spknorm.schema import TaskConfig

_PROTOCOLS = (
    *("si5", "si10", "loso-group", "loso", "official", "emosuperb", "emobox", "audb", "cross"),
    *("low_resource", "sd"),
)
"""In the order in which an audit prefers them."""
_OF_PROTOCOL = {
    f"downstream_expert.datarc.{name}"
    for name in ("protocol", "base", "dev", "groups", "unseen", "allow_leak")
}
_READ_BY_HEAD = (
    "upstream_feature_selection",
    "upstream_layer_selection",
    "upstream_feature_normalize",
)
_IN_STAGE = {"args.upstream", "args.upstream_trainable"} | {
    f"downstream_expert.spknorm.{name}" for name in ("strategy", "erasure")
}


class Run(NamedTuple):
    """A finished experiment, as far as an audit needs it.

    `folder` has its dev-best.ckpt; `args` are s3prl's command line.
    """

    folder: Path
    args: argparse.Namespace
    settings: TaskConfig

    @property
    def upstream(self) -> str:
        """Name on s3prl's hub."""
        return str(self.args.upstream)

    @property
    def stage(self) -> str:
        """What was done to the upstream: none, SNP, TAP, or the erasure leace or znorm."""
        method = self.settings.downstream_expert.spknorm
        return method.strategy if method.erasure == "none" else method.erasure

    @property
    def frozen(self) -> bool:
        """Whether the upstream kept its weights."""
        return not self.args.upstream_trainable

    @property
    def place(self) -> Path:
        """Where what is found of it is written: its folder, unless that cannot be written."""
        return own_place(self.folder, "audit")

    @property
    def fold(self) -> str:
        """Its test fold."""
        named = self.settings.downstream_expert.datarc.test_fold
        return named or getattr(self.args, "downstream_variant", None) or "fold1"

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(getattr(self.args, "seed", None) or 1337)

    def max_seconds(self, corpus: str) -> float | None:
        """Return to what utterances of a corpus are cropped; None: they are heard whole."""
        speaker_corpus = self.settings.downstream_expert.speaker_corpus
        return speaker_corpus.max_seconds if corpus == "speaker" else None

    @property
    def speaker_dependent(self) -> bool:
        """Whether it trained on the speakers that it was tested on, or was allowed to."""
        data = self.settings.downstream_expert.datarc
        base = data.base if data.protocol == "low_resource" else ""
        return data.allow_leak or "sd" in (data.protocol, base)

    @property
    def is_raw(self) -> bool:
        """Whether its head sees exactly what it would see of the raw upstream."""
        one_layer = getattr(self.args, "upstream_layer_selection", None) is not None
        sums_layers = self.args.upstream_feature_selection == "hidden_states" and not one_layer
        own = sums_layers or getattr(self.args, "initial_weights", None) is not None
        return self.frozen and self.stage == "none" and not own

    def identity(self) -> dict[str, Any]:
        """Return every setting that decides its method, by path."""
        return effects.identity(self.settings, vars(self.args))

    def raw_identity(self) -> dict[str, Any]:
        """Return what decides what a head sees of its raw upstream."""
        names = ("", "_ckpt", "_model_config", "_revision", "_model_name")
        all_names = (*(f"upstream{name}" for name in names), "hub", *_READ_BY_HEAD)
        return {f"args.{name}": getattr(self.args, name, None) for name in all_names}

    def weights_mark(self) -> str:
        """Return a hash of its checkpoint, from the checksums that the file itself holds.

        Raises:
            CheckpointError: The file is damaged.
        """
        path = self.folder / BEST
        try:
            with zipfile.ZipFile(path) as archive:
                parts = [(part.filename, part.CRC, part.file_size) for part in archive.infolist()]
        except (zipfile.BadZipFile, OSError) as error:
            raise CheckpointError(f"The checkpoint {path} is damaged ({error}).") from error
        return sha256_of(json.dumps(parts).encode())


def find_runs(folders: Sequence[Path], *, every_run: bool) -> list[Run]:
    """Return the runs in and below `folders`, or only the best one of each method to probe.

    The best one is speaker-independent where there is such a one, so that the speakers whose
    emotions are probed were held out from it; then the first fold and the lowest seed. A folder
    below that holds a benchmark of its own is left alone.

    Raises:
        MissingError: A folder without any.
        CheckpointError: A checkpoint is damaged.
    """
    paths: dict[Path, None] = {}
    for folder in map(Path, folders):
        require_folder(folder, "that of a finished experiment or of a benchmark")
        inside = sorted(path.parent for path in folder.rglob(BEST))
        inside = [path for path in inside if not _is_of_another_bench(path, folder)]
        if not inside:
            raise MissingError(
                f"{folder} holds no finished experiment (no {BEST} in it or below it)."
            )
        paths |= dict.fromkeys(inside)
    runs = [_read(path) for path in paths]
    if every_run:
        return runs
    best: dict[str, Run] = {}
    for run in sorted(runs, key=_preference):
        method = {k: v for k, v in run.identity().items() if k not in _OF_PROTOCOL}
        best.setdefault(json.dumps(method, sort_keys=True, default=str), run)
    return [run for run in runs if run in best.values()]


def is_control(run: Run, of: Run) -> bool:
    """Return whether `run` differs from `of` in nothing but that its adversary was off."""
    if run.stage != "none" or of.stage == "none" or (run.fold, run.seed) != (of.fold, of.seed):
        return False
    off = run.settings.downstream_expert.spknorm
    expert = dataclasses.replace(of.settings.downstream_expert, spknorm=off)
    changed = dataclasses.replace(of.settings, downstream_expert=expert)
    return effects.identity(changed, vars(of.args)) == run.identity()


def name_variants(runs: Sequence[Run]) -> dict[Path, str]:
    """Return how each run's column is called: its stage, and in what it differs from others of it.

    Runs with one name repeat one another.
    """
    settings = effects.identities((run.settings, vars(run.args)) for run in runs)
    names = {}
    for run, values in zip(runs, settings, strict=True):
        name = f"{run.stage} (frozen)" if run.frozen else run.stage
        if run.speaker_dependent and not all(other.speaker_dependent for other in runs):
            name += ", speaker-dependent"
        alike = [v for r, v in zip(runs, settings, strict=True) if _kind(r) == _kind(run)]
        own = {k: v for k, v in values.items() if k not in _OF_PROTOCOL | _IN_STAGE}
        names[run.folder] = name + _differences(own, alike)
    return names


def name_raw(runs: Sequence[Run]) -> dict[Path, str]:
    """Return how the column of each run's raw upstream is called."""
    names = {}
    for run in runs:
        alike = [other.raw_identity() for other in runs if other.upstream == run.upstream]
        names[run.folder] = "raw" + _differences(run.raw_identity(), alike)
    return names


def _kind(run: Run) -> tuple[str, str, bool]:
    return run.upstream, run.stage, run.frozen


def _differences(own: dict[str, Any], others: Sequence[dict[str, Any]]) -> str:
    """Return the settings in which `own` differs from some of the others, as ` (name value, ...)`.

    The first three by name, or as many as it takes to tell them apart; numbers of steps and the
    like come last.
    """
    paths = [path for path in own if any(other.get(path) != own[path] for other in others)]
    paths.sort(key=lambda path: (not path.startswith(("args.", "downstream_expert.spknorm")), path))
    rivals = [[other.get(path) for path in paths] for other in others]
    values = [own[path] for path in paths]
    count = 3
    while any(one[:count] == values[:count] and one != values for one in rivals):
        count += 1
    pairs = [f"{path.rpartition('.')[2].removeprefix('upstream_')} {own[path]}" for path in paths]
    return f" ({', '.join(pairs[:count])})" if pairs else ""


def _preference(run: Run) -> tuple[Any, ...]:
    protocol = run.settings.downstream_expert.datarc.protocol
    rank = _PROTOCOLS.index(protocol) if protocol in _PROTOCOLS else len(_PROTOCOLS)
    fold = run.fold.removeprefix("fold")
    number = int(fold) if fold.isdecimal() else 0
    return run.speaker_dependent, rank, number, run.seed, str(run.folder)


def _is_of_another_bench(path: Path, folder: Path) -> bool:
    above = [parent for parent in path.parents if parent.is_relative_to(folder)]
    return any((parent / "summary.json").is_file() for parent in above if parent != folder)


def _read(folder: Path) -> Run:
    result = object_in(folder / "result.json")
    if isinstance(result.get("args"), dict) and isinstance(result.get("config"), dict):
        args, config = argparse.Namespace(**result["args"]), result["config"]
        if getattr(args, "upstream_feature_selection", None):
            return Run(folder, args, configuration.parse(configuration.sections(config)))
    state = read_checkpoint(folder)
    return Run(folder, state["Args"], configuration.parse(configuration.sections(state["Config"])))
