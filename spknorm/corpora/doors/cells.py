"""What other tools call things, and an utterance made of named cells. Before the doors."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spknorm.corpora.known.words import class_of, sex_of
from spknorm.corpora.paths import PathGuard
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import is_absent, number

_NAMES = {
    **dict.fromkeys(("gender", "sex"), "sex"),
    **dict.fromkeys(("speaker", "speaker_id", "spk", "spkr", "speakerid", "talker"), "speaker"),
    **dict.fromkeys(("emotion", "emo", "label", "class_label"), "emotion"),
    **dict.fromkeys(("sentence", "text", "transcription", "transcript", "wrd"), "sentence"),
    **dict.fromkeys(("arousal", "activation"), "arousal"),
    **{
        name: name
        for name in ("valence", "dominance", "language", "intensity", "split", "start", "end")
    },
    **dict.fromkeys(("start_time", "begin"), "start"),
    **dict.fromkeys(("end_time",), "end"),
}
"""Our name by another's; what is not here is a further column."""
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_NOBODY = ("none", "null", "unknown")


class Place(NamedTuple):
    """Where a list lies, what its paths are relative to, and what keeps them in there."""

    path: Path
    root: Path
    guard: PathGuard


def split_of(name: str) -> str | None:
    """Return train, dev or test for what another tool calls a part, None if it is none of them."""
    return _SPLITS.get(name.lower())


def utterance(name: str, path: Path, cells: Mapping[str, str]) -> Utterance:
    """Return an utterance of cells by another tool's names; an `unknown` speaker is nobody.

    Raises:
        ValueError: A cell with a number holds none.
    """
    known: dict[str, str] = {}
    further: dict[str, str] = {}
    for column, cell in cells.items():
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
    numbers = {
        column: number(known[column], column) if column in known else None
        for column in ("arousal", "valence", "dominance", "start", "end")
    }
    part = known.get("split")
    return Utterance(
        id=name,
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
        arousal=numbers["arousal"],
        valence=numbers["valence"],
        dominance=numbers["dominance"],
        start=numbers["start"],
        end=numbers["end"],
    )
