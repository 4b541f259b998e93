"""The training loop of this project's tasks, on s3prl's Runner.

From the loop to the loss, a file each: `engine` -> `iteration` -> spknorm.method.updates ->
`passes` -> spknorm.method.model.

    engine        the loop: steps, evaluations, checkpoints, the end
    s3prl_runner  s3prl's Runner as far as it builds an experiment and predicts with it
    setup         what a run is built from
    iteration     one step with everything that can go wrong in it
    passes        the two passes of a step; `pieces`: how much of them at once
    pretraining   the speaker head before step 1; `speaker_side`: when the ascent may go on
    saving        checkpoints as they are written
"""

import spknorm.compat  # noqa: F401  # before s3prl
from spknorm.runner.engine import SpknormRunner

__all__ = ["SpknormRunner"]
