"""Recordings that are the same to the ear though not byte by byte: encoded anew, louder, resampled.

Beside leaks.py. A fingerprint is the mel envelope of what holds nearly all the energy, on a grid
of fixed size, so that neither gain, rate nor silence around it counts.
"""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spknorm.audio import SAMPLE_RATE, Sound, load_audio

Floats = npt.NDArray[np.float32]

ALIKE = 0.95
"""Cosine of two fingerprints from which they are one recording; see docs/splits.md."""
_SAME_LENGTH = 0.03  # share by which durations may differ
_FRAME, _HOP = 512, 256  # samples
_NUM_BANDS, _NUM_TIMES = 24, 96
_HIGHEST = 3800.0  # Hz: what 8 kHz telephone copies keep, too
_INSIDE = (0.005, 0.995)  # shares of the energy between which it is taken: what is steady
_FLOOR = 1e-5  # of the loudest band: below that every encoder does as it likes
_BLOCK = 512


def fingerprint(sound: Sound) -> tuple[float, Floats]:
    """Return the seconds that hold nearly all the energy, and the envelope there.

    It is a vector (bands * times,) of mean 0 in each band and length 1.

    Raises:
        AudioError: It cannot be decoded.
    """
    samples = load_audio(sound)
    padded = np.pad(samples, (0, max(0, _FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)) ** 2  # (T, F)
    bands = power @ _filters().T  # (T, B)
    energy = np.cumsum(bands.sum(axis=1))
    if energy[-1] <= 0:  # silence, which is like no other
        return 0.0, np.zeros(_NUM_BANDS * _NUM_TIMES, np.float32)
    first, last = np.interp(_INSIDE, energy / energy[-1], np.arange(len(energy)))
    logs = np.log(np.maximum(bands, bands.max() * _FLOOR))
    at = np.linspace(first, last, _NUM_TIMES)
    grid = np.stack([np.interp(at, np.arange(len(logs)), band) for band in logs.T])  # (B, times)
    grid -= grid.mean(axis=1, keepdims=True)
    flat = grid.ravel()
    length = float(np.linalg.norm(flat))
    vector = (flat / length if length > 0 else flat).astype(np.float32)
    return float(last - first) * _HOP / SAMPLE_RATE, vector


def groups_of(prints: Sequence[tuple[float, Floats] | None]) -> list[int | None]:
    """Return a number per recording, the same for those that are alike; None where no print is."""
    from scipy.sparse import csr_array, vstack
    from scipy.sparse.csgraph import connected_components

    known = [one for one in prints if one is not None]
    if not known:
        return [None] * len(prints)
    seconds = np.array([one[0] for one in known])
    vectors = np.stack([one[1] for one in known])
    blocks = []
    for start in range(0, len(known), _BLOCK):
        block = slice(start, start + _BLOCK)
        alike = vectors[block] @ vectors.T >= ALIKE
        longer = np.maximum(seconds[block, None], seconds[None])
        alike &= np.abs(seconds[block, None] - seconds[None]) <= _SAME_LENGTH * longer + 0.04
        blocks.append(csr_array(alike))
    groups = iter(connected_components(vstack(blocks))[1].tolist())
    return [None if one is None else next(groups) for one in prints]


@functools.cache
def _filters() -> Floats:
    from librosa.filters import mel

    filters: Floats = mel(sr=SAMPLE_RATE, n_fft=_FRAME, n_mels=_NUM_BANDS, fmin=80, fmax=_HIGHEST)
    return filters
