"""One utterance of a corpus, as every reader returns it and every protocol takes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

EMOTIONS = ("neu", "hap", "ang", "sad")
"""The four classes in the order of s3prl's IEMOCAP labels (downstream/emotion)."""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording and what is known of it; a corpus that serves one role leaves the others None.

    Attributes:
        id: Unique in its corpus; the file stem in IEMOCAP.
        path: Absolute path of the audio file.
        emotion: One of `EMOTIONS`.
        speaker: Who speaks (not who wears the motion-capture markers).
        session: `Session1` ... `Session5` in IEMOCAP.
        turn: `improvised` or `scripted`.
        split: `train`, `dev` or `test` where the corpus itself says so (VoxCeleb1).
        labels: Any further column of a manifest (gender, channel, ...).
    """

    id: str
    path: Path
    emotion: str | None = None
    speaker: str | None = None
    session: str | None = None
    turn: str | None = None
    split: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    def label(self, column: str) -> str | None:
        """Return what is known in `column`, such as `speaker` or a further one of a manifest."""
        if column in ("emotion", "speaker", "session", "turn", "split"):
            value: str | None = getattr(self, column)
            return value
        return self.labels.get(column)
