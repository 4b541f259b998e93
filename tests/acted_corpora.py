"""Acted corpora to be divided."""

import itertools
from pathlib import Path

from spknorm.corpora.records import EMOTIONS, Utterance


def utterance(name, speaker, emotion="neu", **known):
    return Utterance(
        id=name, path=Path(f"/corpus/{name}.wav"), emotion=emotion, speaker=speaker, **known
    )


def acted(speakers=8, sentences=6, emotions=EMOTIONS, sessions=5):
    """Everybody says every sentence in every emotion, as acted corpora have it."""
    return [
        utterance(
            f"{speaker:02d}-{sentence}-{emotion}",
            f"c_{speaker:02d}",
            emotion,
            sentence=f"text{sentence}",
            session=f"Session{speaker % sessions + 1}",
        )
        for speaker, sentence, emotion in itertools.product(
            range(speakers), range(sentences), emotions
        )
    ]


def values(part, column):
    return {one.label(column) for one in part}
