"""How much of lambda counts at a step."""

import math

from spknorm.schema import MethodConfig


def strength(method: MethodConfig, *, step: int, total_steps: int) -> float:
    """Return how much of lambda counts at `step` (from 0): the schedule, 0 during the warm-up.

    linear grows as p and dann as 2 / (1 + exp(-10 p)) - 1 (Ganin et al. 2016, section 5.2.2), where
    p is the part of the ramp that is over.
    """
    if step < method.speaker_warmup_steps:
        return 0.0
    if method.schedule == "constant":
        return 1.0
    done = min(1.0, step / max(1.0, method.ramp * total_steps))
    return done if method.schedule == "linear" else 2.0 / (1.0 + math.exp(-10.0 * done)) - 1.0
