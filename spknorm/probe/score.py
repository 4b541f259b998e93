"""What one probe found. First in this folder, beside `arrays.py`."""

from typing import NamedTuple


class ProbeScore(NamedTuple):
    """What one probe found.

    Attributes:
        score: Accuracy on the test utterances; of verification the equal error rate. Fractions.
        low: Lower end of the 95 % interval, by bootstrap over clusters; None of too few.
        high: Its upper end.
        chance: What the most frequent class gives; .5 of verification.
        n: Test utterances; trials of verification.
        num_classes: K.
        on_sample: What the probe scored that learnt on the sample alone, where `score` is
            extrapolated to a whole; else None.
    """

    score: float
    low: float | None
    high: float | None
    chance: float
    n: int
    num_classes: int
    on_sample: float | None = None
