"""The cells that run on this machine; on a cluster: `cluster.py`."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from spknorm.bench.cells import Cell
from spknorm.bench.executor import Executor
from spknorm.bench.summary import error_of
from spknorm.bench.supervision import Process
from spknorm.bench.worker import RUN_LOG, CellRun, end, is_running

JOBS = ".jobs"
"""In the bench's folder: what submitit keeps of Slurm's jobs, and what they said."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_DRIVER_OF_WINDOWS = Path("/usr/lib/wsl/lib/libcuda.so.1")
_TIMEOUT = "It reached its time limit: raise executor.timeout_min, or start the bench again."

Command = Callable[[Cell, Path], Sequence[str]]
"""The command line that makes a cell in its folder."""


def environment_of(settings: Executor) -> dict[str, str]:
    """Return the variables that every run is started with."""
    return {**dict.fromkeys(_THREADS, str(settings.threads)), "TQDM_DISABLE": "1"}


class _Started(NamedTuple):
    process: Process | None  # None: its result was there, or it could not be started
    gpu: str
    last: float  # when it is stopped at the latest
    error: str

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class LocalJobs:
    """Cells as processes of this machine, each on one GPU where there are some.

    A run whose bench is gone holds its folder, and is waited for as it comes up. Audit and report
    are the caller's.
    """

    poll_seconds = 0.2

    def __init__(self, executor: Executor, out: Path, command: Command) -> None:
        self._settings, self._out, self._command = executor, out, command
        self.at_a_time = max_parallel(executor)
        self._gpus = gpus_for(executor)
        self._started: dict[str, _Started] = {}

    def adopt(self, cells: Sequence[Cell]) -> list[Cell]:
        """Take over nothing: what an earlier bench left running holds its folder."""
        return []

    def start(self, cells: Sequence[Cell]) -> int:
        """Hand cells over; all are taken."""
        for cell in cells:
            folder = self._out / cell.name
            busy = [one.gpu for one in self._started.values() if one.is_alive]
            gpu = min(self._gpus, key=busy.count, default="")
            environment = environment_of(self._settings)
            if gpu or self._settings.gpus == 0:
                environment["CUDA_VISIBLE_DEVICES"] = gpu
            process, error = None, ""
            try:
                process = CellRun(self._command(cell, folder), folder, environment).start()
            except BlockingIOError:  # someone else has just begun it
                continue
            except OSError as its:
                error = str(its)
            last = time.monotonic() + 60 * self._settings.minutes
            self._started[cell.name] = _Started(process, gpu, last, error)
        return len(cells)

    def is_over(self, cell: Cell) -> bool:
        """Tell whether nothing is at work on a cell any more."""
        one = self._started.get(cell.name)
        if one is not None and one.process is not None and one.is_alive:
            if time.monotonic() < one.last:
                return False
            end([one.process])
            self._started[cell.name] = one._replace(error=_TIMEOUT)
        return not is_running(self._out / cell.name)  # what it started may outlive it for a moment

    def is_at_work(self, cell: Cell) -> bool:
        """Every cell that was started is."""
        return True

    def why(self, cell: Cell) -> str | None:
        """Return why a cell that is over has no result; None if it was not started here."""
        one = self._started.get(cell.name)
        return one and (one.error or error_of([self._out / cell.name / RUN_LOG]))

    def follow(self) -> bool:
        """Have nothing follow the cells."""
        return True

    def finish(self) -> list[str]:
        """Return that nothing failed after the cells."""
        return []

    def cancel(self) -> None:
        """End all cells, and wait until they have."""
        end(one.process for one in self._started.values() if one.process is not None)


def max_parallel(executor: Executor) -> int | None:
    """Return how many cells run at a time; None: as many as the cluster gives."""
    if executor.max_parallel is not None or executor.kind == "slurm":
        return executor.max_parallel
    cores = len(os.sched_getaffinity(0))
    return len(gpus_for(executor)) or max(1, cores // executor.threads)


def gpus_for(executor: Executor) -> list[str]:
    """Return the GPUs of this machine that runs may use.

    They are what CUDA_VISIBLE_DEVICES names, or the numbers of all of NVIDIA's; Windows' Linux
    has no files of these, and is taken to have one if it has their driver.
    """
    if executor.gpus == 0:
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    numbers = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return sorted(numbers, key=int) or ["0"] * _DRIVER_OF_WINDOWS.exists()
