"""Fold x seed x variant as a resumable grid of ordinary runs.

Expands an experiment file to runs of `spknorm run-downstream`, each with its own folder, runs them
here or through submitit on a cluster, and writes summary.json for the report.
"""

from spknorm.bench.expansion import expand
from spknorm.bench.experiment import KINDS, read_experiment
from spknorm.bench.grid import plan, run
from spknorm.bench.selection import candidates_of, choose, with_choices
from spknorm.bench.standing import standing

__all__ = [
    "KINDS",
    "candidates_of",
    "choose",
    "expand",
    "plan",
    "read_experiment",
    "run",
    "standing",
    "with_choices",
]
