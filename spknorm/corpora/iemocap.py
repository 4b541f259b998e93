"""IEMOCAP as released -> utterances, in the order and with the labels of s3prl's own recipe.

Layout: SessionN/dialog/EmoEvaluation/<dialogue>.txt with one line per utterance,
`[start - end]<tab>name<tab>emotion<tab>[valence, activation, dominance]`, and
SessionN/sentences/wav/<dialogue>/<name>.wav. folds.py follows with s3prl's fold JSON.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from spknorm.audio import Walk
from spknorm.audio.faults import refuse
from spknorm.corpora.gathering import one_file_each
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.reading import label_set
from spknorm.corpora.records import EMOTIONS, Utterance
from spknorm.corpora.tables import ranked
from spknorm.errors import ConfigError, DataError, MissingError

logger = logging.getLogger(__name__)

COUNTS = {  # in the order of EMOTIONS
    "Session1": (384, 278, 229, 194),
    "Session2": (362, 327, 137, 197),
    "Session3": (320, 286, 240, 305),
    "Session4": (258, 303, 327, 143),
    "Session5": (384, 442, 170, 245),
}
"""Utterances per session and class of the full corpus, 5531 together (Gat et al. 2022; SUPERB)."""
_FULL_FROM = 4400  # with all five sessions: meant to be the full corpus (80 % of 5531)
_MERGED = {**{emotion: emotion for emotion in EMOTIONS}, "exc": "hap"}
_FURTHER = frozenset({"fru", "sur", "fea", "dis", "oth"})
_NO_AGREEMENT = "xxx"
_DIMENSIONS = ("valence", "arousal", "dominance")  # in the order of the release
_NUMBERS = re.compile(r"\[(\d+\.?\d*), *(\d+\.?\d*), *(\d+\.?\d*)\]", re.ASCII)
_RATED = {
    "neutral": "neu", "neutral state": "neu", "happiness": "hap", "excited": "exc",
    "anger": "ang", "sadness": "sad", "frustration": "fru", "surprise": "sur", "fear": "fea",
    "disgust": "dis", "other": "oth",
}  # fmt: skip
"""The corpus' codes by the words that evaluators chose from."""
_SESSION = re.compile(r"Session(\d+)")
_TIMES = re.compile(r"\[\s*\d+(\.\d+)? - \d+(\.\d+)?\s*\]")
_NAME = re.compile(r"Ses(\d+)[FM]_(impro|script)\w+_([FM])\w+", re.ASCII)


class Turn(NamedTuple):
    """What the name of an utterance says; Ses01F_impro01_M013 -> Session1, Ses01_M, improvised.

    The letter after `Ses01` tells who wears the motion-capture markers; the letter of the last
    token tells who speaks.
    """

    session: str
    speaker: str
    kind: str


def parse_name(name: str) -> Turn:
    """Read session, speaker and kind of turn off an utterance's name.

    Raises:
        ValueError: The name is not of IEMOCAP's pattern.
    """
    if (match := _NAME.fullmatch(name)) is None:
        raise ValueError(f"`{name}` is not an IEMOCAP name such as Ses01F_impro01_M013")
    number, kind, letter = match.groups()
    turn = "improvised" if kind == "impro" else "scripted"
    return Turn(f"Session{int(number)}", f"Ses{number}_{letter}", turn)


def read(ask: Ask) -> list[Utterance]:
    """Return what the settings ask for; see `read_iemocap` and spknorm/corpora/folds.py.

    Raises:
        ConfigError: `meta_data` is given and no fold.
    """
    from spknorm.corpora.folds import read_folds

    four = label_set(ask.data) == "four"
    folder, fold, whole = ask.section.meta_data, ask.section.test_fold, False
    if folder is None:
        whole = ask.unlabelled
        records = read_iemocap(ask.root, all_words=not four or whole, unlabelled=whole)
    elif fold is None:
        raise ConfigError("With `meta_data`, `test_fold` must say which of its folds to read.")
    else:
        records = read_folds(folder, fold, ask.root, allow_outside=ask.section.allow_outside)
    if four and not whole and (differs := check_counts(records)):
        logging.getLogger("spknorm.corpora").warning(  # the doctor has a line of its own for it
            "This IEMOCAP differs from the corpus of the literature (5531 utterances), so results "
            "do not compare with it: %s",
            "; ".join(differs),
        )
    return records


