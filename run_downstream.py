"""s3prl's entry point, with its options: `python run_downstream.py -d emotion_spknorm -u NAME`."""

import sys

from spknorm.cli import run_downstream

if __name__ == "__main__":
    sys.exit(run_downstream())
