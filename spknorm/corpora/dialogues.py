"""MELD and EmoryNLP -> utterances: clips of a television series, numbered anew in each part.

`train_splits/dia0_utt0.mp4` and `train_sent_emo.csv` (MELD);
`emorynlp_train_splits/sea1_ep1_sc1_utt1.mp4` and `emorynlp_train_final.csv` (EmoryNLP).
"""

import logging
import re
from collections import Counter
from pathlib import Path

from spknorm.corpora.gathering import recordings, tell
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.layout import pattern_of, template_of
from spknorm.corpora.known.words import class_of, known
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import Line, find, lines_of
from spknorm.errors import DataError, MissingError

logger = logging.getLogger(__name__)

_PARTS = ("train", "dev", "test")
_NAMES = {  # of clips, by the tables' columns
    "meld": r"dia{Dialogue_ID:\d+}_utt{Utterance_ID:\d+}",
    "emorynlp": r"sea{Season:\d+}_ep{Episode:\d+}_sc{Scene_ID:\d+}_utt{Utterance_ID:\d+}",
}
_TABLES = {
    "meld": r"(train|dev|test)_sent_emo\.csv",
    "emorynlp": r"emorynlp_(train|dev|test)(_final)?\.csv",
}
_SEXES = {
    **dict.fromkeys(("monica", "rachel", "phoebe"), "female"),
    **dict.fromkeys(("ross", "joey", "chandler"), "male"),
}  # the six main characters; of the others the tables tell nothing
_SEVERAL = re.compile(r"(?i)\b(all|both|everyone|everybody|girls|guys|others|and)\b|[/&,]")


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances of `meld` or `emorynlp`, by part, dialogue and number.

    Of surround sound the centre is heard, where the voices are. Several speakers at once are a
    speaker of MELD's (`All`, `Ross and Joey`), but not of a speaker corpus; they are left out of
    EmoryNLP, whose table lists them by name. Clips without a row, with known damage and those that
    are missing are left out and counted.

    Raises:
        MissingError: There is no table, or none of its clips.
        DataError: A table cannot be read, or lacks a column.
    """
    root, key, title = ask.root, ask.corpus.name, ask.corpus.title
    tables = {_part(file.name): file for file in reversed(find(root, _TABLES[key]))}
    if not tables:
        expected = {"meld": "train_sent_emo.csv", "emorynlp": "emorynlp_train_final.csv"}[key]
        raise MissingError(f"{root} is not {title}: expected {expected} in it.")
    needed = ("Speaker", "Emotion", *pattern_of(_NAMES[key]).groupindex)
    rows: dict[str, tuple[str, Line]] = {}
    for part in [one for one in _PARTS if one in tables]:
        for line in lines_of(tables[part], needed):
            rows[f"{part}_{_clip(key, line, tables[part])}"] = (part, line)
    words = Counter(line.cells["Emotion"].lower() for _, line in rows.values())
    people = {line.cells["Speaker"] for _, line in rows.values()} if key == "meld" else ()
    if differs := ask.corpus.differences(words, num_speakers=len(people) or None):
        logger.warning("The tables of this %s differ from the published ones: %s", title, differs)
    chosen = recordings(
        root,
        rows,
        corpus=title,
        key=lambda file: name if (name := _name_of(file, key)) in rows else None,
        missing=f"None of the {len(rows)} clips in {title}'s tables lies under {root}.",
        damaged=ask.corpus.damaged,
        containers=True,
    )
    left_out: Counter[str] = Counter()
    records = []
    for name, path in chosen.items():
        part, line = rows[name]
        speaker = _speaker(line.cells["Speaker"], key)
        if speaker is None and key == "emorynlp":
            left_out["with several speakers"] += 1
            continue
        word = line.cells["Emotion"].lower()
        records.append(
            Utterance(
                id=name,
                path=path,
                emotion=class_of(word),
                original=word,
                speaker=None if speaker is None else f"{key}_{speaker}",
                split=part,
                part=part,
                language="en",
                channel="centre",
                labels=known(sex=_SEXES.get((speaker or "").lower().split(" ")[0])),
            )
        )
    tell(left_out, title)
    if ask.role == "speaker":
        return [one for one in records if not _SEVERAL.search(str(one.speaker).partition("_")[2])]
    return records


def _part(name: str) -> str:
    """Return the part that a file's or a folder's name tells."""
    return next((part for part in _PARTS if part in name.lower()), "")


def _name_of(file: Path, key: str) -> str | None:
    """Return `train_dia0_utt0` of a clip; the part is that of the nearest folder with such a name.

    Copies of test clips that are called `final_videos_test...` have no row.
    """
    match = pattern_of(_NAMES[key]).search(file.stem)
    part = next((part for folder in file.parents if (part := _part(folder.name))), "")
    return f"{part}_{file.stem}" if match and part else None


def _clip(key: str, line: Line, table: Path) -> str:
    cells = {column: line.cells[column] for column in pattern_of(_NAMES[key]).groupindex}
    if not all(one.isascii() and one.isdigit() for one in cells.values()):
        raise DataError(f"{table}, line {line.number}: {', '.join(cells)} must be numbers.")
    numbers = {column: int(cell) for column, cell in cells.items()}
    return template_of(_NAMES[key]).format_map(numbers)


def _speaker(text: str, key: str) -> str | None:
    """Return who speaks, None if several do; EmoryNLP writes lists, `['Monica Geller']`."""
    if key == "emorynlp":
        names = re.findall(r"""['"]([^'"]+)['"]""", text) or ([text] if text else [])
        return names[0] if len(names) == 1 and not _SEVERAL.search(names[0]) else None
    return text or None
