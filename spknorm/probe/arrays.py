"""Array types and the two array functions that the probes share."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

_ROWS_AT_ONCE = 4096


def unit_length(features: Floats) -> Floats:
    """Return the rows of (N, H) scaled to length 1; a row of zeros stays."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit: Floats = features / np.maximum(norms, 1e-12)
    return unit


def in_blocks(function: Callable[[Floats], Integers], features: Floats) -> Integers:
    """Return `function` of (N, H), called on blocks of rows so that memory stays bounded."""
    blocks = [
        function(features[start : start + _ROWS_AT_ONCE])
        for start in range(0, len(features), _ROWS_AT_ONCE)
    ]
    return np.concatenate(blocks)
