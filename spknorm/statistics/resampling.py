"""From replicates of a bootstrap over speakers to intervals and p-values.

Before `__init__.py` in the flow, which says why it is done so.
"""

import numpy as np
from numpy.typing import NDArray


def standard_error(replicates: NDArray[np.float64], num_speakers: int) -> float:
    """Return the standard error that replicates (R,) tell, freed of the bias of few speakers."""
    return float(replicates.std(ddof=1) * np.sqrt(num_speakers / (num_speakers - 1)))


def around(value: float, reach: float, *, least: float = 0.0) -> tuple[float, float]:
    """Lay a reach off on the logit, where it is reach / (value (1 - value)) long.

    A metric that begins at -1 is moved to 0 ... 1 first; its logit is twice Fisher's z.
    """
    if not least < value < 1:
        return value, value  # every resample is all right or all wrong, too
    length = 1 - least
    share, reach = (value - least) / length, reach / length
    centre, wide = np.log(share / (1 - share)), reach / (share * (1 - share))
    low, high = (float(1 / (1 + np.exp(sign * wide - centre))) for sign in (1, -1))
    return least + length * low, least + length * high


def quantile(level: float, freedom: int) -> float:
    """Return the quantile of Student's t."""
    from scipy import stats

    return float(stats.t.ppf(level, freedom))


def p_value(difference: float, error: float, freedom: int) -> float:
    """Return the two-sided p of a difference under Student's t; of no error 0, or 1 of none."""
    from scipy import stats

    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference) / error, freedom))
