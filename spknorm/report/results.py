"""The runs of a folder as the report's tables take them. First in the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spknorm import runs
from spknorm.runs.metrics_log import Step
from spknorm.runs.probes import ProbeRow
from spknorm.runs.summary import PlannedRun

Confusion = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run: result.json and its `test`, with what stands beside it."""

    folder: str
    task: str
    upstream: str
    strategy: str
    update: str | None
    adversary: str | None
    speaker_lambda: float | None
    protocol: str
    fold: str
    seed: int
    draw: int | None
    samples_per_label: int | None
    frozen: bool
    steps: int | None
    best_step: int | None
    seconds: float | None
    wa: float
    ua: float
    macro_f1: float
    n: int
    classes: tuple[str, ...]
    confusion: Confusion
    by_speaker: Mapping[str, Confusion]
    versions: Mapping[str, Any]
    config: Mapping[str, Any]
    args: Mapping[str, Any]
    history: tuple[Step, ...] = ()
    probes: tuple[ProbeRow, ...] = ()
    doubts: tuple[str, ...] = ()
    config_file: str | None = None

    @property
    def position(self) -> tuple[str, int, int, int]:
        """Where in the grid the run stands: what pairs it with the same run of another method."""
        return self.fold, self.seed, self.draw or 0, self.samples_per_label or 0


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that a folder holds."""

    experiment: str
    runs: tuple[Run, ...]
    planned: tuple[PlannedRun, ...]
    probes: tuple[ProbeRow, ...]
    features: tuple[Path, ...]
    doubts: tuple[str, ...]


def read_results(folder: Path) -> Results:
    """Read every result file under `folder`; errors as `spknorm.runs.read`."""
    found = runs.read(folder)
    return Results(
        experiment=found.experiment,
        runs=tuple(map(_flat, found.runs)),
        planned=found.planned,
        probes=found.probes,
        features=found.features,
        doubts=found.doubts,
    )


def _flat(run: runs.Run) -> Run:
    result, settings = run.result, run.settings
    values = vars(result) | vars(result.test)
    values["adversary"] = settings.get("downstream_expert.spknorm.adversary")
    names = [name for name in Run.__dataclass_fields__ if name in values]
    return Run(
        **{name: values[name] for name in names},
        folder=run.folder,
        history=run.history,
        probes=run.probes,
        doubts=run.doubts,
        config_file=run.config_file,
    )
