"""What Slurm says of jobs: where they stand, what it refuses, what it will never start.

Asked of `squeue` alone, which every cluster has: `sacct` knows nothing without accounting.
"""

import re
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

_SECONDS = 60
_FORMAT = "%i|%T|%r|%N|%k"
OVER = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "BOOT_FAIL", "DEADLINE", "REVOKED", "GONE"),
    }
)
"""States that a job does not leave; GONE: Slurm has forgotten it, which takes minutes."""
_NEVER = {
    "PartitionTimeLimit": "its partition allows less time: lower executor.timeout_min",
    "PartitionNodeLimit": "its partition allows fewer nodes: lower executor.nodes",
    "PartitionConfig": "its partition does not take it: see executor",
    "BadConstraints": "no node has what it asks for: see executor (gpus, mem_gb, threads, nodes)",
    "InvalidAccount": "its account is not known to Slurm: set SBATCH_ACCOUNT",
    "InvalidQOS": "its quality of service is not known to Slurm: set SBATCH_QOS",
    "JobHoldMaxRequeue": "it failed to start too often, and is held",
    "launch failed requeued held": "it could not be started on its node, and is held",
    "DependencyNeverSatisfied": "what it waits for was cancelled",
}
for _amount, _setting, _reasons in (
    ("time", "timeout_min", "QOSMaxWallDurationPerJobLimit AssocMaxWallDurationPerJobLimit"),
    ("memory", "mem_gb", "MaxMemPerLimit QOSMaxMemoryPerJob AssocMaxMemPerJob"),
    ("GPUs", "gpus", "QOSMaxGRESPerJob AssocMaxGRESPerJob"),
    ("cores", "threads", "QOSMaxCpuPerJobLimit AssocMaxCpuPerJobLimit"),
    ("core minutes", "timeout_min", "QOSMaxCpuMinutesPerJobLimit AssocMaxCpuMinutesPerJobLimit"),
    ("nodes", "nodes", "QOSMaxNodePerJobLimit AssocMaxNodePerJobLimit"),
):
    _are = "is" if _amount in ("time", "memory") else "are"
    _text = f"more {_amount} than {_are} allowed: lower executor.{_setting}"
    _NEVER |= dict.fromkeys(_reasons.split(), _text)
_WHY = {
    "TIMEOUT": "it reached its time limit before it was saved: raise executor.timeout_min",
    "OUT_OF_MEMORY": "its memory ran out: raise executor.mem_gb",
    "CANCELLED": "it was cancelled",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "another job took its place, and Slurm did not put it back into the queue",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "its deadline passed",
}


class JobState(NamedTuple):
    """Where a job stands: Slurm's word for it, why it waits, on which nodes it is."""

    state: str
    reason: str = ""
    nodes: str = ""
    comment: str = ""

    @property
    def is_over(self) -> bool:
        """Whether Slurm will do nothing more about it."""
        return self.state in OVER

    def never(self, partition: str | None = None) -> str | None:
        """Return why it will never start; None while it may.

        Args:
            partition: What was asked for. Of several Slurm names the one that it tried last, and
                another may still take the job.
        """
        if self.state != "PENDING" or self.reason not in _NEVER:
            return None
        if "," in (partition or "") and self.reason.startswith("Partition"):
            return None
        return f"Slurm will never start it ({self.reason}): {_NEVER[self.reason]}."

    @property
    def why(self) -> str | None:
        """Why it is over, where Slurm had a hand in that."""
        said = _WHY.get(self.state)
        return None if said is None else f"Slurm: {self.state}, {said}."


def states(jobs: Iterable[str]) -> dict[str, JobState] | None:
    """Return where jobs and tasks of job arrays (`12_3`) stand; None while Slurm does not answer.

    One that Slurm does not know any more is not in the answer.
    """
    asked = sorted(set(jobs))
    return _squeue(["--jobs", ",".join(asked)]) if asked else {}


def jobs_of(users: Iterable[int]) -> dict[str, JobState] | None:
    """Return all jobs of users, by number; None where there is no Slurm, or no answer."""
    return _squeue(["--user", ",".join(map(str, sorted(set(users))))])


def _squeue(which: list[str]) -> dict[str, JobState] | None:
    command = ("squeue", "--noheader", "--array", "--states=all", f"--format={_FORMAT}", *which)
    asked = _run(*command)
    if asked is None or (asked.returncode and "Invalid job id" not in asked.stderr):
        return None
    found = {}
    for line in asked.stdout.splitlines():
        job, _, rest = line.strip().partition("|")
        fields = rest.split("|", 3)
        if job and len(fields) == 4:
            found[job] = JobState(*fields)
    return found


def cancel(jobs: Iterable[str]) -> None:
    """End jobs; one that is over is left alone."""
    if some := list(jobs):
        _run("scancel", *some)


def largest_array() -> int:
    """Return how many tasks a job array may have."""
    said = _asked("scontrol", "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", said, flags=re.MULTILINE)
    return max(1, int(found[1]) - 1) if found else 1000


def longest_minutes(partition: str | None) -> int | None:
    """Return the time limit of a partition, of the default one if None; None without a limit.

    Of several partitions (`long,short`) it is the least, so that each can take a job.
    """
    wanted = None if partition is None else partition.split(",")
    limits = []
    for line in _asked("sinfo", "--noheader", "--format=%P|%l").splitlines():
        name, _, limit = line.strip().partition("|")
        is_meant = name.endswith("*") if wanted is None else name.rstrip("*") in wanted
        limits += [_minutes(limit)] if is_meant else []
    return min((one for one in limits if one is not None), default=None)


def is_gone(partition: str | None) -> bool:
    """Tell whether Slurm knows none of the partitions any more that were asked for by name."""
    lines = _asked("sinfo", "--noheader", "--format=%P|%l").split()
    known = {line.partition("|")[0].rstrip("*") for line in lines}
    return partition is not None and bool(known) and known.isdisjoint(partition.split(","))


def _minutes(limit: str) -> int | None:
    """Return [days-]hours:minutes:seconds in whole minutes; None for `infinite`."""
    days, _, rest = limit.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in (*parts, days or "0")):
        return None
    numbers = [int(part) for part in parts]
    hours, minutes, _ = [0] * (3 - len(numbers)) + numbers
    return int(days or 0) * 24 * 60 + hours * 60 + minutes


def _asked(*command: str) -> str:
    ran = _run(*command)
    return "" if ran is None or ran.returncode else ran.stdout


def _run(*command: str) -> "subprocess.CompletedProcess[str] | None":
    """Return what became of a command; None where it is not there, or does not answer."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
