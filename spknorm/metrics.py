"""How right the predictions are: class indices in, floats out, by scikit-learn's definitions.

After `features.py` in the flow; the trainer scores with it and `statistics.py` starts from its
confusion matrices.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spknorm.errors import DataError


class Scores(NamedTuple):
    """Scores over a set of utterances; accuracies are fractions in [0, 1].

    Attributes:
        wa: Weighted accuracy: the share of right utterances (`accuracy_score`).
        ua: Unweighted accuracy: mean recall over the classes present (`balanced_accuracy_score`).
        macro_f1: F1 averaged over the classes that are present or predicted (`f1_score`, macro).
        n: Number of utterances.
        confusion: (C, C) counts; row = true class, column = predicted class.
    """

    wa: float
    ua: float
    macro_f1: float
    n: int
    confusion: NDArray[np.int64]


def score(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> Scores:
    """Score predictions.

    Args:
        truth: (N,) true class indices.
        predicted: (N,) predicted class indices.
        num_classes: C; every index lies in 0 ... C-1.

    Raises:
        DataError: Nothing to score, lengths that differ, or an index outside the classes.
    """
    return score_confusion(confusion_matrix(truth, predicted, num_classes))


def score_confusion(confusion: ArrayLike) -> Scores:
    """Score a (C, C) confusion matrix: row = true class, column = predicted class.

    Raises:
        DataError: The matrix is not square or holds no utterance.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise DataError(f"A confusion matrix is square, but this one has shape {counts.shape}.")
    n = int(counts.sum())
    if n == 0:
        raise DataError("There is no utterance to score.")
    hits, truths, guesses = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    seen = truths > 0
    involved = (truths + guesses) > 0
    return Scores(
        wa=float(hits.sum() / n),
        ua=float(np.mean(hits[seen] / truths[seen])),
        macro_f1=float(np.mean(2 * hits[involved] / (truths + guesses)[involved])),
        n=n,
        confusion=counts,
    )


def confusion_matrix(
    truth: ArrayLike, predicted: ArrayLike, num_classes: int
) -> NDArray[np.int64]:
    """Count (true class, predicted class) pairs into a (C, C) matrix.

    Raises:
        DataError: Lengths that differ, or an index outside 0 ... C-1.
    """
    rows = np.asarray(truth, dtype=np.int64).reshape(-1)
    columns = np.asarray(predicted, dtype=np.int64).reshape(-1)
    if rows.shape != columns.shape:
        raise DataError(f"There are {rows.size} true labels but {columns.size} predictions.")
    both = np.concatenate([rows, columns])
    if both.size and (both.min() < 0 or both.max() >= num_classes):
        raise DataError(
            f"Class indices run from 0 to {num_classes - 1}, "
            f"but {both.min()} to {both.max()} were given."
        )
    cells = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)
