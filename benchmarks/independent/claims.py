"""What is claimed of the independent world, fixed before any of its corpora was heard.

The controlled benchmark's claims on frozen features, and those of the best rivals, with strengths
as they were there: nothing about a method is chosen in this world. Judged as the others are
(`spknorm.controlled.verdicts`), with Holm's correction over all of them.
"""

from collections.abc import Iterable

import numpy as np

from spknorm.controlled.folds import ModelRow
from spknorm.controlled.hypotheses import MARGIN, Hypothesis
from spknorm.controlled.plan import Variant
from spknorm.controlled.rivals.grid import RivalRow

STRENGTHS = {"snp": 0.5, "leace": 10, "adapted": 1.0, "matched": 1.0, "calibrated": 1.5}
"""SNP and LEACE as in the controlled benchmark, the others as its corpora chose among rivals."""
TITLES = {
    "snp": "SNP",
    "leace": "LEACE of ten directions",
    "adapted": "the test speaker's statistics",
    "matched": "posteriors matched to the prior",
    "calibrated": "speakers' priors taken out in training",
}
UPSTREAM = "frozen"
Terms = tuple[tuple[float, str, Variant, float], ...]


def _gain(method: str, rho: float, *, labels: str = "true", weight: float = 1.0) -> Terms:
    base = Variant(UPSTREAM, "none", "true")
    return (
        (weight, "unseen", Variant(UPSTREAM, method, labels), rho),
        (-weight, "unseen", base, rho),
    )


def _claims_of(name: str, method: str) -> list[Hypothesis]:
    """Return what is claimed of a method: a gain, where there is confounding, by the speaker."""
    title = TITLES[method]
    more = (*_gain(method, 0.9), *_gain(method, 0.0, weight=-1.0))
    control = _gain(method, 0.9, labels="shuffled")
    less = f"{title}, shuffled speakers: less than 1 point at rho .9"
    return [
        Hypothesis(f"{name}a", f"{title} beats none at rho .9", _gain(method, 0.9), 1),
        Hypothesis(f"{name}b", f"{title} gains more at rho .9 than at 0", more, 1),
        Hypothesis(f"{name}c", less, control, -1, MARGIN),
    ]


_NONE = Variant(UPSTREAM, "none", "true")
_LEAK = (
    (1.0, "leakage", Variant(UPSTREAM, "snp", "true"), 0.9),
    (-1.0, "leakage", Variant(UPSTREAM, "gate", "true"), 0.9),
)
CLAIMS = (
    Hypothesis(
        "W1",
        "accuracy of none is lower at rho .9 than at 0",
        ((1.0, "unseen", _NONE, 0.9), (-1.0, "unseen", _NONE, 0.0)),
        -1,
    ),
    *_claims_of("W2", "snp"),
    Hypothesis("W2d", "SNP leaks less than its gate alone at rho .9", _LEAK, -1),
    *_claims_of("W3", "leace"),
    *(
        Hypothesis(name, f"{TITLES[method]} beats none at rho .9", _gain(method, 0.9), 1)
        for name, method in (("W4", "adapted"), ("W5", "matched"), ("W6", "calibrated"))
    ),
)


def as_models(rows: Iterable[RivalRow]) -> list[ModelRow]:
    """Return the rows as the controlled benchmark judges them."""
    return [
        ModelRow(
            UPSTREAM,
            row.method,
            row.labels,
            row.rho,
            row.seed,
            row.fold,
            unseen=float(np.mean(list(row.unseen.values()))),
            seen=row.seen,
            leakage=row.leakage,
            speaker_loss=None,
        )
        for row in rows
    ]
