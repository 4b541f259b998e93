"""What the controlled benchmark claims, fixed before it is run; docs/controlled.md has the reasons.

Between `plan.py` and `verdicts.py`, which judges. Two families: frozen features (H1 to H5a), and
fine-tuned upstreams (H7a to H10d), and of these the task's own reading of lambda, which came later
(H11a to c). H5b and H6 were judged in an earlier round (docs/controlled.md).
"""

from typing import NamedTuple

from spknorm.controlled.plan import Variant

MARGIN = 0.01
"""A gain of less than this counts as none."""
INFERIOR = 0.015
"""A loss of less than this counts as none."""

NONE, GATE, SNP = (Variant("hubert", method, "true") for method in ("none", "gate", "SNP"))
START, ERASED_START = (Variant("start", method, "true") for method in ("none", "erasure"))
TUNED, TAP, CONFUSED, BY_LOSS, ERASED = (
    Variant("fine-tuned", method, "true")
    for method in ("none", "TAP", "confusion", "by_loss", "erasure")
)
SHUFFLED, TAP_SHUFFLED, CONFUSED_SHUFFLED, BY_LOSS_SHUFFLED, ERASED_SHUFFLED = (
    one._replace(labels="shuffled") for one in (SNP, TAP, CONFUSED, BY_LOSS, ERASED)
)

Terms = tuple[tuple[float, str, Variant, float], ...]
"""(weight, measure, variant, rho) of a weighted sum."""


class Hypothesis(NamedTuple):
    """A difference, the sum of terms, and what is claimed of it.

    Attributes:
        direction: 1: the sum is greater than `bound`; -1: less.
        bound: Of a one-sided test; None: two-sided, of 0.
        family: Hypotheses that share Holm's correction.
    """

    name: str
    claim: str
    terms: Terms
    direction: int
    bound: float | None = None
    family: str = "frozen"


def _gain(variant: Variant, base: Variant, rho: float, weight: float = 1.0) -> Terms:
    return ((weight, "unseen", variant, rho), (-weight, "unseen", base, rho))


def _leak(variant: Variant, base: Variant, rho: float) -> Terms:
    return ((1.0, "leakage", variant, rho), (-1.0, "leakage", base, rho))


def _removal(name: str, label: str, variant: Variant, shuffled: Variant) -> list[Hypothesis]:
    """Return what is claimed of a way to remove the speaker while fine-tuning."""
    less = f"{label} leaks less than plain fine-tuning at rho .9"
    better = f"{label} beats plain fine-tuning at rho .9"
    nothing = f"{label} with shuffled speakers gains less than 1 point at rho .9"
    return [
        Hypothesis(f"{name}a", less, _leak(variant, TUNED, 0.9), -1),
        Hypothesis(f"{name}b", better, _gain(variant, TUNED, 0.9), 1),
        Hypothesis(f"{name}c", nothing, _gain(shuffled, TUNED, 0.9), -1, MARGIN),
    ]


_START = "fine-tuning loses less than 1.5 points to its frozen start at rho"
_COST: Terms = ((1.0, "unseen", NONE, 0.9), (-1.0, "unseen", NONE, 0.0))
_MORE: Terms = (*_gain(SNP, NONE, 0.9), *_gain(SNP, NONE, 0.0, -1.0))
_NOTHING = "SNP with shuffled speakers gains less than 1 point at rho .9"
_BOTH = "fine-tuning behind an eraser beats the frozen upstream behind one at rho .9"
_FROZEN = (
    Hypothesis("H1", "accuracy of none is lower at rho .9 than at 0", _COST, -1),
    Hypothesis("H2a", "SNP beats none at rho .8", _gain(SNP, NONE, 0.8), 1),
    Hypothesis("H2b", "SNP beats none at rho .9", _gain(SNP, NONE, 0.9), 1),
    Hypothesis("H3", "SNP's gain at rho .9 exceeds that at 0", _MORE, 1),
    Hypothesis("H4", _NOTHING, _gain(SHUFFLED, NONE, 0.9), -1, MARGIN),
    Hypothesis("H5a", "SNP leaks less than its gate alone at rho .9", _leak(SNP, GATE, 0.9), -1),
)
_TUNED = (
    Hypothesis("H7a", f"{_START} 0", _gain(TUNED, START, 0.0), 1, -INFERIOR),
    Hypothesis("H7b", f"{_START} .9", _gain(TUNED, START, 0.9), 1, -INFERIOR),
    *_removal("H8", "TAP", TAP, TAP_SHUFFLED),
    *_removal("H9", "TAP by confusion", CONFUSED, CONFUSED_SHUFFLED),
    *_removal("H10", "fine-tuning behind an eraser", ERASED, ERASED_SHUFFLED),
    Hypothesis("H10d", _BOTH, _gain(ERASED, ERASED_START, 0.9), 1),
)
_DEFAULT = _removal("H11", "TAP by confusion, relative to the loss,", BY_LOSS, BY_LOSS_SHUFFLED)
HYPOTHESES = (
    *_FROZEN,
    *(one._replace(family="tuned") for one in _TUNED),
    *(one._replace(family="default") for one in _DEFAULT),
)
