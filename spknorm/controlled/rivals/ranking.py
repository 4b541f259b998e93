"""What the rows say: each rival's gain over the emotion head alone, with its interval and rank.

After `grid.py`. A corpus (seed) is the unit: folds are averaged first, gains are paired by seed,
the tests are paired t-tests, and Holm's correction is over all rivals.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from spknorm.controlled.rivals.grid import RivalRow
from spknorm.controlled.rivals.plan import BASELINES, Plan
from spknorm.controlled.verdicts import LEVEL, MIN_SEEDS, by_seed, confidence, p_value
from spknorm.demo.synthesis import FloatArray
from spknorm.statistics import holm
from spknorm.statistics.fairness import gini

_RESAMPLES = 2000

Measure = Callable[[Sequence[RivalRow]], float]
_MEASURES: dict[str, Measure] = {
    "unseen": lambda rows: float(np.mean(_speakers(rows))),
    "worst": lambda rows: min(_speakers(rows)),
    "gini": lambda rows: float(gini(np.array(_speakers(rows)))),
    "leakage": lambda rows: float(np.mean([row.leakage for row in rows])),
    "seconds": lambda rows: float(np.mean([row.seconds for row in rows])),
}
"""Numbers of the rows of one seed."""


class Gain(NamedTuple):
    """A mean over seeds, and its 95 % interval (None, None of too few)."""

    mean: float
    low: float | None
    high: float | None


class Rank(NamedTuple):
    """A place by gain, and its range in 95 % of resampled seeds; None of too few of them."""

    place: int
    best: int | None
    worst: int | None


class Standing(NamedTuple):
    """One rival, or a baseline: a key of `RIVALS` or of `BASELINES`, at the chosen strength.

    Attributes:
        gain: Of accuracy on unseen speakers at the first rho; None of the emotion head itself.
        p_holm: Of the gain's paired t-test, corrected; None of a baseline or of one seed.
        control: Gain of the same with permuted speakers; None of a baseline.
        cost: Gain at rho 0, where there is nothing to be regained; None if it was not run.
        worst: Accuracy of the worst speaker, mean over seeds, as is the speakers' `gini`.
        seconds: Of the processor, to train, over those of the emotion head alone.
    """

    method: str
    strength: float
    unseen: float
    gain: Gain | None
    p_holm: float | None
    rank: Rank | None
    control: Gain | None
    cost: Gain | None
    worst: float
    worst_gain: Gain | None
    gini: float
    leakage: float
    seconds: float
    num_parameters: int

    @property
    def verdict(self) -> str:
        """Helps or harms where the corrected test says so, else not shown; empty if not tested."""
        if self.gain is None or self.p_holm is None:
            return ""
        if self.p_holm >= LEVEL:
            return "not shown"
        return "helps" if self.gain.mean > 0 else "harms"


def rank(plan: Plan, chosen: dict[str, float], rows: Sequence[RivalRow]) -> list[Standing]:
    """Return the baselines, then the rivals by gain at the plan's first rho.

    Only seeds of which every method has its rows count, so that all are judged on the same.
    """
    groups = by_seed(rows, lambda row: (row.method, row.labels, row.rho))
    first = plan.rho[0]
    wanted = [*BASELINES, *plan.rivals]
    if not (seeds := _shared(groups.get((one, "true", first), {}) for one in wanted)):
        return []

    def values(method: str, measure: str, labels: str = "true") -> FloatArray:
        return _values(groups[method, labels, first], seeds, measure)

    def gain(method: str, measure: str, labels: str = "true") -> FloatArray:
        return values(method, measure, labels) - values("none", measure)

    def cost(method: str) -> Gain | None:
        free = [groups.get((one, "true", 0.0), {}) for one in (method, "none")]
        there = [seed for seed in _shared(free) if seed in seeds]
        mine, base = (_values(of, there, "unseen") for of in free)
        return _gain(mine - base) if there else None

    tested = {one: p_value(gain(one, "unseen")) for one in plan.rivals if len(seeds) >= MIN_SEEDS}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    ranks = _ranks({one: gain(one, "unseen") for one in plan.rivals})
    found = []
    for method in wanted:
        is_base, is_rival = method == "none", method in plan.rivals
        means = {name: float(values(method, name).mean()) for name in _MEASURES}
        means["seconds"] /= float(values("none", "seconds").mean())
        found.append(
            Standing(
                method=method,
                strength=chosen.get(method, 0.0),
                gain=None if is_base else _gain(gain(method, "unseen")),
                p_holm=corrected.get(method),
                rank=ranks.get(method),
                control=_gain(gain(method, "unseen", "shuffled")) if is_rival else None,
                cost=None if is_base else cost(method),
                worst_gain=None if is_base else _gain(gain(method, "worst")),
                **means,
                num_parameters=groups[method, "true", first][seeds[0]][0].num_parameters,
            )
        )
    return sorted(found, key=lambda one: 0 if one.rank is None else one.rank.place)


def _shared(groups: Iterable[dict[int, list[RivalRow]]]) -> list[int]:
    return sorted(set.intersection(*map(set, groups)))


def _values(group: dict[int, list[RivalRow]], seeds: Iterable[int], measure: str) -> FloatArray:
    return np.array([_MEASURES[measure](group[seed]) for seed in seeds])


def _gain(values: FloatArray) -> Gain:
    return Gain(float(values.mean()), *confidence(values))


def _speakers(rows: Sequence[RivalRow]) -> list[float]:
    return [value for row in rows for value in row.unseen.values()]


def _ranks(gains: dict[str, FloatArray]) -> dict[str, Rank]:
    values = np.stack(list(gains.values()))  # (R, seeds)
    size = values.shape[1]
    order = ((-values.mean(1)).argsort().argsort() + 1).tolist()
    if size < MIN_SEEDS:
        return {name: Rank(place, None, None) for name, place in zip(gains, order, strict=True)}
    drawn = np.random.default_rng(0).integers(size, size=(_RESAMPLES, size))
    places = (-values[:, drawn].mean(2)).argsort(0).argsort(0) + 1  # (R, resamples)
    best, least = np.quantile(places, (0.025, 0.975), axis=1, method="nearest")
    return {name: Rank(order[k], int(best[k]), int(least[k])) for k, name in enumerate(gains)}
