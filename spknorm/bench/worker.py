"""What submitit runs for each cell: the cell's command, once, with its output in run.log.

The folder is locked for as long as the command lives, even when the process that started it is
gone: the lock is inherited. A bench that is started again waits for such a run.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from spknorm.files import lock_file

RUN_LOG = "run.log"
_LOCK = ".bench.lock"
_GRACE_SECONDS = 0.7


class CellRun:
    """A picklable call that runs one command in one folder; it returns the exit status.

    Args:
        command: The command line.
        folder: The cell's folder.
        environment: Variables to set for it.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.command = list(command)
        self.folder = Path(folder)
        self.environment = dict(environment)

    def __call__(self) -> int:
        """Run the command unless its result is there; the command's folder is locked meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _open_lock(self.folder) as lock:
            lock_file(lock, self.folder, wait=True)
            if (self.folder / "result.json").is_file():
                return 0
            with (self.folder / RUN_LOG).open("wb") as log:
                process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.environment},
                    pass_fds=(lock.fileno(),),
                )
                try:
                    return process.wait()
                finally:
                    _stop(process)


class RequeuedCellRun(CellRun):
    """A cell that a cluster may put back into its queue: `-a` continues it."""

    def checkpoint(self) -> Any:
        """Return the same call again; submitit asks for it before a time-out or preemption."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let submitit stop the processes started meanwhile: it sends SIGINT.

    What a shell starts in the background ignores that signal, and so would its children.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """Let the processes started meanwhile find this package, installed or not."""
    before = os.environ.get("PYTHONPATH")
    root = str(Path(__file__).resolve().parents[2])
    os.environ["PYTHONPATH"] = root if not before else os.pathsep.join((root, before))
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def is_running(folder: Path) -> bool:
    """Tell whether a run, started by whomever, holds the folder."""
    if not (folder / _LOCK).exists():
        return False
    with _open_lock(folder) as lock:
        try:
            lock_file(lock, folder)
        except BlockingIOError:
            return True
    return False


def _open_lock(folder: Path) -> IO[str]:
    return (folder / _LOCK).open("a")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
