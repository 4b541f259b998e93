"""Hypotheses judged by code, from the rows and nothing else.

After `grid.py`. A corpus (seed) is the unit: folds are averaged first, differences are paired by
seed, tests are paired t-tests, two-sided unless a hypothesis has a bound, and Holm's correction is
over all hypotheses of a family that are judged. docs/controlled.md states them.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import stats

from spknorm.controlled.folds import ModelRow
from spknorm.controlled.hypotheses import HYPOTHESES, Hypothesis
from spknorm.controlled.plan import Variant
from spknorm.demo.synthesis import FloatArray
from spknorm.statistics import MIN_SPEAKERS, holm, mean_std
from spknorm.statistics.resampling import quantile

Row = TypeVar("Row")
Group = TypeVar("Group", bound=Hashable)

LEVEL = 0.05
MIN_SEEDS = MIN_SPEAKERS
"""Fewer corpora have no interval and no test, as fewer speakers have none."""


_OF_TUNED = {
    "confusion": "TAP by confusion",
    "by_loss": "TAP by confusion, relative to the loss",
    "erasure": "behind an eraser",
}


class Verdict(NamedTuple):
    """One hypothesis.

    Attributes:
        low: Lower end of its 95 % interval; None of fewer than `MIN_SEEDS`, as is `high`.
        p_holm: Corrected for all of its family that are judged.
        verdict: `confirmed`, `refuted` (significant in the other direction) or `not shown`.
    """

    name: str
    claim: str
    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    num_seeds: int
    verdict: str


class VariantMeans(NamedTuple):
    """A variant at one rho: means over seeds (of means over folds) and deviations over seeds.

    `regained` is the part of what confounding costs `none` that the variant gives back.
    """

    variant: Variant
    rho: float
    unseen: float
    unseen_std: float
    low: float | None
    high: float | None
    seen: float
    leakage: float
    leakage_std: float
    num_seeds: int
    num_models: int
    regained: float | None = None

    @property
    def label(self) -> str:
        """How a reader sees the variant."""
        features, method, labels = self.variant
        text = "gate alone" if method == "gate" else method
        if features == "fine-tuned":
            text = _OF_TUNED.get(text, text)
        text += ", shuffled speakers" if labels == "shuffled" else ""
        where = {"fine-tuned": ", fine-tuned", "start": ", before fine-tuning"}
        return text + where.get(features, "")

    @property
    def reach(self) -> tuple[float, float] | None:
        """How far the interval reaches down and up; None where there is none."""
        if self.low is None or self.high is None:
            return None
        return self.unseen - self.low, self.high - self.unseen

    @property
    def is_control(self) -> bool:
        """Whether nothing is to be expected of the variant."""
        return self.variant.labels == "shuffled" or self.variant.method == "gate"


def judge(rows: Iterable[ModelRow], hypotheses: Sequence[Hypothesis] = HYPOTHESES) -> list[Verdict]:
    """Return a verdict on each hypothesis that the rows can speak of (`MIN_SEEDS` or more)."""
    groups = by_seed(rows, _variant_and_rho)
    found = [(one, _differences(one, groups)) for one in hypotheses]
    tested = [(one, values) for one, values in found if len(values) >= MIN_SEEDS]
    ps: dict[str, dict[str, float]] = {}  # by family and name
    for one, values in tested:
        ps.setdefault(one.family, {})[one.name] = p_value(values, one.bound, one.direction)
    corrected = {key: dict(zip(own, holm([*own.values()]), strict=True)) for key, own in ps.items()}
    verdicts = []
    for one, values in tested:
        p, p_holm = (family[one.family][one.name] for family in (ps, corrected))
        mean = float(np.mean(values))
        word = "confirmed" if one.bound is not None or mean * one.direction > 0 else "refuted"
        word = word if p_holm < LEVEL else "not shown"
        interval = confidence(values)
        verdicts.append(Verdict(one.name, one.claim, mean, *interval, p, p_holm, len(values), word))
    return verdicts


def summarise(rows: Iterable[ModelRow]) -> list[VariantMeans]:
    """Return the means of each variant and rho, in the order of the rows."""
    found = []
    for (variant, rho), seeds in by_seed(rows, _variant_and_rho).items():
        values = {
            measure: [_mean(of, measure) for of in seeds.values()]
            for measure in ("unseen", "seen", "leakage")
        }
        unseen, seen, leakage = map(mean_std, values.values())
        accuracy = (*unseen[:2], *confidence(values["unseen"]), seen.mean)
        counts = (len(seeds), sum(map(len, seeds.values())))
        found.append(VariantMeans(variant, rho, *accuracy, *leakage[:2], *counts))
    return [one._replace(regained=_regained(one, found)) for one in found]


def by_seed(
    rows: Iterable[Row], group_of: Callable[[Row], Group]
) -> dict[Group, dict[int, list[Row]]]:
    """Return rows by group, and within it by seed, in the order in which they come."""
    groups: dict[Group, dict[int, list[Row]]] = {}
    for row in rows:
        seeds = groups.setdefault(group_of(row), {})
        seeds.setdefault(row.seed, []).append(row)  # type: ignore[attr-defined]  # of every row
    return groups


def confidence(values: Sequence[float] | FloatArray) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean over seeds (Student's t); None of too few of them."""
    if len(values) < MIN_SEEDS:
        return None, None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = quantile(0.975, len(values) - 1) * error
    return mean - reach, mean + reach


def p_value(
    values: Sequence[float] | FloatArray, bound: float | None = None, direction: int = 1
) -> float:
    """Return that of a t-test of a mean over seeds: above a bound (1), below (-1), or not 0."""
    one_sided = "greater" if direction > 0 else "less"
    if np.ptp(values) == 0:
        apart = (values[0] - (bound or 0.0)) * direction
        return 0.0 if apart > 0 or (bound is None and apart < 0) else 1.0
    alternative = "two-sided" if bound is None else one_sided
    return float(stats.ttest_1samp(values, bound or 0.0, alternative=alternative).pvalue)


def _variant_and_rho(row: ModelRow) -> tuple[Variant, float]:
    return Variant(row.features, row.method, row.labels), row.rho


def _regained(one: VariantMeans, means: Sequence[VariantMeans]) -> float | None:
    """Return (variant - none) / (none at 0 - none), on unseen speakers; None if unknown."""
    base = Variant(one.variant.features, "none", "true")
    none = {mean.rho: mean.unseen for mean in means if mean.variant == base}
    if 0.0 not in none or none.get(one.rho, none[0.0]) >= none[0.0]:
        return None
    return (one.unseen - none[one.rho]) / (none[0.0] - none[one.rho])


def _mean(rows: Sequence[ModelRow], measure: str) -> float:
    return float(np.mean([getattr(row, measure) for row in rows]))


def _differences(
    hypothesis: Hypothesis, groups: dict[tuple[Variant, float], dict[int, list[ModelRow]]]
) -> list[float]:
    """Return a value per seed that has every term."""
    terms = [
        (weight, measure, groups.get((variant, rho), {}))
        for weight, measure, variant, rho in hypothesis.terms
    ]
    seeds = set.intersection(*(set(of) for _, _, of in terms))
    return [
        sum(weight * _mean(of[seed], measure) for weight, measure, of in terms)
        for seed in sorted(seeds)
    ]
