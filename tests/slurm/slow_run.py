"""A run of `spknorm run-downstream` whose steps take longer, so that a fault can hit it."""

import sys
import time

from spknorm.cli import run_downstream
from spknorm.runner.iteration import Iteration

PAUSE = float(sys.argv[1])
step = Iteration.__call__


def slowly(self, *batches):
    time.sleep(PAUSE)
    return step(self, *batches)


Iteration.__call__ = slowly
sys.exit(run_downstream(sys.argv[2:]))
