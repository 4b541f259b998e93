"""How unequally speakers are served: the worst, the worst few, and the spread."""

from collections.abc import Sequence

import numpy as np

from spknorm.errors import DataError


def worst(values: Sequence[float], *, count: int = 1) -> float:
    """Return the mean of the `count` lowest of the speakers' accuracies (S,).

    Raises:
        DataError: There are fewer speakers.
    """
    if not 1 <= count <= len(values):
        raise DataError(f"The worst {count} of {len(values)} speakers cannot be named.")
    return float(np.sort(np.asarray(values, dtype=np.float64))[:count].mean())


def gini(values: Sequence[float]) -> float:
    """Return Gini's coefficient of the speakers' accuracies (S,): 0 if all are alike.

    Half the mean absolute difference between two speakers, over the mean; 0 where all are 0.

    Raises:
        DataError: There is no speaker.
    """
    if not len(values):
        raise DataError("There is no speaker to compare.")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    total = float(ordered.sum())
    if total == 0:
        return 0.0
    size = len(ordered)
    places = 2 * np.arange(1, size + 1) - size - 1
    return float((places * ordered).sum() / (size * total))
