"""CN-Celeb 1 and 2 -> utterances: CN-Celeb_flac/data/id00000/singing-01-001.flac.

The genre and the recording are in the name: one recording's pieces should stand on one side of a
probe. eval/ holds copies under other names and is not read.
"""

import re
from dataclasses import replace
from pathlib import Path

from spknorm.corpora.gathering import recordings
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import find, text_of

_PERSON = re.compile(r"id\d{5}", re.ASCII)
_NAME = re.compile(r"([a-z_]+)-(\d+)-(\d+)", re.ASCII)


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances in the order of their names, with speaker, genre and recording.

    People that dev/dev.lst does not name are those of the evaluation and are test speakers.

    Raises:
        MissingError: There is none.
        DataError: An utterance has two files that differ.
    """
    root = ask.root

    def key(file: Path) -> str | None:
        *_, above, speaker, _ = file.parts
        fits = above == "data" and _PERSON.fullmatch(speaker) and _NAME.fullmatch(file.stem)
        return f"{speaker}/{file.stem}" if fits else None

    expected = f"{root} is not CN-Celeb: expected data/id00000/singing-01-001.flac in it."
    chosen = recordings(root, None, corpus="CN-Celeb", key=key, missing=expected)
    listed = {name for file in find(root, r"dev\.lst") for name in text_of(file).split()}
    records = []
    for name, path in chosen.items():
        speaker, _, stem = name.partition("/")
        genre, recording, _ = stem.rsplit("-", 2)
        held = bool(listed) and "CN-Celeb2" not in str(path) and speaker not in listed
        labels = {"genre": genre, "recording": f"{speaker}-{genre}-{recording}"}
        own = Utterance(id=name, path=path, speaker=speaker, language="zh", labels=labels)
        records.append(replace(own, split="test" if held else "train"))
    return records
