"""Speaker verification on pooled embeddings: the equal error rate over pairs of utterances."""

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import DataError
from spknorm.probe.arrays import Floats, Integers, unit_length
from spknorm.probe.score import ProbeScore
from spknorm.statistics import MIN_SPEAKERS

MAX_TRIALS = 20_000
"""Trials of each kind (same speaker, different speakers), drawn if there are more."""

NO_TRIALS = "Verification needs two speakers and two utterances of one of them in the test set."
_RESAMPLES = 200


def verify(
    features: Floats, labels: Integers, *, seed: int, others: Floats | None = None
) -> ProbeScore:
    """Return the equal error rate of pairs of (N, H) by cosine.

    The interval draws speakers with replacement. Of fewer than `MIN_SPEAKERS` there is no interval.

    Args:
        features: (N, H), centred and scaled.
        labels: (N,) speakers.
        seed: Of the trials, where there are too many, and of the bootstrap.
        others: (N, H) of the same utterances, where the second of a pair is another view of it.

    Raises:
        DataError: No two speakers, or no speaker with two utterances.
    """
    generator = np.random.default_rng(seed)
    first, second = _trials(labels, generator)
    unit = unit_length(features)
    against = unit if others is None else unit_length(others)
    scores = np.einsum("nh,nh->n", unit[first], against[second])
    order = np.argsort(-scores, kind="stable")
    scores, first, second = scores[order], first[order], second[order]
    same = labels[first] == labels[second]
    speakers, index = np.unique(labels, return_inverse=True)
    one, other = index[first], index[second]
    rates = []
    for _ in range(_RESAMPLES if len(speakers) >= MIN_SPEAKERS else 0):
        drawn = generator.integers(len(speakers), size=len(speakers))
        counts = np.bincount(drawn, minlength=len(speakers))
        weight = np.where(same, counts[one], counts[one] * counts[other])
        if weight[same].any() and weight[~same].any():
            rates.append(equal_error_rate(scores, same, weight))
    return ProbeScore(
        score=equal_error_rate(scores, same, np.ones(len(scores))),
        low=float(np.quantile(rates, 0.025)) if rates else None,
        high=float(np.quantile(rates, 0.975)) if rates else None,
        chance=0.5,
        n=len(scores),
        num_classes=len(speakers),
    )


def equal_error_rate(scores: Floats, same: NDArray[np.bool_], weight: Floats) -> float:
    """Return the rate at which misses equal false alarms.

    Args:
        scores: (M,) falling; equal scores are accepted or refused together.
        same: (M,) whether both sides are of one speaker.
        weight: (M,) how often each trial counts.
    """
    last = np.append(scores[1:] != scores[:-1], True)
    targets, others = np.where(same, weight, 0.0), np.where(same, 0.0, weight)
    misses = np.append(1.0, 1 - np.cumsum(targets)[last] / targets.sum())
    alarms = np.append(0.0, np.cumsum(others)[last] / others.sum())
    after = int(np.argmax(alarms >= misses))  # misses fall from 1 to 0, alarms rise from 0 to 1
    gap_before = misses[after - 1] - alarms[after - 1]
    gap_after = misses[after] - alarms[after]
    part = gap_before / (gap_before - gap_after)
    return float(alarms[after - 1] + part * (alarms[after] - alarms[after - 1]))


def _trials(labels: Integers, generator: np.random.Generator) -> tuple[Integers, Integers]:
    """Return both sides of at most MAX_TRIALS same-speaker and as many different-speaker pairs."""
    if len(labels) ** 2 <= 50 * MAX_TRIALS:
        first, second = np.triu_indices(len(labels), k=1)
    else:  # all of one kind would not fit: draw partners within and across speakers
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], labels, side="left")
        counts = np.searchsorted(labels[order], labels, side="right") - starts
        within = generator.integers(len(labels), size=2 * MAX_TRIALS)
        partner = order[starts[within] + generator.integers(counts[within])]
        across = generator.integers(len(labels), size=(2, 2 * MAX_TRIALS))
        first, second = np.append(within, across[0]), np.append(partner, across[1])
        first, second = first[first != second], second[first != second]
    same = labels[first] == labels[second]
    if not same.any() or same.all():
        raise DataError(NO_TRIALS)
    chosen = np.concatenate(
        [generator.permutation(np.flatnonzero(kind))[:MAX_TRIALS] for kind in (same, ~same)]
    )
    return first[chosen], second[chosen]
