"""MSP-IMPROV -> utterances: `Evalution.txt` (so spelled) and `Audio/session1/S01A/P/*.wav`.

`MSP-IMPROV-S01A-F01-P-FM01`: the sentence and the emotion aimed at, the actor of the scenario, the
kind of recording, and last who speaks to whom. The third field is not who speaks.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from spknorm.audio.faults import refuse
from spknorm.corpora.gathering import recordings, tell
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import class_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import find_one, number, ranked, text_of

_NAME = re.compile(
    r"(?:UTD|MSP)-IMPROV-(S\d\d)([AHSN])-([FM])(\d\d)-([PRST])-([FM])([FM])(\d+)", re.ASCII
)
_WORDS = {"A": "angry", "S": "sad", "H": "happy", "N": "neutral", "O": "other"}
_NO_AGREEMENT = "X"
_TURNS = {"P": "improvised", "S": "improvised", "T": "improvised", "R": "scripted"}
_HIGHEST_AND_LOWEST = 6.0  # arousal is stored upside down on a scale from 1 to 5


class Name(NamedTuple):
    """What a name says.

    Attributes:
        sentence: `S01A`, with the emotion that was aimed at.
        scenario: `F01`, whose scenario it is: what the third field says.
        speaker: `M01`, who speaks: the first letter of the last field, and the session.
        kind: P talk in breaks, R target sentence read, S other turns, T target improvised.
    """

    sentence: str
    scenario: str
    speaker: str
    session: str
    kind: str


def parse_name(name: str) -> Name:
    """Read a name.

    Raises:
        ValueError: It is not of MSP-IMPROV's pattern.
    """
    if (match := _NAME.fullmatch(name)) is None:
        raise ValueError(f"`{name}` is not an MSP-IMPROV name such as MSP-IMPROV-S01A-F01-P-FM01")
    sentence, aim, actor, number_, kind, talker, _, _ = match.groups()
    session = f"Session{int(number_)}"
    return Name(f"{sentence}{aim}", f"{actor}{number_}", f"{talker}{number_}", session, kind)


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances on whose class raters agree, in the order of their names.

    Each has its raters' votes, and arousal (turned the right way up), valence and dominance from 1
    to 5. What is marked X has no class and is left out, and counted, unless speakers or dimensions
    are trained.

    Raises:
        MissingError: There is no table, or none of its recordings.
        DataError: A line of the table cannot be read.
    """
    root = ask.root
    table = find_one(root, r"evalu?[at]*tion\.txt", of="MSP-IMPROV", expected="Evalution.txt")
    rows: dict[str, Utterance] = {}
    problems: list[str] = []
    left_out: Counter[str] = Counter()
    for line, label, raters in _blocks(text_of(table)):
        try:
            one = _utterance(label, raters)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        if one.emotion is None and not ask.unlabelled:
            left_out["without agreement (X)"] += 1
        else:
            rows[one.id] = one
    refuse(problems, f"lines of {table} cannot be used")
    none = f"None of the {len(rows)} recordings in {table} lies under {root}."
    chosen = recordings(root, sorted(rows), corpus="MSP-IMPROV", key=_name_of, missing=none)
    tell(left_out, "MSP-IMPROV")
    return [replace(rows[name], path=path) for name, path in chosen.items()]


def _name_of(file: Path) -> str | None:
    return file.stem if _NAME.fullmatch(file.stem) else None


def _blocks(text: str) -> list[tuple[int, list[str], list[list[str]]]]:
    """Return the line's number, the fields of a label line and those of its raters' lines."""
    found: list[tuple[int, list[str], list[list[str]]]] = []
    for place, line in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in line.split(";")]
        if re.match(r"(UTD|MSP)-IMPROV-", fields[0]):
            found.append((place, fields, []))
        elif line.strip() and found:
            found[-1][2].append(fields)
    return found


def _utterance(label: list[str], raters: list[list[str]]) -> Utterance:
    name = Path(label[0]).stem.replace("UTD-", "MSP-")
    parsed = parse_name(name)
    code = label[1] if len(label) > 1 else ""
    if code not in _WORDS and code != _NO_AGREEMENT:
        raise ValueError(f"unknown class `{code}`, MSP-IMPROV has {', '.join(_WORDS)}, X")
    scores = dict(field.split(":", 1) for field in label[2:] if ":" in field)
    values = {key: number(scores[key], key) for key in "AVD" if scores.get(key, "").strip()}
    told = (fields[1] for fields in raters if len(fields) > 1 and fields[1])
    votes = Counter(one.split("(")[0].split("-")[0].strip().lower() for one in told)
    word = _WORDS.get(code)
    return Utterance(
        id=name,
        path=Path(),
        emotion=None if word is None else class_of(word),
        original=word,
        speaker=f"msp_improv_{parsed.speaker}",
        session=parsed.session,
        turn=_TURNS[parsed.kind],
        part=parsed.kind,
        sentence=parsed.sentence[:3],
        language="en",
        votes=ranked(votes),
        arousal=_HIGHEST_AND_LOWEST - values["A"] if "A" in values else None,
        valence=values.get("V"),
        dominance=values.get("D"),
        labels={"sex": "female" if parsed.speaker[0] == "F" else "male"},
    )
