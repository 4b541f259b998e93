"""Runs the pending cells, here or on a cluster, and keeps count. Last in this folder.

A cell that fails does not stop the others. Killed at any moment, the bench goes on where it was:
everything it knows is in the cells' own result files.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from spknorm.bench.cells import Cell, num_methods
from spknorm.bench.cluster import SlurmJobs
from spknorm.bench.expansion import expand
from spknorm.bench.experiment import Experiment, read_experiment
from spknorm.bench.jobs import JOBS, Command, LocalJobs, max_parallel
from spknorm.bench.summary import CellStatus, Summary, status_of, write_summary
from spknorm.bench.worker import is_running
from spknorm.files import FolderLock

Jobs = LocalJobs | SlurmJobs
_TELL_SECONDS = 2.0


class DryRun(NamedTuple):
    """What a bench would do now.

    `max_parallel` runs at a time, None: as many as the cluster gives; `seconds_left` is an estimate
    from the finished cells, None before the first one.
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
    experiment = read_experiment(experiment)
    statuses = [status_of(cell, out) for cell in expand(experiment, quick=quick)]
    parallel = max_parallel(experiment.executor)
    return DryRun(tuple(statuses), parallel, _seconds_left(statuses, parallel))


def run(
    experiment: Path | Experiment,
    out: Path,
    *,
    quick: bool = False,
    command: Command = Cell.command,
    on_progress: Callable[[BenchProgress], None] = lambda progress: None,
) -> Summary:
    """Run every cell that is not complete, at most `max_parallel` at a time.

    A folder per cell is made in `out`, and the summary, which has what failed cells said. `command`
    returns the command line that makes a cell in its folder; `on_progress` is called at the start,
    whenever a cell starts or ends, and every 2 s. The rest is as in `expand`.

    Raises:
        ConfigError: As `expand`, or another bench is at work in `out`.
        KeyboardInterrupt: The running cells were stopped; calling again continues them.
    """
    experiment = read_experiment(experiment)
    out = Path(out).resolve()
    cells = expand(experiment, quick=quick)
    with FolderLock(out):
        executor = experiment.executor
        statuses = [status_of(cell, out) for cell in cells]
        board = _Board(experiment.name, out, statuses, max_parallel(executor), on_progress)
        board.tell()
        audits = num_methods(cells) if experiment.audit else 0
        jobs: Jobs = LocalJobs(executor, out, command)
        if executor.kind == "slurm":
            jobs = SlurmJobs(executor, out, command, experiment.name, audits=audits)
        try:
            _work_off(board, jobs)
            not_followed = jobs.finish()
        except BaseException:
            jobs.cancel()
            raise
        finally:
            summary = board.write()
        if not summary.failed and not not_followed:
            shutil.rmtree(out / JOBS, ignore_errors=True)
        return summary._replace(not_followed=tuple(not_followed))


def _work_off(board: "_Board", jobs: Jobs) -> None:
    """Start what waits, as many as there is place for, and note what ends, until all has ended."""
    waiting = [one.cell for one in board.statuses.values() if one.status == "pending"]
    for cell in jobs.adopt(waiting):
        waiting.remove(cell)
        board.running[cell.name] = None
    while waiting or board.running:
        for cell in board.running_cells():
            if jobs.is_over(cell):
                board.end(cell, jobs.why(cell))
                if board.statuses[cell.name].status == "pending":
                    waiting.append(cell)  # someone else's run, and it did not finish
                board.tell(ended=cell)
            elif jobs.is_at_work(cell):
                board.work(cell)
        if starts := _starts(board, jobs, waiting):
            taken = jobs.start(starts)
            for cell in starts[:taken]:
                if jobs.is_at_work(cell):
                    board.work(cell)
            for cell in starts[taken:]:
                del board.running[cell.name]
            waiting[:0] = starts[taken:]
            board.tell()
        if not waiting:
            jobs.follow()
        time.sleep(jobs.poll_seconds)
        if time.monotonic() - board.told > _TELL_SECONDS:
            board.tell()


def _starts(board: "_Board", jobs: Jobs, waiting: list[Cell]) -> list[Cell]:
    """Take from `waiting` what there is place for; cells at work elsewhere are only watched."""
    room = len(waiting)
    if jobs.at_a_time is not None:
        room = max(0, min(room, jobs.at_a_time - len(board.running)))
    starts = []
    for cell in waiting[:room]:
        waiting.remove(cell)
        board.running[cell.name] = None
        folder = board.out / cell.name
        if not is_running(folder):
            if status_of(cell, board.out).status == "pending":  # at most half a result
                (folder / "result.json").unlink(missing_ok=True)
            starts.append(cell)
    return starts


class _Board:
    """Where every cell stands while the bench runs."""

    def __init__(
        self,
        name: str,
        out: Path,
        statuses: Iterable[CellStatus],
        parallel: int | None,
        listener: Callable[[BenchProgress], None],
    ) -> None:
        self.name = name
        self.out = out
        self.statuses = {one.cell.name: one for one in statuses}
        self.running: dict[str, float | None] = {}  # since when; None: it waits in a queue
        self.told = time.monotonic()
        self._parallel, self._listener = parallel, listener
        self.write()

    def running_cells(self) -> list[Cell]:
        """Return the cells that were started and have not ended, by name."""
        return [self.statuses[name].cell for name in sorted(self.running)]

    def work(self, cell: Cell) -> None:
        """Note that a cell is at work, which one in a cluster's queue is not yet."""
        if self.running.get(cell.name) is None:
            self.running[cell.name] = time.monotonic()

    def end(self, cell: Cell, why: str | None) -> None:
        """Note how a cell ended; without `why` it was not our run, and may be pending again."""
        status = status_of(cell, self.out)
        if status.status == "pending" and why is not None:
            status = CellStatus(cell, "failed", error=why)
        self.running.pop(cell.name, None)
        self.statuses[cell.name] = status
        self.write()

    def write(self) -> Summary:
        """Write summary.json, as all stands now."""
        return write_summary(self.name, list(self.statuses.values()), self.out)

    def tell(self, ended: Cell | None = None) -> None:
        """Report how far the bench is."""
        statuses, self.told = list(self.statuses.values()), time.monotonic()
        at_work = {name: since for name, since in self.running.items() if since is not None}
        elapsed = {name: self.told - since for name, since in at_work.items()}
        counts = Counter(one.status for one in statuses)
        self._listener(
            BenchProgress(
                total=len(statuses),
                complete=counts["complete"],
                failed=counts["failed"],
                running=len(at_work),
                seconds_left=_seconds_left(statuses, self._parallel, elapsed),
                ended=None if ended is None else self.statuses[ended.name],
            )
        )


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
