"""How right the predictions are: class indices in, floats out, by scikit-learn's definitions.

The trainer scores with it, and `spknorm.statistics` starts from its confusion matrices.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spknorm.errors import ConfigError, DataError, NonFiniteError


class Metric(NamedTuple):
    """A score of hits, truths and guesses of each class, (..., C) each -> (...), and its names."""

    heading: str
    name: str
    of: Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[np.float64]]


def classes_of(logits: Any, names: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return the class (N,) with the largest of each row of logits (N, C), on any device.

    Raises:
        NonFiniteError: A row holds NaN or infinity, of which no class comes; of `names` (N,).
    """
    if hasattr(logits, "detach"):
        logits = logits.detach().float().cpu().numpy()
    values = np.asarray(logits)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=-1))
    if len(bad):
        raise NonFiniteError(
            nonfinite_message([names[i] for i in bad.tolist()] if names else len(bad))
        )
    found: NDArray[np.int64] = values.argmax(axis=-1)
    return found


def only_class(confusion: ArrayLike) -> int | None:
    """Return the class that everything was classified as, though there were others; else None.

    Of (C, C) counts; row = true class, column = predicted class.
    """
    counts = np.asarray(confusion)
    predicted = np.flatnonzero(counts.sum(axis=0))
    several = np.count_nonzero(counts.sum(axis=1)) > 1
    return int(predicted[0]) if len(predicted) == 1 and several else None


def nonfinite_message(of: Sequence[str] | int) -> str:
    """Return what to tell of utterances, by name or number, whose logits are not finite."""
    number, which = (of, "") if isinstance(of, int) else (len(of), f" ({', '.join(of[:5])}")
    which += (", ...)" if number > 5 else ")") if which else ""
    noun = "utterance" if number == 1 else "utterances"
    return (
        f"The model gives NaN or infinity for {number} {noun}{which}, of which no class can be "
        "told: its weights, or its features of them, are not finite."
    )


class Scores(NamedTuple):
    """Scores over a set of utterances; accuracies are fractions in [0, 1].

    Attributes:
        wa: Weighted accuracy: the share of right utterances (`accuracy_score`).
        ua: Unweighted accuracy: mean recall over the classes present (`balanced_accuracy_score`).
        macro_f1: F1 averaged over the classes that are present or predicted (`f1_score`, macro).
        confusion: (C, C) counts; row = true class, column = predicted class.
    """

    wa: float
    ua: float
    macro_f1: float
    n: int
    confusion: NDArray[np.int64]


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
    values = {name: float(measure(counts, name)) for name in METRICS}
    return Scores(**values, n=n, confusion=counts)


def by_speaker(
    count: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]],
    truth: Sequence[Any],
    predicted: Sequence[Any],
    speakers: Sequence[str | None],
) -> dict[str, NDArray[Any]]:
    """Return what `count` makes of each speaker's truths and predictions, by name in sorted order.

    They are of N utterances: class indices (N,), or the values (N, D) of dimensions. Those without
    a speaker (None) are of many people, and nobody's.
    """
    true, told = np.asarray(truth), np.asarray(predicted)
    who = np.asarray(speakers, dtype=object)
    names = sorted({name for name in speakers if name is not None})
    return {name: count(true[who == name], told[who == name]) for name in names}


def measure(confusions: NDArray[Any], metric: str) -> NDArray[np.float64]:
    """Return one metric of each of many confusion matrices: (..., C, C) -> (...).

    The counts may be weighted (floats); a matrix without any utterance gives 0.

    Raises:
        ConfigError: `metric` is not one of `METRICS`.
    """
    if metric not in METRICS:
        raise ConfigError(f"`metric` must be one of {', '.join(METRICS)}, but is `{metric}`.")
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)  # (..., C)
    return METRICS[metric].of(hits, confusions.sum(axis=-1), confusions.sum(axis=-2))


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray[np.int64]:
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


def _ratio(over: NDArray[Any], under: NDArray[Any]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.zeros(np.shape(under))
    np.divide(over, under, out=ratio, where=under > 0)
    return ratio


METRICS: Mapping[str, Metric] = {
    "wa": Metric("WA", "weighted accuracy", lambda hits, truths, _: _ratio(
        hits.sum(axis=-1), truths.sum(axis=-1))),
    "ua": Metric("UA", "unweighted accuracy", lambda hits, truths, _: _ratio(
        _ratio(hits, truths).sum(axis=-1), (truths > 0).sum(axis=-1))),
    "macro_f1": Metric("macro-F1", "macro F1", lambda hits, truths, guesses: _ratio(
        _ratio(2 * hits, truths + guesses).sum(axis=-1), (truths + guesses > 0).sum(axis=-1))),
}  # fmt: skip
"""By the name that result.json has; each is a field of `Scores`, here and in `spknorm.runs`."""
