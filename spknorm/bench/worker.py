"""What is run for each cell: its command, once, with its output in run.log.

The folder is locked for as long as the command lives, even when the process that started it is
gone: the lock is inherited. A bench that is started again waits for such a run. On Slurm the
command is asked to save before its job ends (supervision.py).
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from spknorm.bench.supervision import Process, supervise
from spknorm.files import lock_file

RUN_LOG = "run.log"
_LOCK = ".bench.lock"
_GRACE_SECONDS = 10.0
_LOCK_SECONDS = 300
"""How long a job holds its place for another run of the same cell, such as a dead node's."""


@dataclass(frozen=True)
class CellRun:
    """A picklable call that runs one command in one folder; it returns the exit status.

    Attributes:
        command: The command line.
        folder: The cell's.
        environment: Variables to set for it.
        requeue: On Slurm, whether a job at its time limit goes back into the queue.
        processes: On each node; more than one, or more than one node, are started by torchrun.
    """

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    _: KW_ONLY
    requeue: bool = True
    processes: int = 1

    def __call__(self) -> int:
        """Run the command unless its result is there; the command's folder is locked meanwhile."""
        if os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            return self._on_slurm()
        process = self.start(wait=True)
        if process is None:
            return 0
        try:
            return process.wait()
        finally:
            end([process])

    def start(self, *, wait: bool = False) -> Process | None:
        """Start the command on this machine; return its process, None where its result is there.

        Raises:
            BlockingIOError: Another run holds the folder, and `wait` is false.
            OSError: There is no such program.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _open_lock(self.folder) as lock:
            lock_file(lock, self.folder, wait=wait)
            if (self.folder / "result.json").is_file():
                return None
            return self._start(self.command, log=RUN_LOG, pass_fds=(lock.fileno(),))

    def _on_slurm(self) -> int:
        """Run one node's part of the cell; the first node holds the lock and has run.log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        node = int(os.environ.get("SLURM_NODEID", "0"))
        with contextlib.ExitStack() as held:
            keep: tuple[int, ...] = ()
            if node == 0:
                lock = held.enter_context(_open_lock(self.folder))
                _lock_in_time(lock, self.folder)
                keep = (lock.fileno(),)
            if (self.folder / "result.json").is_file():
                return 0
            log = RUN_LOG if node == 0 else f"run.{node}.log"
            start = partial(self._start, log=log, pass_fds=keep)
            return supervise(
                start, self.command, self.folder, processes=self.processes, requeue=self.requeue
            )

    def _start(self, command: Sequence[str], *, log: str, **options: Any) -> Process:
        """Start a command with the cell's variables; what it prints goes to `log`."""
        with (self.folder / log).open("wb") as file:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": python_path(), **self.environment},
                **options,
            )


def end(processes: Iterable[Process]) -> None:
    """End processes: they are asked to, and killed if they are still there some seconds later."""
    alive = [one for one in processes if one.poll() is None]
    for one in alive:
        one.terminate()
    last = time.monotonic() + _GRACE_SECONDS
    for one in alive:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.wait(max(0.0, last - time.monotonic()))
        one.kill()  # nothing to one that has ended
        one.wait()


def python_path() -> str:
    """Return the PYTHONPATH with which a process finds this package."""
    root, found = str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")
    return os.pathsep.join((root, found)) if found else root


def is_running(folder: Path) -> bool:
    """Tell whether a run, started by whomever, holds the folder, which need not be writable."""
    try:
        with (folder / _LOCK).open() as lock:
            lock_file(lock, folder, shared=True)
    except BlockingIOError:
        return True
    except (FileNotFoundError, PermissionError):
        pass
    return False


def _open_lock(folder: Path) -> IO[str]:
    return (folder / _LOCK).open("a")


def _lock_in_time(lock: IO[str], folder: Path) -> None:
    """Take the lock, or end the job: what waits for ever would hold its nodes idle."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            lock_file(lock, folder)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise SystemExit(
                    f"spknorm: Another run of {folder.name} still holds its folder after "
                    f"{_LOCK_SECONDS} s: wait for it to end, or cancel its job."
                ) from None
        time.sleep(1)
