"""The cells that were handed to submitit on this machine; on a cluster: `cluster.py`."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spknorm.bench.cells import Cell
from spknorm.bench.executor import Executor
from spknorm.bench.summary import error_of
from spknorm.bench.worker import RUN_LOG, CellRun, importable, is_running, stoppable

JOBS = ".jobs"
"""In the bench's folder: what submitit keeps, and what the jobs said."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CANCEL_SECONDS = 10


Command = Callable[[Cell, Path], Sequence[str]]
"""The command line that makes a cell in its folder."""


def environment_of(settings: Executor) -> dict[str, str]:
    """Return the variables that every run is started with."""
    return {**dict.fromkeys(_THREADS, str(settings.threads)), "TQDM_DISABLE": "1"}


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
        self._gpu_of: dict[str, str] = {}
        self._executor: Any = None
        self._started: dict[str, Any] = {}

    def adopt(self, cells: Sequence[Cell]) -> list[Cell]:
        """Take over nothing: what an earlier bench left running holds its folder."""
        return []

    def start(self, cells: Sequence[Cell]) -> int:
        """Hand cells over; all are taken."""
        for cell in cells:
            environment = environment_of(self._settings)
            if self._gpus:
                busy = [gpu for name, gpu in self._gpu_of.items() if name in self._started]
                gpu = min(self._gpus, key=busy.count)
                self._gpu_of[cell.name] = environment["CUDA_VISIBLE_DEVICES"] = gpu
            if self._executor is None:
                import submitit

                self._executor = submitit.AutoExecutor(folder=self._out / JOBS, cluster="local")
                self._executor.update_parameters(timeout_min=self._settings.minutes)
            with importable(), stoppable():
                folder = self._out / cell.name
                call = CellRun(self._command(cell, folder), folder, environment)
                self._started[cell.name] = self._executor.submit(call)
        return len(cells)

    def is_over(self, cell: Cell) -> bool:
        """Tell whether nothing is at work on a cell any more."""
        job = self._started.get(cell.name)
        if job is not None and not job.done():
            return False
        if is_running(self._out / cell.name):  # it may outlive its job for a moment
            return False
        self._gpu_of.pop(cell.name, None)
        return True

    def is_at_work(self, cell: Cell) -> bool:
        """Every cell that was started is."""
        return True

    def why(self, cell: Cell) -> str | None:
        """Return why a cell that is over has no result; None if it was not started here."""
        job = self._started.get(cell.name)
        if job is None:
            return None
        return error_of([self._out / cell.name / RUN_LOG, Path(job.paths.stderr)])

    def follow(self) -> bool:
        """Have nothing follow the cells."""
        return True

    def finish(self) -> list[str]:
        """Return that nothing failed after the cells."""
        return []

    def cancel(self) -> None:
        """End all cells, and wait until they have."""
        for job in self._started.values():
            if not job.done():
                job.cancel(check=False)
        deadline = time.monotonic() + _CANCEL_SECONDS
        while time.monotonic() < deadline and not all(j.done() for j in self._started.values()):
            time.sleep(self.poll_seconds)


def max_parallel(executor: Executor) -> int | None:
    """Return how many cells run at a time; None: as many as the cluster gives."""
    if executor.max_parallel is not None or executor.kind == "slurm":
        return executor.max_parallel
    cores = len(os.sched_getaffinity(0))
    return len(gpus_for(executor)) or max(1, cores // executor.threads)


def gpus_for(executor: Executor) -> list[str]:
    """Return the GPUs of this machine that runs may use.

    They are what CUDA_VISIBLE_DEVICES names, or the numbers of all of NVIDIA's.
    """
    if executor.gpus == 0:
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    numbers = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return sorted(numbers, key=int)
