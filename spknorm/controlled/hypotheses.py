"""What the controlled benchmark claims, fixed before it is run; docs/controlled.md has the reasons.

Between `plan.py` and `verdicts.py`, which judges. Two families: frozen features (H1 to H5a), and
fine-tuned upstreams (H7a to H10d). H5b and H6 were judged in an earlier round (docs/controlled.md).
"""

from typing import NamedTuple

from spknorm.controlled.plan import Variant

MARGIN = 0.01
"""A gain of less than this counts as none."""
INFERIOR = 0.015
"""A loss of less than this counts as none."""

NONE = Variant("hubert", "none", "true")
GATE = Variant("hubert", "gate", "true")
SNP = Variant("hubert", "SNP", "true")
SHUFFLED = Variant("hubert", "SNP", "shuffled")
START = Variant("start", "none", "true")
ERASED_START = Variant("start", "erasure", "true")
TUNED = Variant("fine-tuned", "none", "true")
TAP = Variant("fine-tuned", "TAP", "true")
TAP_SHUFFLED = Variant("fine-tuned", "TAP", "shuffled")
CONFUSED = Variant("fine-tuned", "confusion", "true")
CONFUSED_SHUFFLED = Variant("fine-tuned", "confusion", "shuffled")
ERASED = Variant("fine-tuned", "erasure", "true")
ERASED_SHUFFLED = Variant("fine-tuned", "erasure", "shuffled")


class Hypothesis(NamedTuple):
    """A difference and what is claimed of it.

    Attributes:
        name: H1 ... H10d.
        claim: In words.
        terms: (weight, measure, variant, rho) of the weighted sum that it is about.
        direction: 1: the sum is greater than `bound`; -1: less.
        bound: Of a one-sided test; None: two-sided, of 0.
        family: Hypotheses that share Holm's correction.
    """

    name: str
    claim: str
    terms: tuple[tuple[float, str, Variant, float], ...]
    direction: int
    bound: float | None = None
    family: str = "frozen"


def _gain(
    variant: Variant, base: Variant, rho: float, weight: float = 1.0
) -> tuple[tuple[float, str, Variant, float], ...]:
    return ((weight, "unseen", variant, rho), (-weight, "unseen", base, rho))


def _leak(
    variant: Variant, base: Variant, rho: float
) -> tuple[tuple[float, str, Variant, float], ...]:
    return ((1.0, "leakage", variant, rho), (-1.0, "leakage", base, rho))


def _removal(name: str, label: str, variant: Variant, shuffled: Variant) -> list[Hypothesis]:
    """Return what is claimed of a way to remove the speaker while fine-tuning."""
    return [
        Hypothesis(
            f"{name}a",
            f"{label} leaks less than plain fine-tuning at rho .9",
            _leak(variant, TUNED, 0.9),
            -1,
            family="tuned",
        ),
        Hypothesis(
            f"{name}b",
            f"{label} beats plain fine-tuning at rho .9",
            _gain(variant, TUNED, 0.9),
            1,
            family="tuned",
        ),
        Hypothesis(
            f"{name}c",
            f"{label} with shuffled speakers gains less than 1 point at rho .9",
            _gain(shuffled, TUNED, 0.9),
            -1,
            MARGIN,
            "tuned",
        ),
    ]


HYPOTHESES = (
    Hypothesis(
        "H1",
        "accuracy of none is lower at rho .9 than at 0",
        ((1.0, "unseen", NONE, 0.9), (-1.0, "unseen", NONE, 0.0)),
        -1,
    ),
    Hypothesis("H2a", "SNP beats none at rho .8", _gain(SNP, NONE, 0.8), 1),
    Hypothesis("H2b", "SNP beats none at rho .9", _gain(SNP, NONE, 0.9), 1),
    Hypothesis(
        "H3",
        "SNP's gain at rho .9 exceeds that at 0",
        (*_gain(SNP, NONE, 0.9), *_gain(SNP, NONE, 0.0, -1.0)),
        1,
    ),
    Hypothesis(
        "H4",
        "SNP with shuffled speakers gains less than 1 point at rho .9",
        _gain(SHUFFLED, NONE, 0.9),
        -1,
        MARGIN,
    ),
    Hypothesis(
        "H5a",
        "SNP leaks less than its gate alone at rho .9",
        _leak(SNP, GATE, 0.9),
        -1,
    ),
    Hypothesis(
        "H7a",
        "fine-tuning loses less than 1.5 points to its frozen start at rho 0",
        _gain(TUNED, START, 0.0),
        1,
        -INFERIOR,
        "tuned",
    ),
    Hypothesis(
        "H7b",
        "fine-tuning loses less than 1.5 points to its frozen start at rho .9",
        _gain(TUNED, START, 0.9),
        1,
        -INFERIOR,
        "tuned",
    ),
    *_removal("H8", "TAP", TAP, TAP_SHUFFLED),
    *_removal("H9", "TAP by confusion", CONFUSED, CONFUSED_SHUFFLED),
    *_removal("H10", "fine-tuning behind an eraser", ERASED, ERASED_SHUFFLED),
    Hypothesis(
        "H10d",
        "fine-tuning behind an eraser beats the frozen upstream behind one at rho .9",
        _gain(ERASED, ERASED_START, 0.9),
        1,
        family="tuned",
    ),
)
