"""The only place that parses arguments and prints.

Importing it loads neither torch nor s3prl: `--help` and every wrong option answer at once.
"""

from spknorm.cli.commands import main
from spknorm.cli.downstream import run_downstream

__all__ = ["main", "run_downstream"]
