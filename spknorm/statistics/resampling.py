"""From replicates of a bootstrap over speakers to intervals and p-values: see `__init__.py`."""

import numpy as np
from numpy.typing import NDArray

_NOTHING = 1e-12
"""Below it a difference is one of rounding."""


def resamples(num_speakers: int, num_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return how often each of G speakers was drawn, (R, G)."""
    even = np.full(num_speakers, 1 / num_speakers)
    drawn = np.random.default_rng(seed).multinomial(num_speakers, even, size=num_resamples)
    return drawn.astype(np.float64)


def standard_error(replicates: NDArray[np.float64], num_speakers: int) -> float:
    """Return the standard error that replicates (R,) tell, freed of the bias of few speakers."""
    return float(replicates.std(ddof=1) * np.sqrt(num_speakers / (num_speakers - 1)))


def around(value: float, reach: float, *, least: float = 0.0) -> tuple[float, float]:
    """Lay a reach off on the logit, where it is reach / (value (1 - value)) long.

    A metric that begins at -1 is moved to 0 ... 1 first; its logit is twice Fisher's z.
    """
    if not least < value < 1:
        return value, value  # every resample is all right or all wrong, too: see `at_the_end`
    length = 1 - least
    share, reach = (value - least) / length, reach / length
    centre, wide = np.log(share / (1 - share)), reach / (share * (1 - share))
    low, high = (float(1 / (1 + np.exp(sign * wide - centre))) for sign in (1, -1))
    return least + length * low, least + length * high


def at_the_end(value: float, num_speakers: int, level: float) -> tuple[float, float]:
    """Return the bounds of a share that is 0 or 1, which resamples cannot tell: they are all alike.

    Exact ones (Clopper and Pearson), each speaker counting as one trial.
    """
    bound = (0.5 - level / 2) ** (1 / num_speakers)
    return (0.0, 1 - bound) if value == 0 else (bound, 1.0)


def quantile(level: float, freedom: int) -> float:
    """Return the quantile of Student's t."""
    from scipy import stats

    return float(stats.t.ppf(level, freedom))


def p_value(difference: float, error: float, freedom: int) -> float:
    """Return the two-sided p of a difference under Student's t.

    Without any error, all speakers differing alike, it is that of flipping their signs: as many
    speakers as there are, the least that can be.
    """
    from scipy import stats

    if abs(error) < _NOTHING:
        return 1.0 if abs(difference) < _NOTHING else 2.0**-freedom
    return float(2 * stats.t.sf(abs(difference) / error, freedom))
