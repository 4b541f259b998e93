"""Emotional prosody spoken by espeak-ng's voice variants, or by flite's voices: the speakers.

The slots, their emotions and their confounding are the demo's (`spknorm.demo.population`); who
speaks, how and what is an engine's. Of espeak-ng pitch, its range and the rate are SSML's
`prosody`, loudness is `-a`; espeak-ng 1.51 does not act on SSML's `contour`. flite's are in
`flite.py`. Texts are shared by all emotions.
"""

import functools
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import resample_poly

from independent import flite
from spknorm.controlled.pool import utterances_of
from spknorm.corpora.records import EMOTIONS
from spknorm.demo.population import (
    NUM_EMOTION_SPEAKERS,
    NUM_SPEAKERS,
    UTTERANCES_PER_SPEAKER,
    Slot,
    generator_of,
)
from spknorm.demo.synthesis import FloatArray
from spknorm.errors import MissingError

TEXTS = (
    "The box is on the table.",
    "She left it by the door.",
    "We will meet at seven.",
    "They went over the bridge.",
    "It is the third on the left.",
    "He gave her the blue one.",
    "The train comes at noon.",
    "I put the book away.",
)


class Cues(NamedTuple):
    """What an emotion changes, relative to the voice: per cent, and decibels of loudness."""

    pitch: float
    range: float
    rate: float
    loudness: float


MEANS = {
    "neu": Cues(0.0, 0.0, 0.0, 0.0),
    "hap": Cues(8.0, 60.0, 8.0, 1.0),
    "sad": Cues(-6.0, -50.0, -18.0, -3.0),
    "ang": Cues(3.0, 40.0, 20.0, 4.0),
}
NOISE = Cues(6.0, 25.0, 9.0, 2.0)
_LOWEST, _HIGHEST = Cues(-40.0, -90.0, -45.0, -12.0), Cues(60.0, 200.0, 80.0, 8.0)
# The speaker corpus speaks uniformly over what the emotions cover, whoever speaks.
_NEUTRAL_LOW, _NEUTRAL_HIGH = Cues(-12.0, -75.0, -27.0, -5.0), Cues(14.0, 85.0, 29.0, 6.0)
_AMPLITUDE, _WORDS_PER_MINUTE, _ESPEAK_RATE, _RATE = 40, 200, 22_050, 16_000
_CAST, _EMOTIONAL, _SPEAKER = range(101, 104)  # streams that the demo does not use


@functools.cache
def variants() -> tuple[str, ...]:
    """Return the names of espeak-ng's voice variants, of those that sound alike the first.

    Raises:
        MissingError: There is no espeak-ng, or it has too few.
    """
    if shutil.which("espeak-ng") is None:
        raise MissingError("There is no espeak-ng: install Debian's package of that name.")
    listed = subprocess.run(
        ["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True
    ).stdout
    files = (line.partition("!v/")[2].split("  ")[0] for line in listed.splitlines())
    found = _distinct(sorted({name for name in files if name}))
    wanted = NUM_EMOTION_SPEAKERS + NUM_SPEAKERS
    if len(found) < wanted:
        raise MissingError(f"espeak-ng has {len(found)} voice variants, but {wanted} are needed.")
    return found


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    sounds = {name: speak(name, MEANS["neu"], TEXTS[0]).tobytes() for name in reversed(names)}
    return tuple(sorted({sound: name for name, sound in sounds.items()}.values()))


def speak(variant: str, cues: Cues, text: str) -> FloatArray:
    """Return a text (L,) at 16 kHz as a variant of espeak-ng's American voice says it."""
    prosody = (
        f'<prosody pitch="{cues.pitch:+.1f}%" range="{cues.range:+.1f}%" '
        f'rate="{100 + cues.rate:.1f}%">{text}</prosody>'
    )
    amplitude = round(_AMPLITUDE * 10 ** (cues.loudness / 20))
    voice = ["-v", f"en-us+{variant}", "-a", f"{amplitude}", "-s", f"{_WORDS_PER_MINUTE}"]
    command = ["espeak-ng", *voice, "-m", "--stdout"]
    spoken = subprocess.run(command, input=prosody.encode(), capture_output=True, check=True)
    # Of a RIFF file that is written to a pipe the header is as long as ever, its sizes are not.
    samples = np.frombuffer(spoken.stdout[44:], dtype="<i2") / 32768.0
    found: FloatArray = resample_poly(samples, _RATE, _ESPEAK_RATE)
    return found


class Engine(NamedTuple):
    """What speaks: its speakers, and how one of them says a text."""

    name: str
    speakers: Callable[[], Sequence[Any]]
    speak: Callable[[Any, Cues, str], FloatArray]

    def cast_of(self, seed: int) -> list[int]:
        """Return a corpus' speakers by place: its 10 emotional ones, then the 80 others."""
        order = generator_of(seed, _CAST).permutation(len(self.speakers()))
        return [int(place) for place in order[: NUM_EMOTION_SPEAKERS + NUM_SPEAKERS]]

    def emotional_waves(
        self, seed: int, prosody: float, rows: Iterable[int]
    ) -> Iterator[FloatArray]:
        """Yield samples (L,) at 16 kHz of rows of `pool.utterances_of(seed)`.

        Args:
            seed: Of the corpus.
            prosody: Times `MEANS`; the noise stays.
            rows: Which of them.
        """
        for row in rows:
            yield self._emotional(seed, *utterances_of(seed)[row], prosody)

    def neutral_waves(self, place: int) -> Iterator[FloatArray]:
        """Yield samples (L,) at 16 kHz of what a speaker, by place, says in a speaker corpus."""
        for number in range(UTTERANCES_PER_SPEAKER):
            rng = generator_of(_SPEAKER, place, number)
            cues = Cues(*rng.uniform(_NEUTRAL_LOW, _NEUTRAL_HIGH))
            yield self.speak(self.speakers()[place], cues, TEXTS[int(rng.integers(len(TEXTS)))])

    def _emotional(self, seed: int, slot: Slot, emotion: int, prosody: float) -> FloatArray:
        rng = generator_of(seed, _EMOTIONAL, slot.speaker, slot.number, int(slot.is_test), emotion)
        means = prosody * np.array(MEANS[EMOTIONS[emotion]])
        drawn = np.clip(means + np.array(NOISE) * rng.standard_normal(4), _LOWEST, _HIGHEST)
        text = TEXTS[int(rng.integers(len(TEXTS)))]
        return self.speak(self.speakers()[self.cast_of(seed)[slot.speaker]], Cues(*drawn), text)


ENGINES = {
    "espeak-ng": Engine("espeak-ng", variants, speak),
    "flite": Engine("flite", flite.speakers, flite.speak),
}
