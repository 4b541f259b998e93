"""Fold x seed x variant as a resumable grid of ordinary runs.

Expands an experiment file to runs of `spknorm run-downstream`, each with its own folder, lets
submitit run them, and writes summary.json for the report.
"""

from spknorm.bench.budget import (
    budget,
    lines_of,
    measured_seconds,
    refuse_what_cannot_fit,
)
from spknorm.bench.cells import Cell
from spknorm.bench.expansion import expand
from spknorm.bench.experiment import KINDS, Experiment, read_experiment
from spknorm.bench.grid import BenchProgress, DryRun, plan, run
from spknorm.bench.selection import FOLDER as SELECTION_FOLDER
from spknorm.bench.selection import candidates_of, choose, with_choices
from spknorm.bench.standing import WORDS, standing
from spknorm.bench.summary import CellStatus, Summary
from spknorm.bench.summary import lines_of as lines_of_cells

__all__ = [
    "KINDS",
    "SELECTION_FOLDER",
    "WORDS",
    "BenchProgress",
    "Cell",
    "CellStatus",
    "DryRun",
    "Experiment",
    "Summary",
    "budget",
    "candidates_of",
    "choose",
    "expand",
    "lines_of",
    "lines_of_cells",
    "measured_seconds",
    "plan",
    "read_experiment",
    "refuse_what_cannot_fit",
    "run",
    "standing",
    "with_choices",
]
