"""Where a planned run stands, by its result.json; summary.json, which says it of a whole bench.

After `result.py`. A run counts as made only with a whole result file: whatever else its folder
holds, it is made again or goes on.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spknorm.errors import ConfigError, MissingError
from spknorm.files import read_json
from spknorm.runs.checked import build, read_object
from spknorm.runs.result import RESULT_SCHEMA

SUMMARY_SCHEMA = "spknorm.summary/1"

Status = Literal["complete", "failed", "pending"]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of the grid; `error` says why it failed."""

    name: str
    status: Status
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SummaryFile:
    """summary.json, as far as a report reads it."""

    schema: str = SUMMARY_SCHEMA
    experiment: str | None = None
    cells: tuple[PlannedRun, ...]


def whole_result(folder: Path, *, part: str) -> dict[str, Any] | None:
    """Return the content of a folder's result.json if it is whole and has scores of `part`.

    Anything else (no file, one that was cut off, one of another schema) is None: a run to be made.
    """
    try:
        result = read_json(folder / "result.json")
    except (ConfigError, OSError):
        return None
    if not isinstance(result, dict) or result.get("schema") != RESULT_SCHEMA:
        return None
    dimensions = result.get("dimensions") or {}
    scores = result.get(part) or (dimensions.get(part) if isinstance(dimensions, dict) else None)
    return result if isinstance(scores, dict) else None


def read_summary(folder: Path) -> SummaryFile:
    """Return the summary.json of a bench; an empty one of the folder's name without it.

    Raises:
        ConfigError: It is malformed; the message names file and key.
    """
    path = folder / "summary.json"
    try:
        found = build(SummaryFile, read_object(path, SUMMARY_SCHEMA), path)
    except MissingError:
        found = SummaryFile(cells=())
    return replace(found, experiment=found.experiment or folder.resolve().name)
