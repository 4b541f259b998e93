"""How unequally speakers are served: the worst, the worst few, Gini's coefficient and the spread.

Each is a number of the speakers' UA. Its standard error is that of a bootstrap in two stages:
speakers are drawn whole, then the utterances of each anew. Drawing speakers alone gives the lowest
of them again and again. Of the worst speaker of 8 to 20 simulated ones, 95 % intervals cover 84 to
95 % (76 to 81 % in one stage), and a test at 5 % finds what is not there in 0 to 7 % (15 to 18 %);
the worst quarter is told better, 91 to 95 %: benchmarks/coverage_of_fairness.py. The quantiles are
Student's, as in `__init__.py`.

Of dimensions a speaker has one CCC. There the bootstrap is parametric: Fisher's z of speakers is
drawn from the normal distribution that theirs tell of, since the lowest of ten that are drawn again
is too often the same one: benchmarks/coverage_of_ccc.py --among-speakers.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from spknorm.statistics import (
    BySpeaker,
    Comparison,
    Interval,
    check_paired,
    check_speakers,
    compared,
    stacked,
)
from spknorm.statistics.agreement import CCC, concordance
from spknorm.statistics.metrics import METRICS
from spknorm.statistics.resampling import around, quantile, standard_error

NUM_RESAMPLES = 1000
WORST, FEW, GINI, SPREAD = "worst", "worst_few", "gini", "spread"
MEASURES = (WORST, FEW, GINI, SPREAD)
MEASURES_OF_CCC = (WORST, FEW, SPREAD)  # Gini's coefficient is of what cannot be below 0
_SHARE = 4  # the worst few are a quarter of the speakers
_BLOCK = 4_000_000  # counts that are drawn at once
_ALL_BUT_ONE = 1 - 1e-9  # of a CCC of 1 Fisher's z is infinite

FloatArray = NDArray[np.float64]


def num_few(num_speakers: int) -> int:
    """Return how many speakers the worst few are: a quarter, rounded up."""
    return math.ceil(num_speakers / _SHARE)


def gini(values: FloatArray) -> FloatArray:
    """Return Gini's coefficient of the speakers' accuracies, (..., S) -> (...): 0 if all are alike.

    Half the mean absolute difference between two speakers, over the mean; 0 where all are 0.
    """
    ordered = np.sort(values, axis=-1)
    total, size = ordered.sum(axis=-1), values.shape[-1]
    places = 2 * np.arange(1, size + 1) - size - 1
    share: FloatArray = (places * ordered).sum(axis=-1) / (size * np.where(total > 0, total, 1.0))
    return share


def measure(by_speaker: BySpeaker, metric: str = "ua") -> dict[str, float]:
    """Return all `MEASURES` of the speakers' UA, or `MEASURES_OF_CCC` of their CCC (`ccc`).

    Raises:
        DataError: There is no speaker.
    """
    is_ccc = metric == CCC
    values = concordance(stacked(by_speaker)) if is_ccc else _ua(*_counts(by_speaker))
    names = MEASURES_OF_CCC if is_ccc else MEASURES
    return {name: float(_MEASURES[name](values)) for name in names}


def intervals(
    by_speaker: BySpeaker, metric: str = "ua", *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Return what `measure` does with 95 % intervals; `pool_speakers` adds several runs.

    Raises:
        DataError: Fewer than `MIN_SPEAKERS`.
    """
    check_speakers(by_speaker)
    size, is_ccc, found = len(by_speaker), metric == CCC, {}
    if is_ccc:
        drawn = _drawn_ccc(concordance(stacked(by_speaker)), num_resamples, seed)
    else:
        (drawn,) = _drawn([by_speaker], num_resamples, seed)
    for name, value in measure(by_speaker, metric).items():
        replicates = _MEASURES[name](drawn)
        error = float(replicates.std(ddof=1)) if is_ccc else standard_error(replicates, size)
        reach = quantile(0.975, size - 1) * error
        if is_ccc and name == SPREAD:  # to 2, and not normal on the logit where speakers are alike
            low, high = max(0.0, value - reach), min(2.0, value + reach)
        else:
            low, high = around(value, reach, least=-1.0 if is_ccc else 0.0)
        found[name] = Interval(value, low, high)
    return found


def compare(
    variant: BySpeaker,
    reference: BySpeaker,
    measures: Sequence[str] = (WORST, FEW),
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Test whether a variant helps the worst speaker, or the worst few, of the same speakers.

    The worst are those of each side: whoever is worst under the reference (strategy none) alone
    would gain by chance. Both sides are pooled over the runs that both have.

    Raises:
        DataError: Other speakers on either side, or fewer than `MIN_SPEAKERS`.
    """
    check_speakers(variant)
    check_paired("speakers", variant, reference)
    new, old = measure(variant), measure(reference)
    ours, theirs = _drawn([variant, reference], num_resamples, seed)
    found = {}
    for name in measures:
        of = _MEASURES[name]
        found[name] = compared(new[name] - old[name], of(ours) - of(theirs), len(variant))
    return found


def _counts(by_speaker: BySpeaker) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return hits and utterances (S, C) of each class; speakers in the order of names."""
    counts = np.rint(stacked(by_speaker)).astype(np.int64)
    return np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)


def _ua(hits: NDArray[np.int64], totals: NDArray[np.int64]) -> FloatArray:
    return METRICS["ua"].of(hits, totals, totals)


def _drawn(sides: Sequence[BySpeaker], num_resamples: int, seed: int) -> list[FloatArray]:
    """Return UA (R, S) of each side; both have the same speakers, and utterances of their own."""
    generator = np.random.default_rng(seed)
    counts = [_counts(side) for side in sides]
    found: list[list[FloatArray]] = [[] for _ in sides]
    size, most = len(counts[0][0]), max(1, _BLOCK // counts[0][0].size)
    for start in range(0, num_resamples, most):
        block = min(most, num_resamples - start)
        chosen = generator.integers(size, size=(block, size))
        for place, (hits, totals) in enumerate(counts):
            shares = hits / np.maximum(totals, 1)
            again = generator.binomial(totals[chosen], shares[chosen])
            found[place].append(_ua(again, totals[chosen]))
    return [np.concatenate(parts) for parts in found]


def _drawn_ccc(values: FloatArray, num_resamples: int, seed: int) -> FloatArray:
    """Return CCC (R, S) of new speakers, whose Fisher's z is normal as that of values (S,) is."""
    z = np.arctanh(np.clip(values, -_ALL_BUT_ONE, _ALL_BUT_ONE))
    shape, generator = (num_resamples, len(z)), np.random.default_rng(seed)
    return np.tanh(generator.normal(z.mean(), z.std(ddof=1), shape))


def _worst_few(values: FloatArray) -> FloatArray:
    lowest: FloatArray = np.sort(values, axis=-1)[..., : num_few(values.shape[-1])].mean(axis=-1)
    return lowest


_MEASURES: dict[str, Callable[[FloatArray], FloatArray]] = {
    WORST: lambda values: values.min(axis=-1),
    FEW: _worst_few,
    GINI: gini,
    SPREAD: lambda values: np.ptp(values, axis=-1),
}
