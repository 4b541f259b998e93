"""A grid of jobs that note their process and then take long; run as a script by a test."""

import functools
import os
import sys
import time
from pathlib import Path

from spknorm.controlled.parallel import in_parallel


def note(folder: str) -> None:
    """Leave the number of this process, whole, and go on for minutes."""
    path = Path(folder, str(os.getpid()))
    path.touch()
    time.sleep(300)


if __name__ == "__main__":
    for _ in in_parallel([functools.partial(note, sys.argv[1])] * 2, 2):
        pass
