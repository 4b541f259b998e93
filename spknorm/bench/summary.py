"""What became of each cell, read from the cells' own files; summary.json. Third in this folder."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spknorm import config
from spknorm.bench.cells import Cell
from spknorm.errors import MissingError
from spknorm.files import read_json, write_json
from spknorm.runs.status import SUMMARY_SCHEMA, Status, whole_result

_LEFT_OUT = ("args", "config", "versions")
_TAIL_BYTES = 8000
_MAX_ERROR = 500
_SCREENFUL = 40
_TOLD = "spknorm: "
_KILLED = "Slurm: its whole step was killed by SIGKILL, as the system does where memory runs out"
_SLURMS_WORD = (
    r"(slurmstepd|srun)[\w.-]*: error: (?!.*(Exited with exit code|FAILED \(non-zero exit code))"
)
_SCRIPTS_WORD = r"\S*slurm_script: line \d+: +\d+ Killed"


class CellStatus(NamedTuple):
    """Where a cell stands.

    `error` says why it failed, `seconds` how long a complete one took.
    """

    cell: Cell
    status: Status
    error: str | None = None
    seconds: float | None = None


class Summary(NamedTuple):
    """A bench after it ran, or as far as it came.

    `not_followed`: what a cluster's jobs after the runs, audit and report, failed of.
    """

    path: Path
    cells: tuple[CellStatus, ...]
    not_followed: tuple[str, ...] = ()

    @property
    def complete(self) -> tuple[CellStatus, ...]:
        """The cells with a result."""
        return tuple(one for one in self.cells if one.status == "complete")

    @property
    def failed(self) -> tuple[CellStatus, ...]:
        """The cells that ended without one."""
        return tuple(one for one in self.cells if one.status == "failed")


def status_of(cell: Cell, out: Path) -> CellStatus:
    """Return where a cell stands by its result.json: whole, and made with the cell's settings."""
    scored = config.parse(cell.changes).runner.eval_dataloaders
    folder = out / cell.name
    result = whole_result(folder, part="test" if "test" in scored else "dev")
    if result is None:
        return CellStatus(cell, "pending")
    difference = cell.difference_from(result)
    if difference is not None:
        error = (
            f"{folder} holds a result made with other settings ({difference}). "
            "Remove that folder, or choose another with --out."
        )
        return CellStatus(cell, "failed", error=error)
    took = result.get("seconds")
    seconds = float(took) if isinstance(took, (int, float)) else None
    return CellStatus(cell, "complete", seconds=seconds)


def is_audited(out: Path) -> bool:
    """Tell whether the leakage audit of a bench has nothing left to do."""
    from spknorm.probe.audit import is_complete  # torch

    try:
        return is_complete(out)
    except MissingError:  # no run is complete: there is nothing to audit
        return True


def lines_of_cells(statuses: Sequence[CellStatus]) -> list[str]:
    """Return where cells stand: a line each; of more than a screenful, a line per method."""
    lines = []
    if len(statuses) > _SCREENFUL:
        counted = Counter((one.status, one.cell.group) for one in statuses)
        lines = [f"{status:<9} {group}: {n} runs" for (status, group), n in counted.items()]
        statuses = [one for one in statuses if one.error]
    for one in statuses:
        lines.append(f"{one.status:<9} {one.cell.name}")
        if one.error:
            lines.append(f"          {one.error}")
    return lines


def error_of(logs: Sequence[Path]) -> str:
    """Return the last thing a failed run said, from the first of its logs that says anything."""
    for path in logs:
        if said := last_said(path):
            return _quoted(said, path)
    return "It ended without a word."


def last_said(log: Path) -> str:
    """Return the last thing a log says, of why its run failed if it says that; empty if nothing."""
    lines = _last_lines(log)
    told = [line.removeprefix(_TOLD) for line in lines if line.startswith(_TOLD)]
    return (told or lines or [""])[-1]


def told_of(logs: Sequence[Path], *, by: str = _TOLD) -> str | None:
    """Return the last line by which a run, or who `by` stands for, says why it failed."""
    for path in logs:
        told = [line for line in _last_lines(path) if re.match(by, line)]
        if told:
            return _quoted(told[-1], path)
    return None


def _last_lines(path: Path) -> list[str]:
    text = path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if path.is_file() else ""
    return [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]


def _quoted(line: str, path: Path) -> str:
    return f"{line.removeprefix(_TOLD)[:_MAX_ERROR]} (all of it: {path})"


def write_summary(name: str, statuses: Sequence[CellStatus], out: Path) -> Summary:
    """Write summary.json from the result files: equal results give equal bytes."""
    runs = []
    for one in statuses:
        if one.status == "complete":
            result = read_json(out / one.cell.name / "result.json")
            short = {key: value for key, value in result.items() if key not in _LEFT_OUT}
            runs.append({**short, "expdir": one.cell.name, "variant": one.cell.variant})
    cells = [
        {"name": one.cell.name, "expdir": one.cell.name, "status": one.status, "error": one.error}
        for one in statuses
    ]
    path = out / "summary.json"
    content = {"schema": SUMMARY_SCHEMA, "experiment": name, "cells": cells, "runs": runs}
    write_json(path, content)
    return Summary(path, tuple(statuses))


def word_of_step(log: Path) -> str | None:
    """Return what Slurm, or the batch script, says in a job's log of why its step ended.

    That a step failed since something in it had ended is no reason.
    """
    if said := told_of([log], by=_SLURMS_WORD):
        return said
    return f"{_KILLED} (all of it: {log})" if told_of([log], by=_SCRIPTS_WORD) else None
