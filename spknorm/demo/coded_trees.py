"""Small trees of emotion corpora with coded file names, with the demo's voices.

Beside trees.py, after coded_names.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from spknorm.demo.coded_names import Name, names_of
from spknorm.demo.population import EMOTION_CORPUS, PROSODY, PROSODY_NOISE, generator_of, voice_of
from spknorm.demo.synthesis import SAMPLE_RATE, FloatArray, Prosody, synthesize

_STREAM = 9  # of random numbers; those below are population.py's
_OTHERS = {
    "fea": Prosody(f0_range=1.8, rate=5.4, contour=2.5, accent=0.7, pause=0.30),
    "dis": Prosody(f0_range=0.9, rate=3.8, contour=-5.0, accent=1.5, pause=0.35),
    "sur": Prosody(f0_range=3.2, rate=4.5, contour=8.0, accent=1.2, pause=0.10),
}
_CALM = Prosody(f0_range=0.6, rate=3.7, contour=-0.5, accent=0.6, pause=0.35)
_RATES = {"tess": 24414, "savee": 44100, "ravdess": 48000, "ravdess_song": 48000, "cafe": 48000,
          "emovo": 48000, "enterface": 48000, "aesdd": 44100, "jl": 44100, "subesco": 48000,
          "shemo": 44100}  # fmt: skip


def write_coded(
    root: Path,
    corpus: str,
    *,
    seed: int = 0,
    num_speakers: int = 6,
    per_emotion: int = 2,
    spoken: Callable[[], None] = lambda: None,
) -> list[Name]:
    """Write a small tree of a corpus with synthetic voices; return what was written.

    Args:
        root: Folder to hold it.
        corpus: Of `CODED`.
        seed: Of voices, words and noise.
        num_speakers: At most so many, evenly over the corpus' list of speakers.
        per_emotion: Utterances of each speaker and emotion.
        spoken: Called after each utterance.
    """
    import soundfile

    chosen = choose(names_of(corpus), num_speakers=num_speakers, per_emotion=per_emotion)
    speakers = {name: place for place, name in enumerate(dict.fromkeys(n.speaker for n in chosen))}
    rate = _RATES.get(corpus, SAMPLE_RATE)
    for number, name in enumerate(chosen):
        voice = 2 * speakers[name.speaker] + (not name.is_female)
        samples = _at(rate, _speak(seed, voice, number, name.emotion))
        path = root / name.path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, subtype="DOUBLE" if corpus == "emov_db" else "PCM_16")
        spoken()
    return chosen


def choose(names: Sequence[Name], *, num_speakers: int, per_emotion: int) -> list[Name]:
    """Return the first utterances per emotion of speakers from all over the list."""
    speakers = list(dict.fromkeys(name.speaker for name in names))
    count = min(num_speakers, len(speakers))
    kept = {speakers[place * len(speakers) // count] for place in range(count)}
    taken: dict[tuple[str, str], int] = {}
    chosen = []
    for name in names:
        key = (name.speaker, name.emotion)
        if name.speaker in kept and taken.get(key, 0) < per_emotion:
            taken[key] = taken.get(key, 0) + 1
            chosen.append(name)
    return chosen


def _speak(seed: int, voice: int, number: int, emotion: str) -> FloatArray:
    rng = generator_of(seed, _STREAM, voice, number)
    mean = np.array(PROSODY.get(emotion) or _OTHERS.get(emotion, _CALM))
    cues = np.maximum(
        mean + np.array(PROSODY_NOISE) * rng.standard_normal(5), [0.1, 2, -12, 0.1, 0]
    )
    return synthesize(voice_of(seed, EMOTION_CORPUS, voice), Prosody(*cues.tolist()), rng)


def _at(rate: int, samples: FloatArray) -> FloatArray:
    """Return samples (L,) at another rate; the fixed length of an utterance makes it exact."""
    if rate == SAMPLE_RATE:
        return samples
    from scipy.signal import resample

    resampled: FloatArray = resample(samples, round(len(samples) * rate / SAMPLE_RATE))
    return np.clip(resampled, -0.999, 0.999)
