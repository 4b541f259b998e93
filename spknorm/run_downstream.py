"""`python -m spknorm.run_downstream`: the same as run_downstream.py, from anywhere."""

import sys

from spknorm.cli import run_downstream

if __name__ == "__main__":
    sys.exit(run_downstream())
