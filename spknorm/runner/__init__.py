"""The training loop of this project's tasks, on s3prl's Runner.

`engine.py` has the loop; beside it what it is made of: processes, seeds, signals, where features
come from, the two passes, the journal, and the state that a checkpoint keeps.
"""

import spknorm.compat  # noqa: F401  # before s3prl
from spknorm.runner.engine import SpknormRunner
from spknorm.runner.folder import prepare_folder
from spknorm.runner.fork import follow_fork

__all__ = ["SpknormRunner", "follow_fork", "prepare_folder"]
