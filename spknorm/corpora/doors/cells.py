"""What other tools call things, and an utterance made of a row of their lists. Before the doors."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.corpora.known.words import class_of, sex_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import is_absent, number

_NAMES = {
    **dict.fromkeys(("gender", "sex"), "sex"),
    **dict.fromkeys(("speaker", "speaker_id", "spk", "spkr", "speakerid", "talker"), "speaker"),
    **dict.fromkeys(("emotion", "emo", "label", "class_label"), "emotion"),
    **dict.fromkeys(("sentence", "text", "transcription", "transcript", "wrd"), "sentence"),
    **{name: name for name in ("valence", "dominance", "language", "intensity", "split")},
    **dict.fromkeys(("arousal", "activation"), "arousal"),
    **dict.fromkeys(("start", "start_time", "begin"), "start"),
    **dict.fromkeys(("end", "end_time"), "end"),
}
"""Our name by another's; what is not here is a further column."""
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_NOBODY = ("none", "null", "unknown")


class Listed(NamedTuple):
    """A row of a list, of the utterance `name`, its cells by another tool's names.

    Attributes:
        path: As it is written; a Path is known to be right.
        channel: Which one is heard; None: the mean of all.
    """

    where: str
    name: str
    path: str | Path
    cells: Mapping[str, str]
    channel: str | None = None


Rows = Iterator[Listed | str]
"""What a door yields: rows, and texts that say what is wrong with others."""


def split_of(name: str) -> str | None:
    """Return train, dev or test for what another tool calls a part, None if it is none of them."""
    return _SPLITS.get(name.lower())


def utterance(row: Listed, path: Path) -> Utterance:
    """Return the utterance of a row, whose file is `path`; an `unknown` speaker is nobody.

    Raises:
        ValueError: A cell with a number holds none.
    """
    known: dict[str, str] = {}
    further: dict[str, str] = {}
    for column, cell in row.cells.items():
        value = cell.strip()
        if is_absent(value):
            continue
        ours = _NAMES.get(column.lower())
        if ours is None or ours in known:
            further[column] = value
        else:
            known[ours] = value
    word = known.get("emotion")
    speaker = known.get("speaker")
    if "sex" in known:
        further["sex"] = sex_of(known["sex"]) or known["sex"].lower()
    numbers: dict[str, Any] = {
        column: number(known[column], column) if column in known else None
        for column in ("arousal", "valence", "dominance", "start", "end")
    }
    part = known.get("split")
    return Utterance(
        id=row.name,
        path=path,
        emotion=None if word is None else class_of(word.lower()),
        original=None if word is None else word.lower(),
        speaker=None if speaker is None or speaker.lower() in _NOBODY else speaker,
        split=None if part is None else split_of(part),
        part=part,
        sentence=known.get("sentence"),
        language=known.get("language"),
        intensity=known.get("intensity"),
        labels=further,
        channel=row.channel,
        **numbers,
    )
