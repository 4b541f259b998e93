"""Calls handed to Slurm through submitit, and noted before they are. Under `cluster.py`.

A note is a list of names in a file whose own name is the jobs' comment at Slurm, so that what was
handed over is found again whenever the bench was killed.
"""

import contextlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spknorm.bench import slurm
from spknorm.bench.executor import Executor
from spknorm.bench.slurm import JobState
from spknorm.bench.worker import CellRun, python_path
from spknorm.errors import ConfigError
from spknorm.files import read_json, write_json

_MOST_AHEAD = 120  # seconds ahead of the time limit: the last step and a large checkpoint fit in

_TOO_MANY = r"submit ?(job)? ?limit|temporarily un"


class TooManyError(ConfigError):
    """Slurm takes no more jobs now, or not as many at once."""


def check_place(out: Path) -> None:
    """Check that jobs can be handed over here, for a bench in this folder.

    Raises:
        ConfigError: There is no sbatch, or Slurm would look for the folder elsewhere.
    """
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "`executor.kind` is slurm, but there is no sbatch here. "
            "Start the bench on a machine of the cluster, or set kind to local."
        )
    if {"\\", "\n"} & {*str(out)}:
        raise ConfigError(
            f"Slurm reads {str(out)!r} as another path: choose a folder (--out) without a "
            "backslash or a new line in it."
        )


def submit(
    settings: Executor,
    folder: Path,
    name: str,
    calls: Mapping[str, CellRun],
    *,
    after: Sequence[str],
    asked: Mapping[str, Any],
) -> list[str]:
    """Submit calls as one job array, a single one as a job; return the number of each.

    They wait until the jobs in `after` are over, well or not. The note has the calls' names;
    `asked` has submitit's options that differ from `settings`.

    Raises:
        ConfigError: Slurm refuses them; the cause is in its own words.
        TooManyError: They are too many, beside those that it has.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    token = uuid.uuid4().hex[:12]
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    # submitit takes the first `job N` that is said, and makes further executors of its own.
    SlurmExecutor._get_job_id_from_submission_command = staticmethod(_number_of_job)
    options = {**_options(settings), "name": name, **asked, "slurm_comment": _comment(token)}
    options["slurm_array_parallelism"] = settings.max_parallel or len(calls)
    if after:
        options["slurm_dependency"] = "afterany:" + ":".join(after)
    executor.update_parameters(**{key: one for key, one in options.items() if one is not None})
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / f"{token}.json"
    write_json(note, list(calls))
    try:
        # submitit prints what sbatch says, which is told below in one line.
        quiet = contextlib.redirect_stderr(io.StringIO())
        with _importable(), quiet, executor.batch():
            jobs = [executor.submit(call) for call in calls.values()]
    except (FailedJobError, FailedSubmissionError) as error:
        note.unlink(missing_ok=True)
        too_many = re.search(_TOO_MANY, str(error), flags=re.IGNORECASE)
        raise (TooManyError if too_many else ConfigError)(_refusal(str(error))) from error
    return [str(job.job_id) for job in jobs]


def left_jobs(folder: Path) -> dict[str, tuple[str, JobState]]:
    """Return the jobs that an earlier bench left and that are not over, by the calls' names.

    Raises:
        ConfigError: There may be some, but Slurm does not answer.
    """
    noted: dict[str, list[str]] = {}  # the calls in the order of an array's tasks, by comment
    for path in folder.glob("*.json"):
        with contextlib.suppress(ConfigError, OSError):
            content = read_json(path)
            if isinstance(content, list):
                noted[_comment(path.stem)] = [str(name) for name in content]
    if not noted:
        return {}
    known = slurm.jobs_of(path.stat().st_uid for path in folder.glob("*.json"))  # maybe another's
    if known is None:
        raise ConfigError(
            f"{folder.parent} has jobs of an earlier bench, but Slurm does not answer (squeue): "
            "try again later."
        )
    found = {}
    for job, state in known.items():
        names = noted.get(state.comment, [])
        place = int(job.partition("_")[2] or 0)  # of a task in its array
        if place < len(names) and not state.is_over:
            found[names[place]] = job, state
    return found


def gpus_of(settings: Executor) -> int:
    """Return how many GPUs a run has on each node."""
    return 1 if settings.gpus is None else settings.gpus


def _options(settings: Executor) -> dict[str, Any]:
    limit = slurm.longest_minutes(settings.partition) if settings.timeout_min is None else None
    minutes = min(settings.minutes, limit or settings.minutes)
    return {
        "timeout_min": minutes,
        "cpus_per_task": settings.threads,
        "gpus_per_node": gpus_of(settings),
        "nodes": settings.nodes,
        "mem_gb": settings.mem_gb,
        "slurm_partition": settings.partition,
        "slurm_signal_delay_s": min(_MOST_AHEAD, 15 + 15 * minutes),
        "slurm_additional_parameters": {"requeue" if settings.requeue else "no-requeue": True},
    }


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Let jobs find this package, but not the job in which the bench runs: srun would obey that."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("SLURM_") and name not in ("SLURM_CONF", "SLURM_CLUSTERS"):
            del os.environ[name]
    os.environ["PYTHONPATH"] = python_path()
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update(before)


def _comment(token: str) -> str:
    return f"spknorm {token}"


def _number_of_job(said: bytes | str) -> str:
    """Return the number in what sbatch says, among what clusters print before and after it."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    found = re.findall(r"^Submitted batch job (\d+)", text, flags=re.MULTILINE)
    found = found or re.findall(r"^(\d+)(?:;\S+)?$", text, flags=re.MULTILINE)  # --parsable
    if not found:
        raise ConfigError(
            f"sbatch took the runs, but names no job: {text.strip()[:300]!r}. Look with squeue, "
            "and end what waits there (scancel) before you try again."
        )
    number: str = found[-1]
    return number


def _refusal(text: str) -> str:
    """Return sbatch's own words out of submitit's error."""
    said = [line.split("error:", 1)[1].strip() for line in text.splitlines() if "error:" in line]
    why = "; ".join(dict.fromkeys(said)) or (text.strip().splitlines() or ["no reason given"])[-1]
    of_whom = re.search(r"\b(account|qos)\b", why, flags=re.IGNORECASE)
    where = "the variables SBATCH_ACCOUNT and SBATCH_QOS, and " if of_whom else ""
    return (
        f"Slurm does not take the runs: {why}. See {where}`executor` in the experiment file "
        "(partition, gpus, nodes, threads, mem_gb, timeout_min)."
    )
