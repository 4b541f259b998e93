"""Who speaks in the demo, in what emotion, and how strongly the two are confounded.

Between `synthesis.py`, which it calls, and its users: `trees.py` writes the utterances to disk,
`spknorm.controlled` keeps them in memory.

Speakers differ in exactly four things (`Voice`). Emotions act on five others (`Prosody`), relative
to the speaker and with noise, so that a perfect listener needs no speaker. The confounding `rho`
ties each training speaker to one emotion; test utterances are balanced.
"""

from typing import NamedTuple

import numpy as np

from spknorm.corpora.records import EMOTIONS
from spknorm.demo.synthesis import FloatArray, Prosody, Voice, synthesize

NUM_EMOTION_SPEAKERS = 10
TRAIN_PER_SPEAKER = 48
TEST_PER_SPEAKER = 64
NUM_SPEAKERS = 80
UTTERANCES_PER_SPEAKER = 16
PROBE_PER_SPEAKER = 4

# Means of the five cues per emotion, and the standard deviation of their noise.
PROSODY = {
    "neu": Prosody(f0_range=1.1, rate=4.3, contour=-1.0, accent=1.0, pause=0.25),
    "hap": Prosody(f0_range=2.6, rate=4.7, contour=4.0, accent=1.3, pause=0.12),
    "sad": Prosody(f0_range=0.7, rate=3.5, contour=-3.0, accent=0.6, pause=0.60),
    "ang": Prosody(f0_range=2.1, rate=5.2, contour=-6.5, accent=1.9, pause=0.08),
}
PROSODY_NOISE = Prosody(f0_range=0.45, rate=0.45, contour=1.8, accent=0.25, pause=0.08)
_LOWEST = Prosody(f0_range=0.1, rate=2.5, contour=-12.0, accent=0.1, pause=0.0)
_HIGHEST = Prosody(f0_range=4.0, rate=7.0, contour=12.0, accent=3.0, pause=0.9)
# The speaker corpus speaks uniformly over the same ranges, whoever speaks.
_NEUTRAL_LOW = Prosody(f0_range=0.4, rate=3.0, contour=-8.0, accent=0.4, pause=0.0)
_NEUTRAL_HIGH = Prosody(f0_range=3.0, rate=5.6, contour=6.0, accent=2.1, pause=0.7)

# Streams of random numbers; each use of a seed draws from its own.
_VOICE, _DOMINANT, _DRAW, _EMOTIONAL, _SPEAKER = range(5)
EMOTION_CORPUS, SPEAKER_CORPUS, PRETRAINING = range(3)


class Slot(NamedTuple):
    """One place in the emotion corpus, before `rho` decides what is spoken there.

    Attributes:
        speaker: 0-9; speakers 2 s and 2 s + 1 share session s.
        number: Index among the speaker's utterances of this kind.
        is_test: Balanced (scripted) instead of confounded (improvised).
        free: Emotion drawn uniformly (index into `EMOTIONS`), or the balanced one of a test slot.
        dominant: The speaker's own emotion.
        threshold: Uniform in 0-1; the dominant emotion is spoken where this is below rho.
    """

    speaker: int
    number: int
    is_test: bool
    free: int
    dominant: int
    threshold: float

    def emotion(self, rho: float) -> int:
        """Return the emotion (index into `EMOTIONS`) that is spoken here under confounding rho."""
        return self.dominant if not self.is_test and self.threshold < rho else self.free


def generator_of(*key: int) -> np.random.Generator:
    """Return the generator of a stream; equal keys give equal numbers on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def voice_of(seed: int, role: int, speaker: int) -> Voice:
    """Return a speaker's voice; even speakers are women, odd ones men.

    Args:
        seed: Of the corpus.
        role: EMOTION_CORPUS, SPEAKER_CORPUS or PRETRAINING; their speakers are different people.
        speaker: Index in its corpus.
    """
    rng = generator_of(seed, _VOICE, role, speaker)
    is_female = speaker % 2 == 0
    deviates = np.clip(rng.standard_normal(4), -2.5, 2.5)
    return Voice(
        f0=float((198.0 if is_female else 112.0) * np.exp(0.16 * deviates[0])),
        formant_scale=float((1.12 if is_female else 1.0) * np.exp(0.08 * deviates[1])),
        tilt=float(3.0 * deviates[2]),
        breath=float(-20.0 + 5.0 * deviates[3]),
    )


def emotion_slots(seed: int) -> list[Slot]:
    """Return the 480 training and 640 test slots of the emotion corpus, by speaker.

    Slots are shared by all values of rho, so that corpora of one seed differ in nothing else.
    """
    num = len(EMOTIONS)
    rng = generator_of(seed, _DOMINANT)
    rounds = [rng.permutation(num) for _ in range(-(-NUM_EMOTION_SPEAKERS // num))]
    dominants = np.concatenate(rounds)[:NUM_EMOTION_SPEAKERS]
    slots = []
    for speaker in range(NUM_EMOTION_SPEAKERS):
        rng = generator_of(seed, _DRAW, speaker)
        free = rng.integers(num, size=TRAIN_PER_SPEAKER)
        thresholds = rng.uniform(size=TRAIN_PER_SPEAKER)
        balanced = rng.permutation(np.arange(TEST_PER_SPEAKER) % num)
        dominant = int(dominants[speaker])
        slots += [
            Slot(speaker, number, False, int(free[number]), dominant, float(thresholds[number]))
            for number in range(TRAIN_PER_SPEAKER)
        ]
        slots += [
            Slot(speaker, number, True, int(balanced[number]), dominant, 1.0)
            for number in range(TEST_PER_SPEAKER)
        ]
    return slots


def speak_emotion(seed: int, slot: Slot, emotion: int) -> FloatArray:
    """Return the samples (L,) of `emotion` (index into `EMOTIONS`) spoken in `slot`."""
    rng = generator_of(seed, _EMOTIONAL, slot.speaker, slot.number, int(slot.is_test), emotion)
    mean = np.array(PROSODY[EMOTIONS[emotion]])
    cues = np.clip(mean + np.array(PROSODY_NOISE) * rng.standard_normal(5), _LOWEST, _HIGHEST)
    return synthesize(voice_of(seed, EMOTION_CORPUS, slot.speaker), Prosody(*cues), rng)


def speak_neutral(seed: int, speaker: int, number: int, role: int = SPEAKER_CORPUS) -> FloatArray:
    """Return the samples (L,) of an utterance whose prosody says nothing about its speaker.

    Args:
        seed: Of the corpus.
        speaker: Index in its corpus.
        number: Index of the utterance.
        role: SPEAKER_CORPUS or PRETRAINING.
    """
    rng = generator_of(seed, _SPEAKER, role, speaker, number)
    cues = rng.uniform(_NEUTRAL_LOW, _NEUTRAL_HIGH)
    return synthesize(voice_of(seed, role, speaker), Prosody(*cues), rng)
