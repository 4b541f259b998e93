"""The area under a low-resource curve, as the paper has it and normalised."""

import numpy as np
from numpy.typing import ArrayLike

from spknorm.errors import DataError


def paper_auc(num_samples: ArrayLike, accuracy: ArrayLike) -> float:
    """Return the AUC of the paper's table 1: trapezoid area over 50 ... 1000 samples, over 1000.

    A perfect classifier scores 0.95 of its accuracy, not 1; see `normalised_auc`. Points are (P,)
    utterances per label, ascending, and the mean accuracy at each, whose unit the result has.

    Raises:
        DataError: The points do not run from 50 to 1000 in ascending order.
    """
    return _area(num_samples, accuracy) / 1000.0


def normalised_auc(num_samples: ArrayLike, accuracy: ArrayLike) -> float:
    """Return the same area over 950, the width of the curve: a perfect classifier scores 1."""
    return _area(num_samples, accuracy) / 950.0


def _area(num_samples: ArrayLike, accuracy: ArrayLike) -> float:
    x, y = np.asarray(num_samples, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if x.size < 2 or x.shape != y.shape or (x[0], x[-1]) != (50, 1000) or np.any(np.diff(x) <= 0):
        raise DataError(
            "The area under a low-resource curve needs ascending points from 50 to 1000 samples "
            f"per label with an accuracy each, but the points are {x.tolist()}."
        )
    return float(np.trapezoid(y, x))
