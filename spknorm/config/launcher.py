"""Who this process is among those that a launcher started: torchrun, Slurm; read without torch."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from multiprocessing import parent_process
from typing import NamedTuple

from spknorm.errors import ConfigError

_SCONTROL_SECONDS = 60


class Place(NamedTuple):
    """Number of this process, how many there are, and its number on this machine."""

    rank: int
    size: int
    local_rank: int


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return the place that the launcher's variables give; alone without them.

    Raises:
        ConfigError: Some are missing or no numbers: they are left over from another program.
    """
    size = _number(environment, "WORLD_SIZE", "1")
    if size <= 1:
        return Place(0, 1, 0)
    needed = ("RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {size} without {' and '.join(missing)}: unset WORLD_SIZE if it is "
            "left over from another program, or start the run with torchrun."
        )
    rank = _number(environment, "RANK", "0")
    if not 0 <= rank < size:
        raise ConfigError(
            f"RANK is {rank}, but must be from 0 to {size - 1}, since WORLD_SIZE is {size}: unset "
            "both if they are left over from another program."
        )
    return Place(rank, size, _number(environment, "LOCAL_RANK", "0"))


def end_with_parent(status: int) -> None:
    """Let this process of `multiprocessing` end with the one that started it, if that is killed.

    It would wait for work, or for work to be taken, for ever: forked ones hold each other's pipes
    open.
    """
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        while os.getppid() == parent.pid:
            time.sleep(1)
        os._exit(status)

    threading.Thread(target=watch, daemon=True).start()


def slurm_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the number of the Slurm job that this process belongs to; None outside of Slurm.

    Of a job array it is that of the one task: the number in SLURM_JOB_ID may stand for all of them.
    """
    array, task = (environment.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID") or None


def requeue_job() -> str | None:
    """Put this process's Slurm job back into the queue.

    Returns:
        The job's number; None outside of Slurm, or where there is no scontrol.

    Raises:
        OSError, subprocess.SubprocessError: It was refused, or no answer came.
    """
    job, scontrol = slurm_job(), shutil.which("scontrol")
    if job is None or scontrol is None:
        return None
    subprocess.run(
        [scontrol, "requeue", job],
        check=True,
        capture_output=True,
        text=True,
        timeout=_SCONTROL_SECONDS,
        # Slurm ends the job's processes at once, and scontrol would die before it has its answer.
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    )
    return job


def _number(environment: Mapping[str, str], name: str, default: str) -> int:
    text = environment.get(name) or default
    if not text.strip().isdigit():
        raise ConfigError(
            f"{name} is `{text}`, but must be a whole number: unset it if it is left over from "
            "another program."
        )
    return int(text)
