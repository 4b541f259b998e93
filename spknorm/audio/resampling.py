"""A change of rate whose result for a part of a file equals that part of the whole file's result.

SciPy's polyphase filter: its impulse response is finite, so a crop with a few milliseconds of
context on either side gives bit for bit the samples that resampling the whole file would. (soxr's,
which librosa uses, agrees only to rounding; and SciPy is a dependency anyway.)
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16000
"""Hz; the rate of every upstream of s3prl."""

_ZERO_CROSSINGS = 32
_KAISER_BETA = 8.0  # stop band at -80 dB
_CUTOFF = 0.93  # of the lower of the two Nyquist frequencies


class InputSpan(NamedTuple):
    """Frames [start, stop) of the input; their result begins `skip` samples too early."""

    start: int
    stop: int
    skip: int


class Resampler:
    """From one rate to 16 kHz; nothing is changed at 16 kHz."""

    def __init__(self, sample_rate: int) -> None:
        """Take the rate of the input in Hz."""
        divisor = math.gcd(sample_rate, SAMPLE_RATE)
        self._up = SAMPLE_RATE // divisor
        self._down = sample_rate // divisor

    @property
    def is_identity(self) -> bool:
        """Whether the input has 16 kHz already."""
        return self._up == self._down

    def length(self, num_samples: int) -> int:
        """Return how many samples `num_samples` of the input become."""
        return -(-num_samples * self._up // self._down)

    def input_span(self, start: int, count: int, num_samples: int) -> InputSpan:
        """Return which of `num_samples` input samples make the output [start, start + count)."""
        up, down = self._up, self._down
        if self.is_identity:
            return InputSpan(start, start + count, 0)
        reach = -(-_ZERO_CROSSINGS * max(up, down) // up) + 1  # input samples
        period = max(0, start // up - (-(-reach // down) + 1))  # `down` in, `up` out
        stop = min(num_samples, -(-(start + count) * down // up) + reach)
        return InputSpan(period * down, stop, start - period * up)

    def __call__(
        self, samples: npt.NDArray[np.float32], *, skip: int, count: int
    ) -> npt.NDArray[np.float32]:
        """Return `count` output samples, the first `skip` left out, (N,) -> (count,)."""
        if self.is_identity:
            return samples[skip : skip + count]
        from scipy.signal import resample_poly

        result = resample_poly(samples, self._up, self._down, window=_filter(self._up, self._down))
        return np.ascontiguousarray(result[skip : skip + count], dtype=np.float32)


@functools.lru_cache(maxsize=16)
def _filter(up: int, down: int) -> npt.NDArray[np.float32]:
    """Return the low pass for this ratio, (2 * zero crossings * max(up, down) + 1,)."""
    from scipy.signal import firwin

    longest = max(up, down)
    taps = firwin(
        2 * _ZERO_CROSSINGS * longest + 1, _CUTOFF / longest, window=("kaiser", _KAISER_BETA)
    )
    return np.asarray(taps, dtype=np.float32)
