"""Emozionalmente -> utterances: `audio/<timestamp>.wav` and `metadata/{samples,users,...}.csv`.

Who speaks and what was acted is in samples.csv alone; listeners' words are in evaluations.csv.
"""

from collections import Counter
from pathlib import Path

from spknorm.corpora.gathering import recordings
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import class_of, known, sex_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import find, find_one, lines_of, ranked

_TITLE = "Emozionalmente"
_ID_COLUMNS = ("username", "user", "actor", "id")  # of users.csv, whichever it has
_SEX_COLUMNS = ("gender", "sex")


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances in the order of their names, with listeners' votes.

    The class is what was acted, not what was heard.

    Raises:
        MissingError: There is no samples.csv, or none of its recordings.
    """
    root, heard = ask.root, "emotion_recognized"
    table = find_one(root, r"samples\.csv", of=_TITLE, expected="metadata/samples.csv")
    rows = {
        Path(line.cells["file_name"]).stem: line.cells
        for line in lines_of(table, ("file_name", "actor", "emotion_expressed"))
    }
    votes: dict[str, Counter[str]] = {}
    for file in find(root, r"evaluations\.csv")[:1]:
        for line in lines_of(file, ("file_name", heard)):
            own = votes.setdefault(Path(line.cells["file_name"]).stem, Counter())
            own[line.cells[heard].lower()] += 1
    sexes = {}
    for file in find(root, r"users\.csv")[:1]:
        for _, cells in lines_of(file):
            who, word = (next((cells[one] for one in names if one in cells), "")
                         for names in (_ID_COLUMNS, _SEX_COLUMNS))  # fmt: skip
            if sex := sex_of(word):
                sexes[who] = sex
    none = f"None of the {len(rows)} recordings in {table} lies under {root}."
    chosen = recordings(root, sorted(rows), corpus=_TITLE, missing=none)
    records = []
    for name, path in chosen.items():
        cells = rows[name]
        word = cells["emotion_expressed"].lower()
        records.append(
            Utterance(
                id=name,
                path=path,
                emotion=class_of(word),
                original=word,
                speaker=f"emozionalmente_{cells['actor']}",
                sentence=cells.get("sentence") or None,
                language="it",
                votes=ranked(votes.get(name, {})),
                labels=known(sex=sexes.get(cells["actor"])),
            )
        )
    return records
