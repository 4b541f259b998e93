"""Hypotheses H1 to H6 judged by code, from the rows and nothing else.

After `grid.py`. A corpus (seed) is the unit: folds are averaged first, differences are paired by
seed, tests are two-sided paired t-tests (H4 one-sided, of a gain of one point), and Holm's
correction is over all hypotheses that are judged. docs/controlled.md states them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from spknorm.controlled.grid import Row
from spknorm.controlled.plan import Variant
from spknorm.demo.synthesis import FloatArray
from spknorm.statistics import holm

LEVEL = 0.05
MARGIN = 0.01
"""H4: a gain of less than this counts as none."""

NONE = Variant("hubert", "none", "true")
GATE = Variant("hubert", "gate", "true")
SNP = Variant("hubert", "SNP", "true")
SHUFFLED = Variant("hubert", "SNP", "shuffled")
TUNED = Variant("fine-tuned", "none", "true")
TAP = Variant("fine-tuned", "TAP", "true")
CONFUSED = Variant("fine-tuned", "confusion", "true")


class Verdict(NamedTuple):
    """One hypothesis.

    Attributes:
        name: H1 ... H6b.
        claim: What it says.
        difference: Mean over seeds of what it is about, in accuracy (0-1).
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Of its own test.
        p_holm: Corrected for all that are judged.
        num_seeds: n.
        verdict: `confirmed`, `refuted` (significant in the other direction) or `not shown`.
    """

    name: str
    claim: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    num_seeds: int
    verdict: str


class Cell(NamedTuple):
    """A variant at one rho: means over seeds (of means over folds) and deviations over seeds."""

    variant: Variant
    rho: float
    unseen: float
    unseen_std: float
    low: float
    high: float
    seen: float
    leakage: float
    leakage_std: float
    num_seeds: int
    num_models: int


class _Hypothesis(NamedTuple):
    name: str
    claim: str
    terms: tuple[tuple[float, str, Variant, float], ...]  # weight, measure, variant, rho
    direction: int  # 1: greater than 0; -1: less than 0; 0: less than MARGIN


def _gain(
    variant: Variant, base: Variant, rho: float, weight: float = 1.0
) -> tuple[tuple[float, str, Variant, float], ...]:
    return ((weight, "unseen", variant, rho), (-weight, "unseen", base, rho))


HYPOTHESES = (
    _Hypothesis(
        "H1",
        "accuracy of none is lower at rho .9 than at 0",
        ((1.0, "unseen", NONE, 0.9), (-1.0, "unseen", NONE, 0.0)),
        -1,
    ),
    _Hypothesis("H2a", "SNP beats none at rho .8", _gain(SNP, NONE, 0.8), 1),
    _Hypothesis("H2b", "SNP beats none at rho .9", _gain(SNP, NONE, 0.9), 1),
    _Hypothesis(
        "H3",
        "SNP's gain at rho .9 exceeds that at 0",
        (*_gain(SNP, NONE, 0.9), *_gain(SNP, NONE, 0.0, -1.0)),
        1,
    ),
    _Hypothesis(
        "H4",
        "SNP with shuffled speakers gains less than 1 point at rho .9",
        _gain(SHUFFLED, NONE, 0.9),
        0,
    ),
    _Hypothesis(
        "H5a",
        "SNP leaks less than its gate alone at rho .9",
        ((1.0, "leakage", SNP, 0.9), (-1.0, "leakage", GATE, 0.9)),
        -1,
    ),
    _Hypothesis(
        "H5b",
        "TAP leaks less than plain fine-tuning at rho .9",
        ((1.0, "leakage", TAP, 0.9), (-1.0, "leakage", TUNED, 0.9)),
        -1,
    ),
    _Hypothesis("H6a", "TAP beats plain fine-tuning at rho .9", _gain(TAP, TUNED, 0.9), 1),
    _Hypothesis(
        "H6b",
        "TAP by the confusion loss beats plain fine-tuning at rho .9",
        _gain(CONFUSED, TUNED, 0.9),
        1,
    ),
)


def judge(rows: Iterable[Row]) -> list[Verdict]:
    """Return a verdict on each hypothesis that the rows can speak of (two seeds or more)."""
    means = _seed_means(rows)
    tested = []
    for hypothesis in HYPOTHESES:
        values = _differences(hypothesis, means)
        if len(values) >= 2:
            tested.append((hypothesis, values, _p_value(values, hypothesis.direction)))
    corrected = holm([p for _, _, p in tested]) if tested else []
    verdicts = []
    for (hypothesis, values, p), adjusted in zip(tested, corrected, strict=True):
        low, high = confidence(values)
        verdicts.append(
            Verdict(
                hypothesis.name,
                hypothesis.claim,
                float(np.mean(values)),
                low,
                high,
                p,
                adjusted,
                len(values),
                _word(float(np.mean(values)), adjusted, hypothesis.direction),
            )
        )
    return verdicts


def summarise(rows: Iterable[Row]) -> list[Cell]:
    """Return a cell per variant and rho, in the order of the rows."""
    groups: dict[tuple[Variant, float], dict[int, list[Row]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        groups[Variant(row.features, row.method, row.labels), row.rho][row.seed].append(row)
    cells = []
    for (variant, rho), by_seed in groups.items():
        unseen, seen, leakage = (
            np.array([np.mean([getattr(row, name) for row in of]) for of in by_seed.values()])
            for name in ("unseen", "seen", "leakage")
        )
        cells.append(
            Cell(
                variant,
                rho,
                float(unseen.mean()),
                _deviation(unseen),
                *(confidence(unseen) if len(unseen) > 1 else (float(unseen[0]),) * 2),
                float(seen.mean()),
                float(leakage.mean()),
                _deviation(leakage),
                len(by_seed),
                sum(len(of) for of in by_seed.values()),
            )
        )
    return cells


def _deviation(values: FloatArray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def regained_share(cells: Sequence[Cell], variant: Variant, rho: float) -> float | None:
    """Return which part of what confounding costs `none` the variant gives back; None if unknown.

    (variant at rho - none at rho) / (none at 0 - none at rho), on unseen speakers.
    """
    found = {(cell.variant, cell.rho): cell.unseen for cell in cells}
    base = Variant(variant.features, "none", "true")
    try:
        lost = found[base, 0.0] - found[base, rho]
        gained = found[variant, rho] - found[base, rho]
    except KeyError:
        return None
    return gained / lost if lost > 0 else None


def confidence(values: Sequence[float] | FloatArray) -> tuple[float, float]:
    """Return the 95 % interval of a mean over seeds (Student's t)."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean - reach, mean + reach


def _seed_means(rows: Iterable[Row]) -> dict[tuple[str, Variant, float], dict[int, float]]:
    """Return measure, variant, rho -> seed -> mean over folds."""
    groups: dict[tuple[str, Variant, float], dict[int, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        variant = Variant(row.features, row.method, row.labels)
        for measure in ("unseen", "leakage"):
            groups[measure, variant, row.rho][row.seed].append(getattr(row, measure))
    return {
        key: {seed: float(np.mean(values)) for seed, values in by_seed.items()}
        for key, by_seed in groups.items()
    }


def _differences(
    hypothesis: _Hypothesis, means: dict[tuple[str, Variant, float], dict[int, float]]
) -> list[float]:
    """Return a value per seed that has every term."""
    terms = [
        (weight, means.get((measure, variant, rho), {}))
        for weight, measure, variant, rho in hypothesis.terms
    ]
    seeds = set.intersection(*(set(by_seed) for _, by_seed in terms))
    return [sum(weight * by_seed[seed] for weight, by_seed in terms) for seed in sorted(seeds)]


def _p_value(values: Sequence[float], direction: int) -> float:
    if np.ptp(values) == 0:
        return 0.0 if values[0] != 0 else 1.0
    if direction == 0:
        return float(stats.ttest_1samp(values, MARGIN, alternative="less").pvalue)
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def _word(mean: float, p: float, direction: int) -> str:
    if p >= LEVEL:
        return "not shown"
    if direction == 0:
        return "confirmed"
    return "confirmed" if mean * direction > 0 else "refuted"
