"""What is known of a corpus before any of its files is seen: its record."""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.corpora.known.layout import DERIVED, Fields, pattern_of
from spknorm.corpora.known.words import EMOTIONS, class_of, in_order

FULL_FROM = 0.8  # of the published number: meant to be all of it


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus by name: a row of the table. What follows `names` is of those whose names say all.

    Attributes:
        reader: The module whose `read` takes an `Ask`.
        variable: Of the environment, where its root may be said; None: it has no tree of its own.
        counts: Published number of utterances by the corpus' own word for an emotion; empty where
            none is published, or there are no emotions.
        num_speakers: In the published corpus; None: not told, or not to be trusted.
        num_utterances: Published, where `counts` does not add up to it.
        language: ISO 639-1, several with commas.
        protocols: By owner, those that somebody publishes (spknorm.protocols).
        scale: From the lowest to the highest value of arousal, valence and dominance.
        takes: Settings besides `root` that have an effect, such as `meta_data`.
        compared: Whether what is read is compared with `counts` by `reading.py`; some readers know
            more and do it themselves.
        damaged: Ids of recordings that cannot serve, and why.
        names: The end of a path without its suffix: fields with their patterns between other
            patterns, `{emotion:[A-Z]}-{take}`; two digits need no pattern. `emotion` and `speaker`
            are fields, or come from `DERIVED`.
        words: The corpus' own words by the code in the name, as `intensities`.
        id: From the fields; None: as `names` has them.
        speaker: From every field that identifies a person.
        sentence: From the fields; None: the field of that name, if there is one.
        sex: `all women`, `all men`, `odd are men`, `even are men` (speakers with such numbers),
            `by letter` (the first of the field `sex`, or of the speaker), or who are the women.
        sex_table: A CSV table in the corpus' folder: its name, the columns of speaker and sex.
        wanted: Values of fields; recordings with others are not of this corpus.
        other_total: A second number of utterances with which it is whole.
        containers: Whether it is handed out as video.
    """

    name: str
    title: str
    reader: str
    variable: str | None = None
    roles: tuple[str, ...] = ("emotion", "speaker")
    counts: Mapping[str, int] = field(default_factory=dict)
    num_speakers: int | None = None
    num_utterances: int | None = None
    language: str = ""
    licence: str = ""
    source: str = ""
    example: str = ""
    protocols: tuple[str, ...] = ()
    scale: tuple[float, float] | None = None
    takes: tuple[str, ...] = ()
    compared: bool = True
    damaged: Mapping[str, str] = field(default_factory=dict)
    names: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    speaker: str = "{speaker}"
    sentence: str | None = None
    sex: str = ""
    sex_table: tuple[str, str, str] | None = None
    intensities: Mapping[str, str] = field(default_factory=dict)
    wanted: Mapping[str, str] = field(default_factory=dict)
    other_total: int | None = None
    containers: bool = False

    def __post_init__(self) -> None:
        """Hold the row against its own example, so that a slip shows when it is written."""
        if not self.names:
            return
        fields = self.fields_of(self.example.rpartition(".")[0])
        assert fields is not None, f"{self.title}: the example does not fit the pattern"
        for name in ("id", "speaker", "sentence"):
            template = getattr(self, name) or ""
            wanted = {one for _, one, _, _ in string.Formatter().parse(template) if one}
            missing = ", ".join(sorted(wanted - fields.keys()))
            assert not missing, f"{self.title}: `{name}` takes {missing}, which no name has"

    def fields_of(self, path: str) -> Fields | None:
        """Return the fields of a path without its suffix; None if it is not of the corpus."""
        if (match := pattern_of(self.names).search(path)) is None:
            return None
        fields = {name: value or "" for name, value in match.groupdict().items()}
        return DERIVED[self.name](fields) if self.name in DERIVED else fields

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of its words in their order."""
        return in_order(map(class_of, self.counts))

    def differences(
        self,
        words: Mapping[str, int],
        *,
        undamaged: Mapping[str, int] | None = None,
        num_speakers: int | None = None,
    ) -> str:
        """Return what differs from the published counts, if this is meant to be the whole corpus.

        Utterances are by the corpus' own word, and those that are not known to be damaged, where
        it may be published with or without these; speakers may not be counted.
        """
        published, total = sum(self.counts.values()), sum(words.values())
        whole = (self.names and self.num_utterances) or published
        if not published or total < FULL_FROM * whole or total == self.other_total:
            return ""
        fine = words if undamaged is None else undamaged
        found = [
            f"{words.get(word, 0)} utterances of `{word}` instead of {count}"
            for word, count in self.counts.items()
            if count not in (words.get(word, 0), fine.get(word, 0))
        ]
        if num_speakers is not None and self.num_speakers not in (None, num_speakers):
            found.append(f"{num_speakers} speakers instead of {self.num_speakers}")
        return "; ".join(found)

    @property
    def labels(self) -> str:
        """Its habit, what `datarc.labels: auto` means: `four` where it has those, else `all`."""
        return "four" if not self.counts or set(EMOTIONS) <= set(self.classes) else "all"


class Ask(NamedTuple):
    """What a reader is asked for: `read(ask)` returns the utterances.

    Attributes:
        corpus: Its row.
        root: Its folder, which is there; the current one if it has no tree of its own.
        role: `emotion` or `speaker`.
        section: The settings of this corpus.
        data: Those of the emotion corpus, whatever the role.
    """

    corpus: Corpus
    root: Path
    role: str
    section: Any
    data: Any

    @property
    def unlabelled(self) -> bool:
        """Whether utterances without a class count: for speakers and for dimensions they do."""
        if self.role == "speaker":
            return bool(self.section.label != "emotion")
        return bool(self.data.targets == "dimensions")
