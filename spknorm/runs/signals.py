"""Signals that end a run in order: finish the step, save, exit; a second one ends it at once.

The engine asks `Interruption.signal` between steps.
"""

import logging
import os
import signal
import subprocess
from types import FrameType
from typing import Any

from spknorm.batches.workers import StopRequest
from spknorm.config.launcher import requeue_job, slurm_job

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class Interruption:
    """While entered, remembers the first signal instead of dying of it.

    Exit statuses are the shell's, 128 + number: SIGINT 130, SIGTERM 143, SIGUSR1 138 (what cluster
    schedulers send ahead of a time limit: see `requeue`), SIGHUP 129 (the terminal is gone; under
    nohup it stays without effect).
    """

    def __init__(self) -> None:
        self.signal = 0
        """Number of the signal received, 0 if none."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        """Take the signals over (in the main thread; elsewhere Python allows no handlers)."""
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self._before[number] = signal.signal(number, self._receive)
            except ValueError:
                break
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        StopRequest.number = 0

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            if number == signal.SIGTERM and slurm_job() is not None:
                return  # Slurm repeats it, from several of its processes, before it kills
            os._exit(128 + number)
        self.signal = StopRequest.number = number


class Interrupted(Exception):  # noqa: N818  # not an error
    """A signal has asked the run to end, and all processes have agreed on it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def requeue() -> None:
    """Put this SLURM job back into its queue; does nothing elsewhere, and a failure is only told.

    With `-a` in the job's command, the job goes on where it was saved.
    """
    try:
        job = requeue_job()
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or "").strip()
        logger.warning("Job %s was not put back into the queue: %s %s", slurm_job(), error, said)
    else:
        if job is not None:
            logger.info("Job %s was put back into the queue.", job)
