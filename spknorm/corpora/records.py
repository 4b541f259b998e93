"""One utterance of a corpus, as every reader returns it and every protocol takes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spknorm.audio.excerpt import Excerpt
from spknorm.corpora.known.words import EMOTIONS

__all__ = ["EMOTIONS", "FIELDS", "Utterance"]


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording and what is known of it; a corpus that serves one role leaves the others None.

    Attributes:
        id: Unique in its corpus; the file stem in IEMOCAP.
        path: Absolute path of the audio file.
        emotion: Its class: one of `EMOTIONS`, or another of the corpus' own.
        speaker: Who speaks (not who wears the motion-capture markers); in emotion corpora the
            corpus and every field that identifies a person. None: not known, in which case it is
            drawn for no speaker head.
        turn: `improvised` or `scripted`.
        split: `train`, `dev` or `test` where the corpus itself says so (VoxCeleb1).
        part: The same as the corpus itself calls it (`Test2`, `Development`).
        original: The corpus' own word for the emotion, where it is not the class.
        votes: Raters' votes over the corpus' own words, as (word, weight) by falling weight, which
            need not add up to one; empty where they are not known.
        arousal: On the scale that the corpus' record states, as are the next two.
        language: ISO 639-1.
        sentence: What is said, by a name that holds in its corpus.
        start: Second at which the utterance begins in its file; None: at the beginning.
        end: Second at which it ends; None: at the file's end.
        channel: Which channel is heard: `1`, `2`, ..., or `centre` (of surround sound; the mean of
            mono and stereo); None: the mean of all.
        labels: Any further column of a manifest (gender, device, ...).
    """

    id: str
    path: Path
    emotion: str | None = None
    speaker: str | None = None
    session: str | None = None
    turn: str | None = None
    split: str | None = None
    part: str | None = None
    original: str | None = None
    votes: tuple[tuple[str, float], ...] = ()
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None
    intensity: str | None = None
    language: str | None = None
    sentence: str | None = None
    start: float | None = None
    end: float | None = None
    channel: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def audio(self) -> Excerpt:
        """What is heard: the file, or the part and channel of it that the utterance is."""
        return Excerpt(self.path, self.channel, self.start, self.end)

    def label(self, column: str) -> str | None:
        """Return what is known in `column`, as text: a field, or a further column of a manifest.

        Votes read `happy=2;neutral=1`; numbers are written so that they can be read back.
        """
        if column in self.labels or column not in FIELDS:  # a manifest may mean another `channel`
            return self.labels.get(column)
        value = getattr(self, column)
        if column == "votes":
            return ";".join(f"{word}={weight:.12g}" for word, weight in value) or None
        return value if value is None or isinstance(value, str) else repr(value)


FIELDS = tuple(
    name for name in Utterance.__dataclass_fields__ if name not in ("id", "path", "labels")
)
"""What `Utterance.label` knows besides the further columns of a manifest."""
