"""Which upstreams an audit hears: finished runs below some folders, and the raw ones under them.

Reads checkpoints; writes nothing but the temporary files that s3prl's loader wants.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spknorm import config as configuration
from spknorm import upstreams
from spknorm.checkpoint import BEST
from spknorm.errors import MissingError
from spknorm.export.experiment import read_exportable
from spknorm.export.upstream_file import write_upstream_file
from spknorm.runs.trained import read_checkpoint, sections
from spknorm.schema import TaskConfig


class Run(NamedTuple):
    """A finished experiment, as far as an audit needs it.

    Attributes:
        folder: With dev-best.ckpt and result.json.
        upstream: Name on s3prl's hub.
        ckpt: What it was loaded from, where -k said so.
        stage: none, SNP or TAP.
        frozen: Whether the upstream kept its weights.
        settings: Its configuration.
        fold: Its test fold.
        seed: Its seed.
    """

    folder: Path
    upstream: str
    ckpt: str | None
    stage: str
    frozen: bool
    settings: TaskConfig
    fold: str
    seed: int

    @property
    def variant(self) -> tuple[Any, ...]:
        """What runs of one variant have in common, whatever their fold and seed."""
        method, expert = self.settings.downstream_expert.spknorm, self.settings.downstream_expert
        return (self.upstream, self.ckpt, self.frozen, method, expert.speaker_corpus)

    @property
    def is_raw(self) -> bool:
        """Whether its features are those of the raw upstream."""
        return self.frozen and self.stage == "none"


def find_runs(folders: Sequence[Path], *, every_run: bool) -> list[Run]:
    """Return the runs in and below `folders`, or only the first of each variant.

    Raises:
        MissingError: A folder without any.
        CheckpointError: A checkpoint is damaged.
    """
    paths: dict[Path, None] = {}
    for folder in folders:
        inside = sorted(path.parent for path in Path(folder).rglob(BEST))
        if not inside:
            raise MissingError(
                f"{folder} holds no finished experiment (no {BEST} in it or below it)."
            )
        paths |= dict.fromkeys(inside)
    runs = [_read(path) for path in paths]
    if every_run:
        return runs
    kept: list[Run] = []
    for run in runs:
        if all(run.variant != other.variant for other in kept):
            kept.append(run)
    return kept


def trained_upstream(run: Run, scratch: Path) -> Any:
    """Return the run's upstream as its heads see it, its gate included, from s3prl's hub."""
    from s3prl import hub

    file = scratch / "trained.pt"
    write_upstream_file(file, read_exportable(run.folder).upstream)
    try:
        return hub.spknorm_hubert_local(ckpt=str(file)).eval()
    finally:
        file.unlink()


def raw_upstream(run: Run) -> Any:
    """Return the upstream that the run began with."""
    from s3prl import hub

    args = argparse.Namespace(upstream=run.upstream, upstream_ckpt=run.ckpt)
    return hub.spknorm_hubert_local(ckpt=str(upstreams.build(args).source)).eval()


def _read(folder: Path) -> Run:
    state = read_checkpoint(folder)
    args = vars(state["Args"])
    settings = configuration.parse(sections(state["Config"]))
    expert = settings.downstream_expert
    return Run(
        folder=folder,
        upstream=args["upstream"],
        ckpt=args.get("upstream_ckpt"),
        stage=expert.spknorm.strategy,
        frozen="Upstream" not in state,
        settings=settings,
        fold=expert.datarc.test_fold or args.get("downstream_variant") or "fold1",
        seed=int(args.get("seed") or 1337),
    )
