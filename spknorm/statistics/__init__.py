"""How sure a number is: intervals and paired tests that take the speaker as the unit.

After `metrics.py` in the flow; the reports quote it. Utterances of one speaker are alike, so an
interval over utterances is far too narrow. Here speakers are resampled, whole. With ten speakers
the percentiles of such a bootstrap still cover too little (89 % instead of 95 % in
benchmarks/coverage_of_intervals.py), so the bootstrap only estimates the standard error: it is
scaled by sqrt(G / (G - 1)), multiplied by the quantile of Student's t with G - 1 degrees of freedom
(G speakers), and laid off on the logit of an accuracy, which is skewed near 0 and 1; a difference
of two accuracies needs no logit. An accuracy of 0 or 1, of which all resamples are alike, has exact
bounds. Variation between seeds enters only where it moves speakers apart;
`mean_std` shows it.

Of fewer than `MIN_SPEAKERS` there is no interval, and no test: it would still cover, but say
nothing. On simulated data sets of that benchmark, 300 of each size, it is .94 wide in the median of
two speakers, .51 of three, .34 of four and .18 of ten. `interval` and `compare` then raise a
DataError, which tables print as "no interval"; the metric itself is `metrics.measure`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spknorm.errors import DataError
from spknorm.statistics.agreement import CCC, concordance
from spknorm.statistics.metrics import measure
from spknorm.statistics.resampling import (
    around,
    at_the_end,
    p_value,
    quantile,
    resamples,
    standard_error,
)

NUM_RESAMPLES = 2000
MIN_SPEAKERS = 4

BySpeaker = Mapping[str, ArrayLike]
"""speaker -> (C, C) confusion matrix, as `test.by_speaker` in result.json; for the metric `ccc` the
six sums of one dimension."""


class MeanStd(NamedTuple):
    """Mean and sample standard deviation (n - 1; 0 for a single run) over n runs."""

    mean: float
    std: float
    n: int


class Interval(NamedTuple):
    """A metric over pooled utterances, with its interval over speakers."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Variant minus reference on identical folds and seeds, over pooled utterances.

    Attributes:
        p_bootstrap: Two-sided, paired bootstrap over speakers, as the 95 % interval.
        p_wilcoxon: Two-sided Wilcoxon signed-rank over the runs (fold x seed x draw). Runs of one
            fold share their test speakers, so this one treats seeds as if they were new data.
        num_pairs: Of runs.
    """

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_wilcoxon: float
    num_speakers: int
    num_pairs: int


class SpeakerSpread(NamedTuple):
    """Unweighted accuracy per speaker: the worst one, and max - min."""

    ua: dict[str, float]
    worst: str
    worst_ua: float
    spread: float


def mean_std(values: Iterable[float]) -> MeanStd:
    """Return mean and standard deviation over runs (folds and seeds).

    Raises:
        DataError: There is no run.
    """
    runs = np.asarray(list(values), dtype=np.float64)
    if runs.size == 0:
        raise DataError("There is no run to average.")
    std = float(runs.std(ddof=1)) if runs.size > 1 else 0.0
    return MeanStd(float(runs.mean()), std, int(runs.size))


def pool_speakers(runs: Iterable[BySpeaker]) -> dict[str, NDArray[np.float64]]:
    """Add up the confusion matrices of each speaker over runs; speakers in the order of names."""
    total: dict[str, NDArray[np.float64]] = {}
    for run in runs:
        for speaker, confusion in run.items():
            counts = np.asarray(confusion, dtype=np.float64)
            total[speaker] = total[speaker] + counts if speaker in total else counts
    return {speaker: total[speaker] for speaker in sorted(total)}


def interval(
    by_speaker: BySpeaker,
    metric: str,
    *,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return a metric over all utterances and its interval by bootstrap over speakers.

    The metric is `wa`, `ua`, `macro_f1` or `ccc`; `pool_speakers` makes one run of several. `level`
    is the share of data sets whose interval should hold the truth.

    Raises:
        DataError: Fewer than `MIN_SPEAKERS`.
    """
    check_speakers(by_speaker)
    counts = stacked(by_speaker)
    value = float(_measure(counts.sum(axis=0), metric))
    weights = resamples(len(counts), num_resamples, seed)
    error = standard_error(_measure(_weighted(weights, counts), metric), len(counts))
    reach = quantile(0.5 + level / 2, len(counts) - 1) * error
    low, high = around(value, reach, least=-1.0 if metric == CCC else 0.0)
    if metric != CCC and value in (0.0, 1.0):
        low, high = at_the_end(value, len(counts), level)
    return Interval(value, low, high)


