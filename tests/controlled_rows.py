"""Rows of the controlled benchmark with known effects."""

import numpy as np

from spknorm.controlled import hypotheses
from spknorm.controlled.folds import ModelRow


def rows_of(effects, *, seeds=range(100, 110), noise=0.01, number=0):
    """Rows in which each (method, rho) has a known accuracy and leakage."""
    rng = np.random.default_rng(number)
    return [
        ModelRow(*variant, rho, seed, fold, *(value + noise * rng.standard_normal(3)), None)
        for (variant, rho), value in effects.items()
        for seed in seeds
        for fold in range(2)
    ]


def world_of(
    gain_at_9=0.1, gain_at_0=0.0, shuffled=-0.03, tuned=0.0, tap=0.0, tap_leakage=-0.1, erased=0.05
):
    def level(unseen=0.0, leakage=0.0):
        return np.array([0.4 + unseen, 0.4, 0.3 + leakage])

    return {
        (hypotheses.NONE, 0.0): level(0.15),
        (hypotheses.NONE, 0.8): level(0.03),
        (hypotheses.NONE, 0.9): level(),
        (hypotheses.SNP, 0.0): level(0.15 + gain_at_0, -0.1),
        (hypotheses.SNP, 0.8): level(0.08, -0.1),
        (hypotheses.SNP, 0.9): level(gain_at_9, -0.1),
        (hypotheses.GATE, 0.9): level(),
        (hypotheses.SHUFFLED, 0.9): level(shuffled),
        (hypotheses.START, 0.0): level(0.15, 0.3),
        (hypotheses.TUNED, 0.0): level(0.15 + tuned, 0.3),
        (hypotheses.START, 0.9): level(0.0, 0.3),
        (hypotheses.ERASED_START, 0.9): level(erased),
        (hypotheses.TUNED, 0.9): level(tuned, 0.3),
        (hypotheses.TAP, 0.9): level(tuned + tap, 0.3 + tap_leakage),
        (hypotheses.TAP_SHUFFLED, 0.9): level(tuned + shuffled, 0.3),
        (hypotheses.CONFUSED, 0.9): level(tuned + tap, 0.3 + tap_leakage),
        (hypotheses.CONFUSED_SHUFFLED, 0.9): level(tuned + shuffled, 0.3),
        (hypotheses.BY_LOSS, 0.9): level(tuned + tap, 0.3 + tap_leakage),
        (hypotheses.BY_LOSS_SHUFFLED, 0.9): level(tuned + shuffled, 0.3),
        (hypotheses.ERASED, 0.9): level(tuned + 2 * erased),
        (hypotheses.ERASED_SHUFFLED, 0.9): level(tuned + shuffled, 0.3),
    }
