"""The cells that were handed to Slurm: one job array for all, followed by squeue. After `jobs.py`.

What was handed over is noted in the bench's folder before it is: a bench that was killed takes the
jobs over that still wait or run, instead of asking for them twice. The leakage audit and the report
are jobs of their own that Slurm starts after the runs, be the bench there or not.
"""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from spknorm.bench import slurm
from spknorm.bench.cells import Cell
from spknorm.bench.executor import Executor
from spknorm.bench.jobs import JOBS, Command, environment_of
from spknorm.bench.slurm import JobState
from spknorm.bench.submission import TooManyError, check_place, gpus_of, left_jobs, submit
from spknorm.bench.summary import error_of, is_audited, told_of, word_of_step
from spknorm.bench.worker import RUN_LOG, CellRun, is_running

logger = logging.getLogger(__name__)

AUDIT, REPORT = "audit", "report"
"""Jobs after the runs."""
_ASK_SECONDS = (2.0, 15.0)  # between two questions to Slurm: at first, and in the long run
_RESULT_SECONDS = 30
_CANCEL_SECONDS = 60
_FULL_SECONDS = 60  # after which jobs that were too many are offered again
_SILENT_SECONDS = 300  # without an answer of Slurm, after which that is told
_NEVER_BEGUN = (
    "Slurm: its job is gone and never began, be it that it was cancelled as it waited or that "
    "Slurm lost it: the same command starts it again"
)
_WITHOUT_A_WORD = "Slurm: its job is over, and said nothing: as if all of it had been killed"


