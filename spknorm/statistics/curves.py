"""The area under a low-resource curve, as the paper has it and normalised.

Points are (P,) utterances per label, ascending, and the mean accuracy at each, whose unit the
results have.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def paper_auc(num_samples: Sequence[int], accuracy: ArrayLike) -> float | None:
    """Return the AUC of the paper's table 1: trapezoid area over 50 ... 1000 samples, over 1000.

    A perfect classifier scores 0.95 of its accuracy, not 1; see `normalised_auc`. None where the
    points do not run from 50 to 1000.
    """
    spans = (*num_samples[:1], *num_samples[-1:]) == (50, 1000)
    return _area(num_samples, accuracy) / 1000 if spans else None


def normalised_auc(num_samples: Sequence[int], accuracy: ArrayLike) -> float | None:
    """Return the area over the curve's width: a perfect classifier scores 1; None of one point."""
    if len(num_samples) < 2:
        return None
    return _area(num_samples, accuracy) / (num_samples[-1] - num_samples[0])


def _area(num_samples: Sequence[int], accuracy: ArrayLike) -> float:
    return float(np.trapezoid(np.asarray(accuracy, dtype=np.float64), num_samples))