def compare(
    variant: Mapping[Any, BySpeaker],
    reference: Mapping[Any, BySpeaker],
    metric: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Test a variant against a reference (strategy none), paired by run and by speaker.

    Both are by run, whose key is such as (fold, seed, draw), and within it by speaker; the metric
    is `wa`, `ua`, `macro_f1` or `ccc`.

    Raises:
        DataError: The two differ in their runs or speakers, or have too few speakers.
    """
    check_paired("runs", variant, reference)
    pools = [pool_speakers(side.values()) for side in (variant, reference)]
    check_paired("speakers", *pools)
    check_speakers(pools[0])
    new, old = map(stacked, pools)
    difference = float(_measure(new.sum(axis=0), metric) - _measure(old.sum(axis=0), metric))
    weights = resamples(len(new), num_resamples, seed)
    ours, theirs = (_measure(_weighted(weights, side), metric) for side in (new, old))
    pairs = [_total(variant[key], metric) - _total(reference[key], metric) for key in variant]
    found = compared(difference, ours - theirs, len(new))
    return found._replace(p_wilcoxon=wilcoxon(pairs), num_pairs=len(pairs))


def compared(difference: float, replicates: NDArray[np.float64], num_speakers: int) -> Comparison:
    """Return the comparison that a difference and its replicates (R,) tell, without one of runs."""
    error, freedom = standard_error(replicates, num_speakers), num_speakers - 1
    reach = quantile(0.975, freedom) * error
    ends, p = (difference - reach, difference + reach), p_value(difference, error, freedom)
    return Comparison(difference, *ends, p, math.nan, num_speakers, num_pairs=1)


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; 1 where nothing differs.

    Five folds of one seed cannot go below 1/16: their p is exact, and says so.
    """
    from scipy import stats  # here, since it takes longer to load than all the rest

    values = np.round(np.asarray(differences, dtype=np.float64), 12)  # 0.1 + 0.2 - 0.3 is a tie
    if not np.any(values):
        return 1.0
    return float(stats.wilcoxon(values).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values over one family of tests, in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def speaker_spread(by_speaker: BySpeaker) -> SpeakerSpread:
    """Return the unweighted accuracy of each speaker, the worst one and the spread.

    Raises:
        DataError: There is no speaker.
    """
    names, values = sorted(by_speaker), measure(stacked(by_speaker), "ua").tolist()
    ua = dict(zip(names, values, strict=True))
    worst = min(names, key=lambda name: ua[name])
    return SpeakerSpread(ua, worst, ua[worst], max(values) - ua[worst])


def check_speakers(by_speaker: BySpeaker) -> None:
    """Raise a DataError for fewer than `MIN_SPEAKERS`."""
    count = len(by_speaker)
    if count < MIN_SPEAKERS:
        raise DataError(
            f"An interval over speakers needs {MIN_SPEAKERS} of them, but there "
            f"{'is 1' if count == 1 else f'are {count}'}."
        )


def check_paired(what: str, one: Mapping[Any, Any], other: Mapping[Any, Any]) -> None:
    """Raise a DataError if two sides have other runs, or speakers."""
    if odd := sorted(map(str, one.keys() ^ other.keys())):
        raise DataError(f"A paired test needs the same {what} on both sides; unpaired: {odd[0]}.")


def stacked(by_speaker: BySpeaker) -> NDArray[np.float64]:
    """Return (G, C, C), or (G, 6) of sums; speakers in the order of names.

    Raises:
        DataError: There is no speaker.
    """
    if not by_speaker:
        raise DataError("There is no speaker to compare.")
    return np.stack([np.asarray(by_speaker[name], dtype=np.float64) for name in sorted(by_speaker)])


def _weighted(weights: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = np.tensordot(weights, counts, axes=1)  # (R,G),(G,C,C)->(R,C,C)
    return summed


def _total(by_speaker: BySpeaker, metric: str) -> float:
    return float(_measure(stacked(by_speaker).sum(axis=0), metric))


def _measure(counts: NDArray[Any], metric: str) -> NDArray[np.float64]:
    return concordance(counts) if metric == CCC else measure(counts, metric)
