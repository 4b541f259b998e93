"""summary.json: which runs a bench planned and what became of each. After `checked.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spknorm.errors import MissingError
from spknorm.runs.checked import build, check_schema, read_object

SUMMARY_SCHEMA = "spknorm.summary/1"


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of the grid; `error` says why it failed."""

    name: str
    status: Literal["complete", "failed", "pending"]
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """summary.json, as far as a report reads it."""

    schema: str = SUMMARY_SCHEMA
    experiment: str | None = None
    cells: tuple[PlannedRun, ...]


def read_summary(folder: Path) -> Summary:
    """Return the summary.json of a bench; an empty one of the folder's name without it.

    Raises:
        ConfigError: It is malformed; the message names file and key.
    """
    path = folder / "summary.json"
    try:
        value = read_object(path)
    except MissingError:
        return Summary(experiment=folder.resolve().name, cells=())
    check_schema(value, SUMMARY_SCHEMA, path)
    found = build(Summary, value, path)
    return Summary(experiment=found.experiment or folder.resolve().name, cells=found.cells)
