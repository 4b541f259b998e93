"""A source-filter voice: glottal pulses and breath through vowel formants, in numpy.

First in the demo's flow: `population.py` says who speaks and how, this file turns that into sound.

Shapes: L samples at 16 kHz, P glottal pulses.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import sosfilt

SAMPLE_RATE = 16_000
SECONDS = 1.4

FloatArray = npt.NDArray[np.float64]

# F1-F4 in Hz of eight vowels of an adult male voice (i, I, E, ae, a, O, u, V).
_VOWELS = np.array(
    [
        [270, 2290, 3010, 3500],
        [390, 1990, 2550, 3450],
        [530, 1840, 2480, 3450],
        [660, 1720, 2410, 3400],
        [730, 1090, 2440, 3400],
        [570, 840, 2410, 3300],
        [300, 870, 2240, 3300],
        [640, 1190, 2390, 3350],
    ],
    dtype=np.float64,
)
_FIFTH_FORMANT = 4500.0
_BANDWIDTHS = np.array([60.0, 90.0, 130.0, 180.0, 250.0])
_SOURCE_TILT = -6.0  # dB per octave of the pulses themselves, radiation included
_JITTER = 0.01
_SHIMMER = 0.055
_STRESS_DB = 4.0  # sd of the syllables' levels at accent 1
_TAIL = 400  # samples a formant may ring after its syllable
_ONSETS = ("silent", "fricative", "sonorant")


class Voice(NamedTuple):
    """What belongs to the speaker.

    Attributes:
        f0: Mean fundamental frequency in Hz.
        formant_scale: Factor on the first four formants (1.0 is an adult male voice).
        tilt: Spectral tilt in dB per octave, added to the source's own.
        breath: Level of the breath noise relative to the pulses in dB.
    """

    f0: float
    formant_scale: float
    tilt: float
    breath: float


class Prosody(NamedTuple):
    """What belongs to the utterance, relative to the speaker.

    Attributes:
        f0_range: Standard deviation of the syllables' F0 in semitones.
        rate: Syllables per second while speaking.
        contour: Change of F0 over the utterance in semitones.
        accent: Energy dynamics; the syllables' levels vary by 4 dB times this.
        pause: Probability of a pause after a syllable.
    """

    f0_range: float
    rate: float
    contour: float
    accent: float
    pause: float


class _Syllable(NamedTuple):
    start: int
    stop: int
    vowel: int
    onset: str
    gain: float
    semitones: float


def synthesize(voice: Voice, prosody: Prosody, rng: np.random.Generator) -> FloatArray:
    """Return one utterance (L,) of 1.4 s at 16 kHz, in -1..1; equal seeds give equal samples.

    Args:
        voice: The speaker.
        prosody: How this utterance is spoken.
        rng: Source of everything that is neither (words, jitter, noise, level).
    """
    num_samples = round(SECONDS * SAMPLE_RATE)
    syllables = _plan(prosody, rng, num_samples)
    f0 = _pitch(voice, prosody, syllables, num_samples)
    pulses = _pulses(f0, rng)
    breath = rng.standard_normal(num_samples) * 10 ** (voice.breath / 20)
    source = _tilted(pulses + breath, _SOURCE_TILT + voice.tilt)
    hiss = np.diff(rng.standard_normal(num_samples + 1))  # first difference: +6 dB per octave
    speech = np.zeros(num_samples + _TAIL)
    for syllable in syllables:
        _speak(speech, source, hiss, syllable, voice.formant_scale)
    speech = speech[:num_samples]
    speech /= np.sqrt(np.mean(speech**2)) + 1e-12
    snr = rng.uniform(22.0, 30.0)
    noisy = speech + rng.standard_normal(num_samples) * 10 ** (-snr / 20)
    level = 0.05 * 10 ** (3.0 * float(np.clip(rng.standard_normal(), -2.5, 2.5)) / 20)
    samples: FloatArray = np.clip(noisy * level, -0.999, 0.999)
    return samples


def to_pcm16(samples: FloatArray) -> npt.NDArray[np.int16]:
    """Return samples in -1..1 (L,) as 16-bit integers, as a wav file holds them."""
    return np.round(samples * 32767.0).astype(np.int16)


def _plan(prosody: Prosody, rng: np.random.Generator, num_samples: int) -> list[_Syllable]:
    """Lay syllables and pauses out in time until the utterance is full."""
    spans: list[tuple[int, int]] = []
    position = int(rng.uniform(0.0, 0.05) * SAMPLE_RATE)
    while True:
        stretch = float(np.clip(1 + 0.12 * rng.standard_normal(), 0.7, 1.3))
        length = int(stretch * SAMPLE_RATE / max(prosody.rate, 1.5))
        if position + length > num_samples and spans:
            break
        spans.append((position, min(position + length, num_samples)))
        position += length
        if rng.uniform() < prosody.pause:
            position += int(rng.uniform(0.10, 0.20) * SAMPLE_RATE)
    stress = _centred(rng.standard_normal(len(spans)))
    pitch = _centred(rng.standard_normal(len(spans)))
    vowels = rng.integers(len(_VOWELS), size=len(spans))
    onsets = rng.integers(len(_ONSETS), size=len(spans))
    return [
        _Syllable(
            start,
            stop,
            int(vowels[index]),
            _ONSETS[onsets[index]],
            float(10 ** (_STRESS_DB * prosody.accent * stress[index] / 20)),
            float(prosody.f0_range * pitch[index]),
        )
        for index, (start, stop) in enumerate(spans)
    ]


def _centred(values: FloatArray) -> FloatArray:
    centred: FloatArray = np.clip(values - values.mean(), -2.0, 2.0)
    return centred


def _pitch(
    voice: Voice, prosody: Prosody, syllables: list[_Syllable], num_samples: int
) -> FloatArray:
    """Return F0 in Hz per sample (L,): the mean, the contour and a target per syllable."""
    time = np.arange(num_samples)
    centres = [(syllable.start + syllable.stop) / 2 for syllable in syllables]
    targets = [syllable.semitones for syllable in syllables]
    semitones = np.interp(time, centres, targets)
    semitones += prosody.contour * (time / num_samples - 0.5)
    f0: FloatArray = np.clip(voice.f0 * 2 ** (semitones / 12), 50.0, 600.0)
    return f0


def _pulses(f0: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return glottal pulses of unit power (L,), each at a jittered, fractional position."""
    phase = np.cumsum(f0) / SAMPLE_RATE
    count = int(phase[-1])
    at = np.interp(np.arange(1, count + 1), phase, np.arange(len(f0)))  # (P,)
    period = SAMPLE_RATE / f0[at.astype(np.int64)]
    at = np.clip(at + _JITTER * period * rng.standard_normal(count), 0, len(f0) - 2)
    amplitude = np.sqrt(period) * (1 + _SHIMMER * rng.standard_normal(count))
    whole = at.astype(np.int64)
    part = at - whole
    pulses = np.zeros(len(f0))
    pulses += np.bincount(whole, weights=amplitude * (1 - part), minlength=len(f0))
    pulses += np.bincount(whole + 1, weights=amplitude * part, minlength=len(f0))
    return pulses


