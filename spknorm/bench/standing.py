"""Where every run of a bench stands, seen from any machine that has its folder. Last here.

From files alone: results, logs and the notes of what Slurm was given; Slurm itself is asked where
it is there. The bench need not run.
"""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.bench.cluster import AUDIT, REPORT
from spknorm.bench.jobs import JOBS
from spknorm.bench.slurm import JobState
from spknorm.bench.submission import left_jobs
from spknorm.bench.worker import is_running
from spknorm.errors import ConfigError, MissingError
from spknorm.files import require_folder
from spknorm.runs.status import read_summary, whole_result

_FRESH_SECONDS = 600
_TAIL_BYTES = 4000
WORDS = ("complete", "running", "queued", "failed", "pending")


class Standing(NamedTuple):
    """Where a run, or a job after the runs, stands.

    `word` is one of `WORDS`; `detail` is the step, the node, why it waits or failed, and may be
    empty.
    """

    name: str
    word: str
    detail: str = ""


def standing(out: Path) -> list[Standing]:
    """Return where every run of a bench stands, and Slurm's jobs after them.

    Raises:
        MissingError: The folder is not a bench's.
    """
    require_folder(out, "a bench's, the one with summary.json in it")
    if not (out / "summary.json").is_file():
        raise MissingError(f"{out} is not a bench's folder: it has no summary.json.")
    try:
        jobs = left_jobs(out / JOBS)
    except ConfigError:  # no Slurm on this machine, or it does not answer
        jobs = {}
    found = []
    for planned in read_summary(out).cells:
        folder = out / planned.name
        _, job = jobs.pop(planned.name, ("", None))
        if any(whole_result(folder, part=part) for part in ("test", "dev")):
            found.append(Standing(planned.name, "complete"))
        elif job is not None:
            found.append(_of_job(planned.name, folder, job))
        elif is_running(folder) or _age(folder) < _FRESH_SECONDS:
            found.append(Standing(planned.name, "running", _progress(folder)))
        elif planned.error is not None:
            found.append(Standing(planned.name, "failed", planned.error))
        else:
            found.append(Standing(planned.name, "pending", _progress(folder)))
    after = [name for name in jobs if name.partition(" ")[0] in (AUDIT, REPORT)]
    return found + [_of_job(name, out, jobs[name][1]) for name in after]


def _of_job(name: str, folder: Path, job: JobState) -> Standing:
    if job.state.startswith(("PENDING", "REQUEUE")):
        return Standing(name, "queued", job.never() or job.reason)
    step = _progress(folder)
    return Standing(name, "running", ", ".join(part for part in (f"on {job.nodes}", step) if part))


def _age(folder: Path) -> float:
    """Return how many seconds ago a run last wrote its metrics; infinity where none can tell."""
    try:
        age = time.time() - (folder / "metrics.jsonl").stat().st_mtime
    except OSError:
        return float("inf")
    # The clock of a file server may be a little ahead of ours; one that was put back says nothing.
    return max(0.0, age) if age > -_FRESH_SECONDS else float("inf")


def _progress(folder: Path) -> str:
    """Return the last step that a run logged and how long ago; nothing before the first."""
    path, last = folder / "metrics.jsonl", {}
    if path.is_file():
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        last = next((one for one in map(_line, reversed(lines)) if "step" in one), {})
    age = _age(folder)
    when = f", {round(age)} s ago" if math.isfinite(age) else ""
    return f"step {last['step']}{when}" if last else ""


def _line(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
