"""Runs the pending cells through submitit and keeps count. Last in this folder.

A cell that fails does not stop the others. Killed at any moment, the bench goes on where it was:
everything it knows is in the cells' own result files.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from spknorm.bench.cells import Cell
from spknorm.bench.expansion import expand
from spknorm.bench.experiment import Executor, Experiment, read_experiment
from spknorm.bench.summary import CellStatus, Summary, error_of, status_of, write_summary
from spknorm.bench.worker import (
    RUN_LOG,
    CellRun,
    RequeuedCellRun,
    importable,
    is_running,
    stoppable,
)
from spknorm.errors import ConfigError
from spknorm.files import FolderLock

_POLL_SECONDS = 0.2
_TELL_SECONDS = 2.0
_JOBS = ".jobs"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class DryRun(NamedTuple):
    """What a bench would do now.

    Attributes:
        statuses: Every cell and where it stands.
        max_parallel: Runs at a time; None: as many as the cluster gives.
        seconds_left: Estimate from the finished cells; None before the first one.
    """

    statuses: tuple[CellStatus, ...]
    max_parallel: int | None
    seconds_left: float | None


class BenchProgress(NamedTuple):
    """How far a bench is; `ended` is the cell that has just ended, if one has.

    `seconds_left` is an estimate from the finished cells, None before the first one.
    """

    total: int
    complete: int
    failed: int
    running: int
    seconds_left: float | None
    ended: CellStatus | None


def plan(experiment: Path | Experiment, out: Path, *, quick: bool = False) -> DryRun:
    """Return the grid, where each cell stands and how long the rest would take; runs nothing.

    Raises:
        ConfigError: As `expand`.
    """
    experiment = _read(experiment)
    statuses = [status_of(cell, out) for cell in expand(experiment, quick=quick)]
    parallel = _max_parallel(experiment.executor)
    return DryRun(tuple(statuses), parallel, _seconds_left(statuses, parallel))


def run(
    experiment: Path | Experiment,
    out: Path,
    *,
    quick: bool = False,
    command: Callable[[Cell, Path], Sequence[str]] = Cell.command,
    on_progress: Callable[[BenchProgress], None] = lambda progress: None,
) -> Summary:
    """Run every cell that is not complete, at most `max_parallel` at a time.

    Args:
        experiment: The file, or what `read_experiment` made of it.
        out: Folder of the bench; a folder per cell is made in it, and summary.json.
        quick: See `expand`.
        command: What makes a cell: (cell, its folder) -> command line.
        on_progress: Called at the start, whenever a cell starts or ends, and every 2 s.

    Returns:
        The summary; cells that failed are in it, with what they said.

    Raises:
        ConfigError: As `expand`, or another bench is at work in `out`.
        KeyboardInterrupt: The running cells were stopped; calling again continues them.
    """
    experiment = _read(experiment)
    out = Path(out).resolve()
    cells = expand(experiment, quick=quick)
    with FolderLock(out):
        board = _Board(experiment.name, out, [status_of(cell, out) for cell in cells])
        executor = experiment.executor
        board.parallel = _max_parallel(executor)
        board.tell(on_progress)
        jobs = _Jobs(executor, out, experiment.name)
        waiting = [one.cell for one in board.statuses.values() if one.status == "pending"]
        try:
            while waiting or board.running:
                for cell in board.running_cells():
                    if jobs.is_over(cell):
                        board.end(cell, jobs.logs_of(cell))
                        if board.statuses[cell.name].status == "pending":
                            waiting.append(cell)  # someone else's run, and it did not finish
                        board.tell(on_progress, ended=cell)
                while waiting and (board.parallel is None or len(board.running) < board.parallel):
                    cell = waiting.pop(0)
                    if not is_running(out / cell.name):
                        if status_of(cell, out).status == "pending":  # at most half a result
                            (out / cell.name / "result.json").unlink(missing_ok=True)
                        jobs.start(cell, command(cell, out / cell.name))
                    board.running[cell.name] = time.monotonic()
                    board.tell(on_progress)
                time.sleep(_POLL_SECONDS)
                if time.monotonic() - board.told > _TELL_SECONDS:
                    board.tell(on_progress)
        except BaseException:
            jobs.cancel()
            raise
        finally:
            summary = write_summary(experiment.name, list(board.statuses.values()), out)
        if not summary.failed:
            shutil.rmtree(out / _JOBS, ignore_errors=True)
        return summary


class _Board:
    """Where every cell stands while the bench runs."""

    def __init__(self, name: str, out: Path, statuses: Iterable[CellStatus]) -> None:
        self.name = name
        self.out = out
        self.statuses = {one.cell.name: one for one in statuses}
        self.running: dict[str, float] = {}  # since when
        self.parallel: int | None = None
        self.told = time.monotonic()
        write_summary(name, list(self.statuses.values()), out)

    def running_cells(self) -> list[Cell]:
        return [self.statuses[name].cell for name in sorted(self.running)]

    def end(self, cell: Cell, logs: Sequence[Path]) -> None:
        """Note how a cell ended; without `logs` it was not our run, and may be pending again."""
        status = status_of(cell, self.out)
        if status.status == "pending" and logs:
            status = CellStatus(cell, "failed", error=error_of(logs))
        self.running.pop(cell.name, None)
        self.statuses[cell.name] = status
        write_summary(self.name, list(self.statuses.values()), self.out)

    def tell(self, listener: Callable[[BenchProgress], None], ended: Cell | None = None) -> None:
        statuses, self.told = list(self.statuses.values()), time.monotonic()
        elapsed = {name: self.told - since for name, since in self.running.items()}
        counts = [sum(one.status == name for one in statuses) for name in ("complete", "failed")]
        listener(
            BenchProgress(
                total=len(statuses),
                complete=counts[0],
                failed=counts[1],
                running=len(self.running),
                seconds_left=_seconds_left(statuses, self.parallel, elapsed),
                ended=None if ended is None else self.statuses[ended.name],
            )
        )


class _Jobs:
    """The cells that were handed to submitit."""

    def __init__(self, executor: Executor, out: Path, name: str) -> None:
        self._settings = executor
        self._out = out
        self._name = name
        self._gpus = _visible_gpus() if executor.kind == "local" and executor.gpus != 0 else []
        self._gpu_of: dict[str, str] = {}
        self._executor: Any = None
        self.started: dict[str, Any] = {}

    def start(self, cell: Cell, command: Sequence[str]) -> None:
        environment = dict.fromkeys(_THREADS, str(self._settings.threads))
        environment["TQDM_DISABLE"] = "1"
        if self._gpus:
            busy = [gpu for name, gpu in self._gpu_of.items() if name in self.started]
            gpu = min(self._gpus, key=busy.count)
            self._gpu_of[cell.name] = environment["CUDA_VISIBLE_DEVICES"] = gpu
        kind = RequeuedCellRun if self._settings.requeue else CellRun
        call = kind(command, self._out / cell.name, environment)
        if self._executor is None:
            self._executor = _submitit_executor(self._settings, self._out / _JOBS, self._name)
        with importable(), stoppable():
            self.started[cell.name] = self._executor.submit(call)

    def is_over(self, cell: Cell) -> bool:
        job = self.started.get(cell.name)
        if job is not None and not job.done():
            return False
        if is_running(self._out / cell.name):  # it may outlive its job for a moment
            return False
        self._gpu_of.pop(cell.name, None)
        return True

    def logs_of(self, cell: Cell) -> list[Path]:
        """The files that say why a cell failed; none if it was not started here."""
        job = self.started.get(cell.name)
        return [] if job is None else [self._out / cell.name / RUN_LOG, Path(job.paths.stderr)]

    def cancel(self) -> None:
        for job in self.started.values():
            if not job.done():
                job.cancel(check=False)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(job.done() for job in self.started.values()):
            time.sleep(_POLL_SECONDS)


def _submitit_executor(settings: Executor, folder: Path, name: str) -> Any:
    import submitit

    options: dict[str, Any] = {"timeout_min": settings.timeout_min}
    if settings.kind == "slurm":
        if shutil.which("sbatch") is None:
            raise ConfigError(
                "`executor.kind` is slurm, but there is no sbatch here. "
                "Start the bench on a machine of the cluster, or set kind to local."
            )
        options |= {
            "name": name,
            "cpus_per_task": settings.threads,
            "gpus_per_node": 1 if settings.gpus is None else settings.gpus,
            "slurm_partition": settings.partition,
            "mem_gb": settings.mem_gb,
        }
    executor = submitit.AutoExecutor(folder=folder, cluster=settings.kind)
    executor.update_parameters(**{key: one for key, one in options.items() if one is not None})
    return executor


def _max_parallel(executor: Executor) -> int | None:
    if executor.max_parallel is not None or executor.kind == "slurm":
        return executor.max_parallel
    gpus = [] if executor.gpus == 0 else _visible_gpus()
    cores = len(os.sched_getaffinity(0))
    return len(gpus) or max(1, cores // executor.threads)


def _visible_gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES names, or the numbers of the machine's NVIDIA GPUs."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    numbers = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return sorted(numbers, key=int)


def _seconds_left(
    statuses: Sequence[CellStatus],
    parallel: int | None,
    elapsed: Mapping[str, float] = MappingProxyType({}),
) -> float | None:
    """Mean time of the finished cells of each variant, else of all, over those to come.

    `elapsed` says for how long the running ones have been at work.
    """
    known: dict[str, list[float]] = {}
    for one in statuses:
        if one.seconds is not None:
            known.setdefault(one.cell.variant, []).append(one.seconds)
    if not known:
        return None
    every = [seconds for group in known.values() for seconds in group]
    left = []
    for one in statuses:
        if one.status == "pending":
            group = known.get(one.cell.variant, every)
            left.append(max(0.0, sum(group) / len(group) - elapsed.get(one.cell.name, 0.0)))
    return sum(left) / max(1, min(parallel or len(left), len(left)))


def _read(experiment: Path | Experiment) -> Experiment:
    return experiment if isinstance(experiment, Experiment) else read_experiment(experiment)