def _tilted(samples: FloatArray, tilt: float) -> FloatArray:
    """Return (L,) with a slope of `tilt` dB per octave between 100 Hz and 8 kHz, 0 dB at 500 Hz."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequency, 100.0) / 500.0)
    tilted: FloatArray = np.fft.irfft(spectrum * 10 ** (tilt * octaves / 20), len(samples))
    return tilted


def _speak(
    speech: FloatArray, source: FloatArray, hiss: FloatArray, syllable: _Syllable, scale: float
) -> None:
    """Add one syllable to `speech` (L + tail,): its onset, then its vowel."""
    start, stop = syllable.start, syllable.stop
    length = stop - start
    onset = int(0.28 * length)
    envelope = np.zeros(length)
    envelope[onset:] = _bump(length - onset)
    if syllable.onset == "sonorant":
        envelope[:onset] = 0.3 * np.minimum(1.0, np.arange(onset) / max(1, onset // 4))
        envelope[onset:] = np.maximum(envelope[onset:], 0.3)
        envelope[-length // 8 :] *= np.linspace(1.0, 0.0, len(envelope[-length // 8 :]))
    voiced = np.zeros(length + _TAIL)
    voiced[:length] = source[start:stop] * envelope
    formants = np.append(_VOWELS[syllable.vowel] * scale, _FIFTH_FORMANT)
    speech[start : stop + _TAIL] += syllable.gain * sosfilt(_resonators(formants), voiced)
    if syllable.onset == "fricative":
        burst = hiss[start : start + onset] * _bump(onset)
        speech[start : start + onset] += 0.35 * syllable.gain * burst


def _bump(length: int) -> FloatArray:
    """Return an envelope (length,): a rise of a quarter, a fall of a third, flat between."""
    position = np.arange(length) / max(length, 1)
    rise = np.sin(np.pi / 2 * np.minimum(1.0, position / 0.25)) ** 2
    fall = np.sin(np.pi / 2 * np.minimum(1.0, (1 - position) / 0.35)) ** 2
    envelope: FloatArray = rise * fall
    return envelope


def _resonators(formants: FloatArray) -> FloatArray:
    """Return second-order sections (5, 6): a cascade of resonators of unit gain at 0 Hz."""
    radius = np.exp(-np.pi * _BANDWIDTHS / SAMPLE_RATE)
    first = -2 * radius * np.cos(2 * np.pi * formants / SAMPLE_RATE)
    second = radius**2
    sections = np.zeros((len(formants), 6))
    sections[:, 0] = 1 + first + second
    sections[:, 3] = 1.0
    sections[:, 4] = first
    sections[:, 5] = second
    return sections
