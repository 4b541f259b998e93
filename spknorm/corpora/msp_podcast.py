"""MSP-Podcast (1.x and 2) and BIIC-Podcast -> utterances: `Labels/labels_consensus.csv`, `Audios/`.

FileName, EmoClass, EmoAct, EmoVal, EmoDom, SpkrID, Gender and Split_Set per recording; every
rater's word in labels_detailed.csv or .json; old releases spell `concensus`.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spknorm.audio.faults import refuse
from spknorm.corpora.gathering import Aside, recordings, tell
from spknorm.corpora.known.corpus import Ask, Corpus
from spknorm.corpora.known.words import class_of, known, sex_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import find, find_one, lines_of, number, ranked, text_of
from spknorm.errors import DataError

logger = logging.getLogger(__name__)

_WORDS = {
    "A": "angry", "H": "happy", "S": "sad", "N": "neutral", "U": "surprise", "F": "fear",
    "D": "disgust", "C": "contempt", "O": "other",
}  # fmt: skip
_NO_AGREEMENT = "X"
_SPLITS = {
    "train": "train", "development": "dev", "validation": "dev",
    "test": "test", "test1": "test", "test2": "test", "test3": "test",
}  # fmt: skip
_RELEASES = {
    "1.11": {"Train": 84030, "Development": 19815, "Test1": 30647, "Test2": 14815, "Test3": 2347}
}
"""Published number of recordings per part, where it is known."""
_NEAR = 0.02  # of its size: meant to be that release
_DETAIL = re.compile(r"WORKER\w*;\s*([^;]+);")


def read(ask: Ask) -> list[Utterance]:
    """Return the labelled utterances in the order of their names.

    The speaker `Unknown` is nobody's name: such utterances have no speaker. What raters do not
    agree on (X) has no class and is left out, unless speakers or dimensions are trained; what is
    withheld (Test3) has nothing and is left out. Both are counted.

    Raises:
        MissingError: There is no table, or none of its recordings.
        DataError: A line of the table cannot be read.
    """
    root, title = ask.root, ask.corpus.title
    table = find_one(
        root, r"labels_con[cs]ensus\.csv", of=title, expected="Labels/labels_consensus.csv"
    )
    votes = _votes(root)
    speakers = _speakers(root)
    rows: dict[str, dict[str, str]] = {}
    problems: list[str] = []
    left_out: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    for line in lines_of(table, ("FileName", "EmoClass", "Split_Set")):
        code, part = line.cells["EmoClass"], line.cells["Split_Set"]
        parts[part] += 1
        if code == _NO_AGREEMENT and not ask.unlabelled:
            left_out["without agreement (X)"] += 1
        elif not code or code.lower() in ("nan", "na", "none"):
            left_out[f"without a label ({part})"] += 1
        elif code not in (*_WORDS, _NO_AGREEMENT):
            known = ", ".join((*_WORDS, _NO_AGREEMENT))
            problems.append(f"line {line.number}: unknown class `{code}`, {title} has {known}")
        elif part.lower() not in _SPLITS:
            problems.append(f"line {line.number}: unknown part `{part}`")
        else:
            rows[Path(line.cells["FileName"]).stem] = line.cells
    refuse(problems, f"lines of {table} cannot be used")
    _compare(parts, title)

    def name_of(file: Path) -> str:
        return file.stem if file.stem in rows else Aside("without a class in the corpus' table")

    none = f"None of the {len(rows)} recordings in {table} lies under {root}."
    chosen = recordings(root, sorted(rows), corpus=title, key=name_of, missing=none)
    tell(left_out, title)
    return [
        _utterance(name, path, rows[name], ask.corpus, speakers.get(name), votes.get(name, {}))
        for name, path in chosen.items()
    ]


def _utterance(
    name: str,
    path: Path,
    cells: Mapping[str, str],
    corpus: Corpus,
    listed: str | None,
    votes: Mapping[str, float],
) -> Utterance:
    word = _WORDS.get(cells["EmoClass"])
    speaker = cells.get("SpkrID") or listed or "Unknown"
    numbers = {
        column: number(cells[column], column) if cells.get(column) else None
        for column in ("EmoAct", "EmoVal", "EmoDom")
    }
    part = cells["Split_Set"]
    return Utterance(
        id=name,
        path=path,
        emotion=None if word is None else class_of(word),
        original=word,
        speaker=None if speaker.lower() in ("unknown", "nan") else f"{corpus.name}_{speaker}",
        split=_SPLITS[part.lower()],
        part=part,
        language=corpus.language,
        votes=ranked(votes),
        arousal=numbers["EmoAct"],
        valence=numbers["EmoVal"],
        dominance=numbers["EmoDom"],
        labels=known(sex=sex_of(cells.get("Gender", ""))),
    )


def _votes(root: Path) -> dict[str, Counter[str]]:
    """Return each recording's votes from the detailed table, which comes in three forms."""
    found: dict[str, Counter[str]] = {}
    for file in find(root, r"labels_detailed\.(csv|json)")[:1]:
        if file.suffix.lower() == ".json":
            try:
                content = json.loads(text_of(file))
            except ValueError as error:
                raise DataError(f"{file} is not JSON ({error}).") from error
            ratings = ((name, one) for name, raters in content.items() for one in _ratings(raters))
            pairs = [(name, str(rating.get("EmoClass_Major", ""))) for name, rating in ratings]
        else:
            pairs = []
            for _, cells in lines_of(file, ("FileName",)):
                detail = _DETAIL.search(cells.get("EmoDetail", ""))
                word = detail[1] if detail else cells.get("EmoClass_Major", "")
                pairs.append((cells["FileName"], word))
        for name, word in pairs:
            word = re.split(r"[-(,]", word)[0].strip().lower()
            if word:
                found.setdefault(Path(name).stem, Counter())[word] += 1
    return found


def _ratings(raters: Any) -> list[Mapping[str, Any]]:
    if isinstance(raters, Mapping) and isinstance(raters.get("Workers"), list):
        raters = raters["Workers"]
    ratings = raters.values() if isinstance(raters, Mapping) else raters
    return [one for one in ratings if isinstance(one, Mapping)]


def _speakers(root: Path) -> dict[str, str]:
    """Return who speaks by Speaker_ids.txt (`NAME.wav; 12`), for releases whose table lacks it."""
    found = {}
    for file in find(root, r"speaker_ids\.txt")[:1]:
        for line in text_of(file).splitlines():
            fields = re.split(r"[;,\s]+", line.strip())
            if len(fields) >= 2:
                found[Path(fields[0]).stem] = fields[1].removeprefix("Speaker_")
    return found


def _compare(parts: Counter[str], title: str) -> None:
    for release, published in _RELEASES.items():
        near = abs(parts.total() - sum(published.values())) < _NEAR * parts.total()
        odd = [(part, count) for part, count in published.items() if parts[part] != count]
        differs = "; ".join(f"{parts[one]} recordings of {one} instead of {n}" for one, n in odd)
        if title == "MSP-Podcast" and near and differs:
            logger.warning("This %s differs from release %s: %s", title, release, differs)
