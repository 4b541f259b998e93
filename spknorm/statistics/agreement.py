"""How well predicted dimensions agree with the raters': the concordance correlation, from sums.

Beside `metrics.py`, which does the same for classes. The six sums of some utterances add up over
processes, runs and speakers, so that a result file needs no more than them.

Legend: N utterances, D dimensions.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spknorm.errors import DataError, NonFiniteError
from spknorm.statistics.metrics import nonfinite_message

CCC = "ccc"
"""The metric's name, beside those of `metrics.METRICS`."""
NUM_SUMS = 6
"""Of n, truth, prediction, truth squared, prediction squared, and their product."""


class Agreement(NamedTuple):
    """How predictions of n utterances agree with the truth.

    Attributes:
        ccc: (D,) concordance correlations, -1 to 1, with their `mean`, of the sums (D, 6).
    """

    ccc: tuple[float, ...]
    mean: float
    n: int
    sums: NDArray[np.float64]


def sums_of(truth: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    """Return the six sums (D, 6) of (N, D) true and predicted values.

    Raises:
        DataError: The two differ in their shapes.
        NonFiniteError: A prediction is NaN or infinity.
    """
    x, y = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (truth, predicted))
    if x.shape != y.shape:
        raise DataError(f"There are {x.shape} true values but {y.shape} predictions.")
    if bad := int((~np.isfinite(y)).any(axis=1).sum()):
        raise NonFiniteError(nonfinite_message(bad))
    columns = (np.ones_like(x), x, y, x * x, y * y, x * y)
    return np.stack([one.sum(axis=0) for one in columns], axis=1)


def concordance(sums: NDArray[Any]) -> NDArray[np.float64]:
    """Return the concordance correlation of each of many sums: (..., 6) -> (...).

    2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2), over n, not n - 1 (Lin, 1989); 0 where
    nothing varies.
    """
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    count = np.maximum(n, 1.0)
    mean_x, mean_y = x / count, y / count
    spread = (xx + yy) / count - mean_x**2 - mean_y**2 + (mean_x - mean_y) ** 2
    together = 2 * (xy / count - mean_x * mean_y)
    found: NDArray[np.float64] = np.zeros(np.shape(spread))
    np.divide(together, spread, out=found, where=spread > 1e-12)
    return np.clip(found, -1.0, 1.0)


def agreement_of(sums: NDArray[np.float64]) -> Agreement:
    """Return the agreement that sums (D, 6) tell of.

    Raises:
        DataError: They are of no utterance.
    """
    n = round(float(sums[0, 0])) if sums.size else 0
    if n == 0:
        raise DataError("There is no utterance to score.")
    ccc = tuple(float(one) for one in concordance(sums))
    return Agreement(ccc, float(np.mean(ccc)), n, sums)