class SlurmJobs:
    """Cells as tasks of a job array; the bench's folder is on a disk that all nodes share.

    Raises:
        ConfigError: As `check_place`.
    """

    poll_seconds = 0.5

    def __init__(
        self, executor: Executor, out: Path, command: Command, name: str, *, audits: int = 0
    ) -> None:
        check_place(out)
        self._audits = audits  # jobs that share what comes after the cells, until it is given
        self._settings, self._out, self._command, self._name = executor, out, command, name
        self._job_of: dict[str, str] = {}
        self._states: dict[str, JobState] = {}
        self._asked = self._started = self._answered = time.monotonic()
        self._told_of_silence = False
        self._over_since: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._begun = False
        self._full_until = 0.0  # it took no more jobs

    @property
    def at_a_time(self) -> int | None:
        """None: all, Slurm keeps count; once it took some alone, what it may run; 0 for a while."""
        if not self._full_until:
            return None
        return 0 if time.monotonic() < self._full_until else self._settings.max_parallel

    # --- what was handed over ---

    def adopt(self, cells: Sequence[Cell]) -> list[Cell]:
        """Take over those cells whose jobs an earlier bench left; return them."""
        names = {cell.name for cell in cells}
        for name, (job, state) in left_jobs(self._out / JOBS).items():
            if name in names or name.partition(" ")[0] in (AUDIT, REPORT):
                self._job_of[name], self._states[job] = job, state
        return [cell for cell in cells if cell.name in self._job_of]

    def start(self, cells: Sequence[Cell]) -> int:
        """Hand cells over as one job array, or as few as Slurm takes; return how many it took.

        Raises:
            ConfigError: Slurm refuses them; the cause is in its own words.
        """
        size, done, self._begun = slurm.largest_array(), 0, True
        before: str | None = None
        while done < len(cells):
            some = cells[done : done + size]
            calls = {}
            for cell in some:
                folder = self._out / cell.name
                calls[cell.name] = self._call(self._command(cell, folder), folder)
            # With a limit on runs at a time one array follows the other, so that it holds for all.
            after = [before] if before and self._settings.max_parallel else []
            try:
                before = self._submit(calls, after=after)
            except TooManyError:
                size = len(some) // 2
                if size == 0 and not self._waits_for_room():
                    raise
                if size == 0:
                    break
            else:
                done += len(some)
        return done

    def _waits_for_room(self) -> bool:
        """Tell whether what Slurm does not take now is offered again: not with none at work."""
        self._full_until = time.monotonic() + _FULL_SECONDS
        cells = self._job_of.keys() - {*self._after()}
        return not all(self._state(name).is_over for name in cells)

    def follow(self) -> bool:
        """Have Slurm audit and report when the cells handed over are over, unless it will already.

        Tells whether it took that; if not, it may later.

        Raises:
            ConfigError: It refuses them.
        """
        if not self._audits or (REPORT in self._job_of and not self._begun):
            self._audits = 0
            return True
        if time.monotonic() < self._full_until:
            return False
        old = [self._job_of.pop(name) for name in self._after()]  # of an earlier bench: too early
        slurm.cancel(old)
        gpus = min(1, gpus_of(self._settings))
        device = "cuda" if gpus else "cpu"
        runs = sorted({job.partition("_")[0] for job in self._job_of.values()})
        program = [sys.executable, "-m", "spknorm"]
        calls = {}
        for number in range(1, self._audits + 1):
            part, folder = f"{number}/{self._audits}", self._out / JOBS / f"{AUDIT}{number}"
            command = [*program, "audit", str(self._out), "--device", device, "--part", part]
            calls[f"{AUDIT} {part}"] = self._call(command, folder)
        command = [*program, "report", str(self._out), "--audit"]
        report = {REPORT: self._call(command, self._out / JOBS / REPORT)}
        try:
            audit = self._submit(calls, after=runs, asked={"nodes": 1, "gpus_per_node": gpus})
            self._submit(report, after=[audit], asked={"nodes": 1, "gpus_per_node": 0})
        except TooManyError:
            if self._waits_for_room():
                return False
            raise
        self._audits = 0
        return True

    def _call(self, command: Sequence[str], folder: Path) -> CellRun:
        many = folder.parent == self._out  # a cell, not what comes after
        return CellRun(
            command,
            folder,
            environment_of(self._settings),
            requeue=self._settings.requeue,
            processes=max(1, gpus_of(self._settings)) if many else 1,
        )

    def _submit(
        self,
        calls: Mapping[str, CellRun],
        *,
        after: Sequence[str] = (),
        asked: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        """Submit calls as one array (one call: a job) and return its number."""
        folder = self._out / JOBS
        numbers = submit(self._settings, folder, self._name, calls, after=after, asked=asked)
        self._job_of |= dict(zip(calls, numbers, strict=True))
        self._started = time.monotonic()
        return numbers[0].partition("_")[0]

    # --- what became of it ---

    def is_over(self, cell: Cell) -> bool:
        """Tell whether nothing is at work on a cell any more."""
        folder = self._out / cell.name
        if cell.name not in self._job_of:
            return not is_running(folder)
        over = self._job_is_over(cell.name)
        if not over and self._is_silent() and (folder / "result.json").is_file():
            return not is_running(folder)
        if not over or (folder / "result.json").is_file():
            return over
        waited = time.monotonic() - self._over_since[cell.name]
        ended_well = self._state(cell.name).state == "COMPLETED"  # its result may be on its way
        return waited > (_RESULT_SECONDS if ended_well else 0) and not is_running(folder)

    def is_at_work(self, cell: Cell) -> bool:
        """Tell whether a cell that was handed over has begun."""
        return self._state(cell.name).state == "RUNNING"

    def why(self, cell: Cell) -> str | None:
        """Return why a cell that is over has no result; None if it was not started here."""
        return self._why(cell.name, self._out / cell.name)

    def finish(self) -> list[str]:
        """Wait until the jobs after the runs are over; return what they failed of."""
        while self._audits and not is_audited(self._out) and not self.follow():
            time.sleep(self.poll_seconds)
        while not all(self._job_is_over(name) for name in self._after()):
            time.sleep(self.poll_seconds)
        told = []
        for name in self._after():
            if self._state(name).state not in ("COMPLETED", "GONE"):
                folder = self._out / JOBS / name.partition("/")[0].replace(" ", "")
                told.append(f"{name}: {self._why(name, folder)}")
        return told

    def _after(self) -> list[str]:
        return [name for name in self._job_of if name.partition(" ")[0] in (AUDIT, REPORT)]

    def _why(self, name: str, folder: Path) -> str | None:
        job = self._job_of.get(name)
        if job is None:
            return None
        if name in self._refused:
            return self._refused[name]
        partition = self._settings.partition
        if self._state(name).state == "NODE_FAIL" and slurm.is_gone(partition):
            return (
                f"Slurm: its partition {partition} was removed, and its job with it (NODE_FAIL): "
                "name another (executor.partition), and the same command goes on."
            )
        log = self._out / JOBS / f"{job}_0_log.err"
        if self._state(name).state == "GONE" and not log.exists():
            return f"{_NEVER_BEGUN}."
        return (
            told_of([log, folder / RUN_LOG])
            or self._state(name).why
            or word_of_step(log)
            or (error_of([folder / RUN_LOG, log]) if told_of([log], by="srun") else None)
            or f"{_WITHOUT_A_WORD} (all of it: {log})"
        )

    def _job_is_over(self, name: str) -> bool:
        """Tell whether Slurm has said twice that a job is over: one that is requeued passes by."""
        self._ask()
        state, now = self._state(name), time.monotonic()
        never = state.never(self._settings.partition)
        if never and name not in self._refused:
            self._refused[name] = never
            slurm.cancel([self._job_of[name]])
        if not state.is_over and name not in self._refused:
            self._over_since.pop(name, None)
            return False
        since = self._over_since.setdefault(name, now)
        return name in self._refused or self._asked > since

    def _state(self, name: str) -> JobState:
        return self._states.get(self._job_of.get(name, ""), JobState("PENDING"))

    def _ask(self) -> None:
        now = time.monotonic()
        least, most = _ASK_SECONDS
        if now - self._asked < min(most, max(least, (now - self._started) / 20)):
            return
        open_jobs = self._open_jobs()
        self._asked = time.monotonic()
        found = slurm.states({job.partition("_")[0] for job in open_jobs})
        if found is None:  # the controller restarts, or is too busy
            if self._is_silent() and not self._told_of_silence:
                self._told_of_silence = True
                logger.warning(
                    "Slurm has not answered for %d minutes (squeue): its jobs go on without the "
                    "bench, which waits for an answer. Ctrl-C ends both.",
                    round((time.monotonic() - self._answered) / 60),
                )
            return
        self._answered, self._told_of_silence = time.monotonic(), False
        for job in open_jobs:
            self._states[job] = found.get(job, JobState("GONE"))

    def _open_jobs(self) -> list[str]:
        return [job for name, job in self._job_of.items() if not self._state(name).is_over]

    def _is_silent(self) -> bool:
        return time.monotonic() - self._answered > _SILENT_SECONDS

    def cancel(self) -> None:
        """End all jobs, and wait until they have."""
        open_jobs = self._open_jobs()
        slurm.cancel(open_jobs)
        end = time.monotonic() + _CANCEL_SECONDS
        while open_jobs and time.monotonic() < end:
            found = slurm.states({job.partition("_")[0] for job in open_jobs})
            if found is not None:
                open_jobs = [job for job in open_jobs if job in found and not found[job].is_over]
            time.sleep(self.poll_seconds)
