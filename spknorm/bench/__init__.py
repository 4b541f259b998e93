"""Fold x seed x variant as a resumable grid of ordinary runs.

After `predict.py` in the flow: expands an experiment file to runs of `spknorm.run_downstream`, each
with its own folder, lets submitit run them, and writes summary.json for the report.
"""

from spknorm.bench.cells import Cell
from spknorm.bench.experiment import Executor, Experiment, expand, read_experiment
from spknorm.bench.grid import Plan, Progress, plan, run
from spknorm.bench.summary import CellStatus, Row, Summary, table

__all__ = [
    "Cell",
    "CellStatus",
    "Executor",
    "Experiment",
    "Plan",
    "Progress",
    "Row",
    "Summary",
    "expand",
    "plan",
    "read_experiment",
    "run",
    "table",
]
