"""VoxCeleb2 -> utterances: {dev,test}/aac/id00012/<video>/00001.m4a, or copies in wav or flac."""

import re
from pathlib import Path

from spknorm.audio import printable
from spknorm.corpora.gathering import present, recordings
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import sex_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import find, lines_of

_PERSON = re.compile(r"id\d{5}", re.ASCII)


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances in the order of their names, with speaker and video.

    Where m4a and a copy in wav or flac lie side by side, the copy is read. The people of `test` are
    others than those of `dev`; all have names that VoxCeleb1's do not.

    Raises:
        MissingError: Nothing lies there as idXXXXX/<video>/<n>.
        DataError: An utterance has two files that differ.
    """
    root = ask.root

    def key(file: Path) -> str | None:
        speaker, video = file.parts[-3:-1]
        return f"{speaker}/{video}/{file.stem}" if _PERSON.fullmatch(speaker) else None

    found, walk = recordings(root, key, containers=True)
    expected = f"{root} is not VoxCeleb2: expected dev/aac/id00012/<video>/00001.m4a in it."
    chosen = present(found, sorted(found), corpus="VoxCeleb2", missing=expected)
    sexes = {
        line.cells.get("VoxCeleb2 ID", ""): sex_of(line.cells.get("Gender", ""))
        for file in find(root, r"vox2_meta\.csv")[:1]
        for line in lines_of(file)
    }
    walk.report(root)
    records = []
    for name, path in chosen.items():
        speaker, video, _ = name.split("/")
        part = next((one for one in ("dev", "test") if one in path.parts[:-3]), None)
        labels = {"video": printable(video), "sex": sexes.get(speaker)}
        records.append(
            Utterance(
                id=printable(name),
                path=path,
                speaker=speaker,
                part=part,
                labels={column: value for column, value in labels.items() if value},
            )
        )
    return records
