"""Hand-made acoustic features: the targets of the demo upstream's pre-training.

Shapes: L samples at 16 kHz, T frames of 20 ms (the stride of HuBERT).
"""

from typing import NamedTuple

import numpy as np
from scipy.fft import dct, irfft, rfft

from spknorm.demo.synthesis import SAMPLE_RATE, FloatArray

HOP = 320
_WINDOW = 640
_NUM_FFT = 1024
_NUM_BANDS = 32
_NUM_MFCC = 20
_LOWEST_F0, _HIGHEST_F0 = 65.0, 420.0
_VOICED = 0.45  # normalised autocorrelation above which a frame counts as voiced


class Frames(NamedTuple):
    """Frame features of one utterance.

    Attributes:
        mfcc: (T, 20).
        log_f0: (T,) natural log of Hz, interpolated over unvoiced frames.
        voicing: (T,) height of the autocorrelation peak, 0-1.
        energy: (T,) dB.
    """

    mfcc: FloatArray
    log_f0: FloatArray
    voicing: FloatArray
    energy: FloatArray


def frame_features(samples: FloatArray) -> Frames:
    """Return MFCC, pitch, voicing and energy of an utterance (L,), a row per 20 ms."""
    num_frames = max(1, 1 + (len(samples) - _WINDOW) // HOP)
    padded = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
    index = HOP * np.arange(num_frames)[:, None] + np.arange(_WINDOW)
    frames = padded[index]  # (T, window)
    frames = frames - frames.mean(1, keepdims=True)
    power = np.abs(rfft(frames * _HANN, _NUM_FFT, axis=1)) ** 2
    energy = 10 * np.log10(power.sum(1) + 1e-10)
    mfcc = dct(np.log(power @ _BANDS + 1e-8), axis=1, norm="ortho")[:, :_NUM_MFCC]
    log_f0, voicing = _pitch(power)
    return Frames(mfcc, log_f0, voicing, energy)


def _pitch(power: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log F0 (T,) and voicing (T,) from power spectra (T, bins) by autocorrelation."""
    correlation = irfft(power, axis=1)[:, : _NUM_FFT // 2] / _HANN_CORRELATION
    correlation /= correlation[:, :1] + 1e-10
    shortest, longest = int(SAMPLE_RATE / _HIGHEST_F0), int(SAMPLE_RATE / _LOWEST_F0)
    # A slight preference for short lags, against octave errors.
    lags = np.arange(shortest, longest)
    search = correlation[:, shortest:longest] - 0.0006 * (lags - shortest)
    best = search.argmax(1)
    rows = np.arange(len(best))
    at = np.clip(best + shortest, 1, correlation.shape[1] - 2)
    before, peak, after = (correlation[rows, at + shift] for shift in (-1, 0, 1))
    curvature = np.minimum(before - 2 * peak + after, -1e-6)
    lag = at + np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)
    voicing = np.clip(peak, 0.0, 1.0)
    log_f0 = np.log(SAMPLE_RATE / lag)
    voiced = voicing > _VOICED
    if voiced.any():
        log_f0 = np.interp(rows, rows[voiced], log_f0[voiced])
    return log_f0, voicing


def _mel_bands() -> FloatArray:
    """Return triangular mel filters (bins, bands)."""
    frequency = np.linspace(0, SAMPLE_RATE / 2, _NUM_FFT // 2 + 1)
    mel = 2595 * np.log10(1 + frequency / 700)
    edges = np.linspace(2595 * np.log10(1 + 60 / 700), mel[-1], _NUM_BANDS + 2)
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    bands: FloatArray = np.maximum(0.0, np.minimum(rising, falling))
    return bands


_HANN = np.hanning(_WINDOW)
_OVERLAP = irfft(np.abs(rfft(_HANN, 2 * _NUM_FFT)) ** 2)[: _NUM_FFT // 2]
_HANN_CORRELATION = np.maximum(_OVERLAP, 1e-3)  # what the window does to an autocorrelation
_BANDS = _mel_bands()
