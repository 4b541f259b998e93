"""What a model predicts, and how a set of its predictions is scored: classes, or dimensions.

After `metrics.py` and `agreement.py`; the runner counts, logs and selects through here, so that it
does not ask which of the two it trains.

Legend: N utterances, C outputs of the emotion head (classes or dimensions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spknorm.statistics.agreement import CCC, NUM_SUMS, Agreement, agreement_of, sums_of
from spknorm.statistics.metrics import METRICS, Scores, confusion_matrix, score_confusion


@dataclass(frozen=True)
class Classes:
    """One of C classes per utterance, by label index; what is counted is the confusion matrix."""

    names: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many counts there are."""
        return len(self.names) ** 2

    @property
    def width(self) -> int:
        """Numbers that a prediction has."""
        return 1

    def guesses(self, outputs: Any) -> Any:
        """Return class indices (N,) of a tensor of logits (N, C)."""
        return outputs.argmax(dim=-1)

    def truths(self, labels: Sequence[Any]) -> list[int]:
        """Return class indices of labels; of a distribution over classes the largest."""
        return [
            int(np.argmax(one)) if isinstance(one, tuple | list) else int(one) for one in labels
        ]

    def count(self, truths: Sequence[Any], guesses: Sequence[Any]) -> NDArray[np.float64]:
        """Return the confusion matrix of some utterances as one vector."""
        counts = confusion_matrix(truths, [round(one) for one in guesses], len(self.names))
        return counts.ravel().astype(np.float64)

    def score(self, counts: NDArray[np.float64]) -> Scores:
        """Return the scores that counts tell of."""
        return score_confusion(counts.reshape(len(self.names), -1).astype(np.int64))

    def logged(self, scores: Any) -> dict[str, float | None]:
        """Return what metrics.jsonl has of scores, or of none."""
        return {name: None if scores is None else getattr(scores, name) for name in METRICS}

    def selected(self, scores: Any, by: str) -> float:
        """Return the score by which the best step is chosen."""
        return float(getattr(scores, by))

    def metric(self, by: str) -> str:
        """Return that score's name."""
        return by

    def at_chance(self, scores: Any, *, within: float) -> float | None:
        """Return what a guess has, where UA is no better than `within` times that; else None."""
        guess = 1 / len(self.names)
        return guess if scores.ua <= within * guess else None

    def absent(self, scores: Any) -> tuple[str, ...]:
        """Return the classes without an utterance, which UA and macro-F1 leave out."""
        truths = scores.confusion.sum(axis=1)
        return tuple(name for name, count in zip(self.names, truths, strict=True) if not count)

    def texts(self, values: Sequence[Any]) -> list[str]:
        """Return predictions or truths as prediction files have them."""
        return [self.names[round(one)] for one in values]


@dataclass(frozen=True)
class Dimensions:
    """A value per dimension and utterance; what is counted are the sums that CCC needs.

    The head's outputs and its labels lie on -1 ... 1; truths and guesses on the corpus' own scale,
    the least and the greatest value that a rater can give.
    """

    names: tuple[str, ...]
    scale: tuple[float, float]

    @property
    def size(self) -> int:
        """How many sums there are."""
        return len(self.names) * NUM_SUMS

    @property
    def width(self) -> int:
        """Numbers that a prediction has."""
        return len(self.names)

    @property
    def centre(self) -> float:
        """The value that an output of 0 means."""
        return (self.scale[0] + self.scale[1]) / 2

    @property
    def half(self) -> float:
        """What an output of 1 is above the centre."""
        return (self.scale[1] - self.scale[0]) / 2

    def guesses(self, outputs: Any) -> Any:
        """Return values (N, C) on the corpus' scale of a tensor of outputs (N, C)."""
        return outputs.float() * self.half + self.centre

    def truths(self, labels: Sequence[Any]) -> list[list[float]]:
        """Return values on the corpus' scale of labels on -1 ... 1."""
        return [[one * self.half + self.centre for one in label] for label in labels]

    def count(self, truths: Sequence[Any], guesses: Sequence[Any]) -> NDArray[np.float64]:
        """Return the sums of some utterances as one vector."""
        return sums_of(truths, guesses).ravel()

    def score(self, counts: NDArray[np.float64]) -> Agreement:
        """Return the agreement that sums tell of."""
        return agreement_of(counts.reshape(len(self.names), NUM_SUMS))

    def logged(self, scores: Any) -> dict[str, float | None]:
        """Return what metrics.jsonl has of an agreement, or of none."""
        keys = (CCC, *(f"{CCC}_{name}" for name in self.names))
        values = [None] * len(keys) if scores is None else (scores.mean, *scores.ccc)
        return dict(zip(keys, values, strict=True))

    def selected(self, scores: Any, by: str) -> float:
        """Return the mean CCC, by which the best step is chosen."""
        return float(scores.mean)

    def metric(self, by: str) -> str:
        """Return that score's name."""
        return CCC

    def at_chance(self, scores: Any, *, within: float) -> float | None:
        """Return 0, what a constant has, where the mean CCC is not above it; else None."""
        return 0.0 if scores.mean <= 0 else None

    def absent(self, scores: Any) -> tuple[str, ...]:
        """Return nothing: a dimension that an utterance lacks keeps it out."""
        return ()

    def texts(self, values: Sequence[Sequence[float]]) -> list[str]:
        """Return predictions or truths as prediction files have them, without a space."""
        return [",".join(f"{one:.4f}" for one in row) for row in values]

    def named(self, values: Sequence[float]) -> Mapping[str, float]:
        """Return the values of one utterance by dimension."""
        return dict(zip(self.names, (float(one) for one in values), strict=True))


Target = Classes | Dimensions


def target_of(names: Sequence[str], scale: Sequence[float] | None) -> Target:
    """Return the target of an emotion head: classes, or dimensions where there is a scale."""
    if scale is None:
        return Classes(tuple(names))
    return Dimensions(tuple(names), (float(scale[0]), float(scale[1])))
