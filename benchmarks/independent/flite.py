"""Speakers of flite: three of its voices at many pitches and paces, and one as it is.

Beside `voices.py`, whose protocol it follows as far as flite can be told. `int_f0_target_mean`,
`int_f0_target_stddev` and `duration_stretch` are pitch, its range and the rate; flite has no
loudness, so that samples are multiplied. `rms` does not act on pitch and range: it is a single
speaker, whose emotions are rate and loudness alone. `kal` is `kal16` at half the sampling rate, and
`awb_time` can tell the time only.
"""

import functools
import io
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import soundfile

from spknorm.demo.population import generator_of
from spknorm.demo.synthesis import FloatArray
from spknorm.errors import MissingError

_PLACES = 33
_PLACE = 104  # a stream that neither the demo nor voices.py uses
_PACE = 0.75  # flite is slow: at this share of its durations it speaks as fast as espeak-ng does
_LOWEST, _HIGHEST = (0.8, 0.7, 0.85), (1.25, 1.4, 1.15)
"""A speaker's own pitch, range and duration, times its voice's."""


class Voice(NamedTuple):
    """A speaker: one of flite's voices, its mean pitch and deviation in hertz, its durations."""

    name: str
    pitch: float
    range: float
    stretch: float


_VOICES = (
    Voice("kal16", 95.0, 11.0, 1.1),
    Voice("awb", 125.0, 12.0, 1.0),
    Voice("slt", 165.0, 14.0, 1.0),
)
_AS_IT_IS = Voice("rms", 100.0, 20.0, 1.0)


@functools.cache
def speakers() -> tuple[Voice, ...]:
    """Return flite's hundred speakers.

    Raises:
        MissingError: There is no flite.
    """
    if shutil.which("flite") is None:
        raise MissingError("There is no flite: install Debian's package of that name.")
    found = [_AS_IT_IS]
    for number, voice in enumerate(_VOICES):
        rng = generator_of(_PLACE, number)
        own = np.exp(rng.uniform(np.log(_LOWEST), np.log(_HIGHEST), size=(_PLACES, 3)))
        found += [
            Voice(voice.name, voice.pitch * p, voice.range * r, voice.stretch * s)
            for p, r, s in own.tolist()
        ]
    return tuple(found)


def speak(voice: Voice, cues: tuple[float, float, float, float], text: str) -> FloatArray:
    """Return a text (L,) at 16 kHz; cues are `voices.Cues`."""
    pitch, width, rate, loudness = cues
    settings = {
        "int_f0_target_mean": voice.pitch * (1 + pitch / 100),
        "int_f0_target_stddev": voice.range * (1 + width / 100),
        "duration_stretch": _PACE * voice.stretch / (1 + rate / 100),
    }
    told = [part for name, value in settings.items() for part in ("--setf", f"{name}={value:.4f}")]
    command = ["flite", "-voice", voice.name, *told, "-t", text, "-o", "/dev/stdout"]
    spoken = subprocess.run(command, capture_output=True, check=True)
    samples, _ = soundfile.read(io.BytesIO(spoken.stdout))
    found: FloatArray = samples * 10 ** (loudness / 20)
    return found
