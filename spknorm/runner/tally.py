"""What the passes of a step add up: losses, hits and counts. Before `passes.py`, which fills it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class Tally:
    """Sums over micro-batches; it is one vector, so that processes and steps just add up.

    Args:
        num_counts: How many numbers the target counts; see spknorm.statistics.targets.
        values: An earlier vector to go on from.
    """

    FIELDS = (
        "emotion_batches",
        "emotion_loss",
        "speaker_batches",
        "speaker_loss",
        "speaker_utterances",
        "speaker_hits",
        "bad",
        "steps",
        "ascents_clipped",
        "ascents_paused",
        "ascents_skipped",
        "shares",
        "ascent_share",
        "angles",
        "ascent_angle",
    )
    """Of micro-batches; from `steps` on, of whole steps: counts, and sums of what was measured."""

    def __init__(self, num_counts: int, values: Sequence[float] = ()) -> None:
        size = len(self.FIELDS) + num_counts
        self.values = np.array(values if len(values) == size else [0.0] * size)

    def add(self, name: str, value: float) -> None:
        """Add to one of `FIELDS`."""
        self.values[self.FIELDS.index(name)] += value

    def add_counts(self, counts: npt.NDArray[np.float64]) -> None:
        """Add what the target counted of some emotion predictions."""
        self.values[len(self.FIELDS) :] += counts

    def __getitem__(self, name: str) -> float:
        """Return one of `FIELDS`."""
        return float(self.values[self.FIELDS.index(name)])

    def mean(self, of: str, over: str) -> float | None:
        """Return a sum over a count; None if nothing was counted."""
        return self[of] / self[over] if self[over] else None

    @property
    def counts(self) -> npt.NDArray[np.float64]:
        """What the target counted."""
        return self.values[len(self.FIELDS) :]
