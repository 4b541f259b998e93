"""From runs to the numbers of a table: averages, intervals, paired tests, curves.

After `methods.py` in the report; the statistics themselves are `spknorm.statistics`. Accuracies
stay fractions here; `tables.py` and `figures.py` show them in percent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import DataError
from spknorm.report.methods import Block, Group, Method
from spknorm.report.results import Confusion, Run
from spknorm.statistics import (
    Comparison,
    Interval,
    MeanStd,
    SpeakerSpread,
    compare,
    holm,
    interval,
    mean_std,
    normalised_auc,
    paper_auc,
    pool_speakers,
    speaker_spread,
)

METRICS = ("wa", "ua", "macro_f1")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One method under one protocol.

    Attributes:
        group: The runs it stands on.
        scores: Metric -> mean and standard deviation over runs.
        intervals: Metric -> value over pooled utterances with its 95 % interval over speakers;
            empty where fewer than two speakers are known.
        spread: Accuracy per speaker, None where no speaker is known.
        comparison: WA against strategy none on the runs both have; None for strategy none itself.
        p_holm: The comparison's p (bootstrap over speakers), Holm-corrected over its table.
        p_wilcoxon_holm: The same of the Wilcoxon test over runs.
    """

    group: Group
    scores: dict[str, MeanStd]
    intervals: dict[str, Interval]
    spread: SpeakerSpread | None
    comparison: Comparison | None = None
    p_holm: float | None = None
    p_wilcoxon_holm: float | None = None

    @property
    def method(self) -> Method:
        """The method estimated."""
        return self.group.method


class Chance(NamedTuple):
    """What guessing scores: the largest class for WA, one over the number of classes for UA."""

    wa: float
    ua: float
    majority: str


class Curve(NamedTuple):
    """Accuracy against training samples per label.

    Attributes:
        num_samples: (P,) points.
        mean: (P,) mean WA over runs.
        std: (P,) standard deviation over draws and seeds of the mean over folds; 0 for one draw.
        num_runs: (P,) runs at each point.
        paper_auc: The paper's area (trapezoid / 1000), None unless the points span 50..1000.
        normalised_auc: The area over the width of the curve's own range, None for a single point.
    """

    num_samples: tuple[int, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    num_runs: tuple[int, ...]
    paper_auc: float | None
    normalised_auc: float | None


def estimate(block: Block) -> list[Estimate]:
    """Return the estimates of a table's rows, tests corrected over the table."""
    groups = {group.method: group for group in block.groups}
    comparisons: dict[Method, Comparison] = {}
    for method, group in groups.items():
        reference = groups.get(method.reference())
        if reference is not None and not method.is_reference:
            found = _compare(group, reference)
            if found is not None:
                comparisons[method] = found
    corrected = holm([found.p_bootstrap for found in comparisons.values()])
    wilcoxon = holm([found.p_wilcoxon for found in comparisons.values()])
    p_holm = dict(zip(comparisons, corrected, strict=True))
    p_wilcoxon = dict(zip(comparisons, wilcoxon, strict=True))
    return [
        Estimate(
            group=group,
            scores={name: mean_std(getattr(run, name) for run in group.runs) for name in METRICS},
            intervals=_intervals(group.runs),
            spread=_spread(group.runs),
            comparison=comparisons.get(method),
            p_holm=p_holm.get(method),
            p_wilcoxon_holm=p_wilcoxon.get(method),
        )
        for method, group in groups.items()
    ]


def chance(runs: Iterable[Run]) -> Chance:
    """Return what guessing would score on the test sets of these runs, taken together."""
    runs = list(runs)
    totals: dict[str, int] = {}
    for run in runs:
        for name, row in zip(run.classes, run.confusion, strict=True):
            totals[name] = totals.get(name, 0) + sum(row)
    majority = max(totals, key=lambda name: totals[name])
    present = sum(count > 0 for count in totals.values())
    return Chance(totals[majority] / sum(totals.values()), 1 / present, majority)


def pooled_confusion(runs: Iterable[Run]) -> NDArray[np.float64]:
    """Return the (C, C) counts of all runs, added up."""
    stacked = np.stack([np.asarray(run.confusion, dtype=np.float64) for run in runs])
    total: NDArray[np.float64] = stacked.sum(axis=0)
    return total


def speakers_of(runs: Iterable[Run]) -> dict[str, Confusion]:
    """Return each speaker's confusion over all runs."""
    return dict(pool_speakers(run.by_speaker for run in runs))  # type: ignore[arg-type] # arrays


def curve(runs: Iterable[Run]) -> Curve:
    """Return the low-resource curve of one method's runs."""
    points: dict[int, list[Run]] = {}
    for run in runs:
        if run.samples_per_label:
            points.setdefault(run.samples_per_label, []).append(run)
    num_samples = tuple(sorted(points))
    mean = np.array([np.mean([run.wa for run in points[n]]) for n in num_samples])
    std = np.array([_std_over_draws(points[n]) for n in num_samples])
    counts = tuple(len(points[n]) for n in num_samples)
    if len(num_samples) < 2:
        return Curve(num_samples, mean, std, counts, None, None)
    if (num_samples[0], num_samples[-1]) == (50, 1000):
        paper, own = paper_auc(num_samples, mean), normalised_auc(num_samples, mean)
        return Curve(num_samples, mean, std, counts, paper, own)
    width = num_samples[-1] - num_samples[0]
    area = float(np.trapezoid(mean, num_samples)) / width
    return Curve(num_samples, mean, std, counts, None, area)


def _std_over_draws(runs: Iterable[Run]) -> float:
    draws: dict[tuple[int, int], list[float]] = {}
    for run in runs:
        draws.setdefault((run.seed, run.draw or 0), []).append(run.wa)
    return mean_std(float(np.mean(values)) for values in draws.values()).std


def _compare(group: Group, reference: Group) -> Comparison | None:
    ours = {run.position: run.by_speaker for run in group.runs if run.by_speaker}
    theirs = {run.position: run.by_speaker for run in reference.runs if run.by_speaker}
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    try:
        return compare(
            {key: ours[key] for key in shared}, {key: theirs[key] for key in shared}, "wa"
        )
    except DataError:
        return (
            None  # fewer than two speakers, or not the same ones: rather no test than a wrong one
        )


def _intervals(runs: Iterable[Run]) -> dict[str, Interval]:
    pooled = pool_speakers(run.by_speaker for run in runs)
    if len(pooled) < 2:
        return {}
    return {name: interval(pooled, name) for name in METRICS}


def _spread(runs: Iterable[Run]) -> SpeakerSpread | None:
    pooled = pool_speakers(run.by_speaker for run in runs)
    return speaker_spread(pooled) if pooled else None
