"""What a probe that learnt on a sample would find if it learnt on the whole: its learning curve.

After classifiers.py. A probe learns less from fewer utterances, so that a sample's score is not the
whole's. It is trained on a quarter, a half and all of the sample; through the logits of its scores
on the same held-out utterances go curves a - b n^-c, and where they are at the whole's n is the
estimate. c is not known: all of 1/4 to 1 are taken, each as likely as it fits (for a parametric
model the error beyond the best one falls with 1/n, c = 1; nearest neighbours are slower). The
interval has the speakers' variation, as that of a whole, and that of the curve.

Chosen on the worlds 0 to 7 of benchmarks/sampled_audit.py, confirmed on others.

Legend: N utterances, S sizes, G clusters, R resamples, E exponents.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.probe.arrays import Floats, Integers, rank_in_class
from spknorm.statistics import MIN_SPEAKERS, NUM_RESAMPLES
from spknorm.statistics.resampling import quantile, resamples

PARTS = (4, 2, 1)
"""The sample is learnt on by a 4th, by a half and whole."""
_EXPONENTS = np.linspace(0.25, 1, 16)


class Extrapolated(NamedTuple):
    """The score to expect of the whole, and its 95 % interval; no interval of too few clusters."""

    score: float
    low: float | None
    high: float | None


def nested_parts(labels: Integers, seed: int) -> list[Integers]:
    """Return places of a quarter, of a half that has the quarter in it, and of all.

    Each has the same share of every class, of small classes at least one. A part in which no class
    has two utterances is left out, since no probe can be chosen on it.
    """
    rank = rank_in_class(labels, np.random.default_rng(seed))
    parts = [np.flatnonzero(rank % part == 0) for part in PARTS]
    return [part for part in parts if np.bincount(labels[part]).max() > 1]


def extrapolate(
    correct: Sequence[NDArray[np.bool_]],
    sizes: Sequence[int],
    clusters: Integers,
    *,
    whole: int,
) -> Extrapolated:
    """Return the score to expect of a probe that learns on `whole` utterances.

    Args:
        correct: S times (N,): what probes of rising size classified correctly.
        sizes: How many utterances each learnt on; at least two.
        clusters: (N,) what is drawn as one.
        whole: Utterances.
    """
    _, index = np.unique(clusters, return_inverse=True)
    counts = np.bincount(index)  # (G,)
    hits = np.stack([np.bincount(index, weights=one) for one in correct])  # (S, G)
    size = len(counts)
    drawn = resamples(size, NUM_RESAMPLES, 0)  # (R, G)
    least = 0.5 / len(index)
    scores = _logit(hits.sum(axis=1) / len(index), least)  # (S,)
    replicates = _logit(drawn @ hits.T / (drawn @ counts)[:, None], least)  # (R, S)
    spread = np.cov(replicates.T) * size / max(1, size - 1) + 1e-8 * np.eye(len(scores))
    value, error = _at(whole, scores, np.linalg.inv(spread), np.asarray(sizes, float))
    if size < MIN_SPEAKERS:
        return Extrapolated(_share(value), None, None)
    reach = quantile(0.975, size - 1) * error
    return Extrapolated(_share(value), _share(value - reach), _share(value + reach))


def _at(whole: int, scores: Floats, precision: Floats, sizes: Floats) -> tuple[float, float]:
    """Return value and standard error at `whole`, over all exponents by how well each fits."""
    last = sizes[-1]
    values, variances, fits = [], [], []
    for exponent in _EXPONENTS:
        design = np.stack([np.ones(len(sizes)), 1 - (sizes / last) ** -exponent], axis=1)  # (S, 2)
        covariance = np.linalg.inv(design.T @ precision @ design)
        fitted = covariance @ design.T @ precision @ scores
        place = np.array([1, 1 - (whole / last) ** -exponent])
        left = scores - design @ fitted
        values.append(place @ fitted)
        variances.append(place @ covariance @ place)
        fits.append(np.exp(-left @ precision @ left / 2))
    weights = np.array(fits) / np.sum(fits)  # (E,)
    value = float(weights @ values)
    variance = float(weights @ (np.array(variances) + (np.array(values) - value) ** 2))
    return value, float(np.sqrt(variance))


def _logit(shares: Floats, least: float) -> Floats:
    shares = np.clip(shares, least, 1 - least)
    logits: Floats = np.log(shares / (1 - shares))
    return logits


def _share(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))