def read_iemocap(
    root: Path | str, *, all_words: bool = False, unlabelled: bool = False
) -> list[Utterance]:
    """Return the utterances of the four classes, excited counted as happy (as in SUPERB).

    With `all_words` those of all ten words, each for itself; with `unlabelled` also what raters did
    not agree on (xxx), which has no emotion, but has arousal, valence and dominance as all have.

    The order is that of s3prl's generator where it lists label files by name: sessions, then
    files, then lines. Labelled utterances without a sound file are left out, and counted in a
    warning. A copy of a recording elsewhere is passed over; the dialogue's own folder goes first.

    Raises:
        MissingError: There is no SessionN folder, or a session lacks one of its two parts.
        DataError: A line of a label file is not as released, or an utterance has two files that
            differ; at most 20 are named.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 (links are kept as they are)
    records: list[Utterance] = []
    problems: list[str] = []
    silent: list[Utterance] = []  # without a sound file
    walk = Walk()
    for session in _sessions(root):
        wavs = _sound_files(root / session / "sentences" / "wav", walk)
        labelled: list[Utterance] = []
        for one in _labels_of(root / session / "dialog" / "EmoEvaluation", session, problems):
            agreed = one.original is not None and (all_words or one.original in _MERGED)
            if unlabelled or agreed:
                (labelled if one.id in wavs else silent).append(one)
        chosen = one_file_each(wavs, (one.id for one in labelled), corpus="IEMOCAP")
        for one in labelled:
            word = one.original if all_words or one.original is None else _MERGED[one.original]
            records.append(replace(one, path=chosen[one.id], emotion=word))
    refuse(problems, "lines of IEMOCAP are not as released")
    if silent:
        logger.warning(
            "%d labelled utterances of IEMOCAP have no sound file and are left out, the first: %s",
            len(silent), silent[0].id,
        )  # fmt: skip
    walk.report(root)
    return records


def check_counts(records: Sequence[Utterance]) -> list[str]:
    """Return a text per session and class whose count is not the published one.

    Nothing for a part or a demo, which `is_full` tells apart.
    """
    if not is_full(records):
        return []
    found = Counter((record.session, record.emotion) for record in records)
    return [
        f"{session} has {found[session, emotion]} utterances of `{emotion}` instead of {count}"
        for session, expected in COUNTS.items()
        for emotion, count in zip(EMOTIONS, expected, strict=True)
        if found[session, emotion] != count
    ]


def is_full(records: Sequence[Utterance]) -> bool:
    """Say whether a tree is meant to be all of IEMOCAP: five sessions, 4400 utterances or more."""
    sessions = {record.session for record in records}
    return len(records) >= _FULL_FROM and sessions == set(COUNTS)


def _sessions(root: Path) -> list[str]:
    try:
        names = [entry.name for entry in root.iterdir() if entry.is_dir()]
    except OSError as error:
        raise MissingError(f"The IEMOCAP root {root} cannot be read: {error.strerror}.") from error
    if not (sessions := sorted(name for name in names if _SESSION.fullmatch(name))):
        inner = [name for name in sorted(names) if (root / name / "Session1").is_dir()]
        hint = f" Did you mean {root / inner[0]}?" if inner else ""
        raise MissingError(
            f"{root} is not an IEMOCAP release: it has no folder Session1 ... Session5.{hint}"
        )
    return sessions


def _sound_files(folder: Path, walk: Walk) -> dict[str, list[Path]]:
    """Return the recordings by utterance; the dialogue's own folder goes first."""
    if not folder.is_dir():
        raise MissingError(f"IEMOCAP's sentences are missing: no folder {folder}.")
    found: dict[str, list[Path]] = {}
    for file in walk.files(folder):
        found.setdefault(file.stem, []).append(file)
    for name, files in found.items():
        files.sort(key=lambda file: file.parent.name != name.rpartition("_")[0])
    return found


def _labels_of(folder: Path, session: str, problems: list[str]) -> Iterator[Utterance]:
    """Yield what a session's label files say, in their order; what is not as released is noted.

    Without a path and a class; `original` is None where raters do not agree.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (names are what is sorted)
    except OSError as error:
        raise MissingError(f"IEMOCAP's labels are missing: no folder {folder}.") from error
    # `._*.txt` are what some unpackers make of a Mac's file attributes
    labels = (name for name in names if name.endswith(".txt") and not name.startswith("."))
    for file in map(folder.joinpath, labels):
        for number, text, raters in _lines(file):
            try:
                name, emotion, dimensions = _parse_line(text)
                turn = parse_name(name)
                if turn.session != session:
                    raise ValueError(f"`{name}` lies under {session}")
            except ValueError as error:
                problems.append(f"{file}, line {number}: {error}")
                continue
            yield Utterance(
                id=name,
                path=Path(),
                original=None if emotion == _NO_AGREEMENT else emotion,
                speaker=turn.speaker,
                session=session,
                turn=turn.kind,
                votes=_votes(raters),
                **dimensions,  # type: ignore[arg-type]  # floats
            )


def _lines(file: Path) -> list[tuple[int, str, list[str]]]:
    """Return number, text and evaluators' lines of each that labels an utterance."""
    found: list[tuple[int, str, list[str]]] = []
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:  # comments need not be UTF-8
            for number, text in enumerate(lines, start=1):
                if text.startswith("["):
                    found.append((number, text, []))
                elif text.startswith("C-E") and found:  # C-F and C-M are the actors' own
                    found[-1][2].append(text)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    return found


def _votes(raters: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """Return the evaluators' votes, one each, evenly over the words that one of them named."""
    votes: dict[str, float] = {}
    for rater in raters:
        named = rater.partition(":")[2].partition("(")[0].lower().split(";")
        words = [_RATED[word.strip()] for word in named if word.strip() in _RATED]
        for word in words:
            votes[word] = votes.get(word, 0.0) + 1 / len(words)
    return ranked(votes)


def _parse_line(text: str) -> tuple[str, str, dict[str, float]]:
    times, *rest = [field for field in re.split("[\t\n]", text) if field]
    if _TIMES.fullmatch(times) is None or len(rest) < 2:
        raise ValueError(
            f"expected `[start - end]`, name and emotion between tabs, but found {text.strip()!r}"
        )
    name, emotion = rest[:2]
    if emotion not in {*_MERGED, *_FURTHER, _NO_AGREEMENT}:
        known = ", ".join((*_MERGED, *sorted({*_FURTHER, _NO_AGREEMENT})))
        raise ValueError(f"unknown emotion `{emotion}`, IEMOCAP has {known}")
    if (numbers := _NUMBERS.fullmatch(rest[2].strip()) if len(rest) > 2 else None) is None:
        return name, emotion, {}
    return name, emotion, dict(zip(_DIMENSIONS, map(float, numbers.groups()), strict=True))
