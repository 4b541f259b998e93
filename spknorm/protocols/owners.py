"""Whose folds these are: titles to quote them by, and the lists of speakers that others publish.

Before `folds.py`. A list is by session or by speaker, as its owner has it; EmoBox's are read from
its files (`emobox.py`), a corpus' own are in its records (`split`, `part`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError
from spknorm.protocols.parts import Part

TITLES: Mapping[str, str] = {
    "si5": "5-fold, one session held out (speaker-independent)",
    "si10": "10-fold, one speaker held out (speaker-independent)",
    "loso": "one speaker held out (speaker-independent)",
    "loso-group": "groups of speakers held out (speaker-independent)",
    "sd": "random split (speaker-dependent)",
    "low_resource": "few training utterances per label",
    "official": "the corpus' own parts",
    "emobox": "EmoBox's published fold lists",
    "emosuperb": "EMO-SUPERB's folds",
    "audb": "the split of audb's data sets (audEERING)",
    "cross": "trained on some corpora, tested on others",
}
LISTED = ("official", "emobox", "emosuperb", "audb")
"""Protocols whose parts somebody else chose."""


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """Who made the folds of a run, and what has to be said of them; a part of result.json.

    Attributes:
        dev: How the dev part was made: superb, speaker_disjoint or given.
        unseen: What of the test part did not train: speakers, sentences or both.
        leaks: What test and training share all the same, as sentences.
        tested_on: Under cross, corpora; speakers are named `corpus:speaker`.
    """

    protocol: str
    title: str
    dev: str
    unseen: str = "speakers"
    leaks: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    tested_on: tuple[str, ...] = ()


class _Fold(NamedTuple):
    """Who validates and who is tested, by number of session or name of speaker."""

    dev: frozenset[str]
    test: frozenset[str]


def _names(text: str) -> frozenset[str]:
    """Return the names in a text such as `1049 1061-1068`, ranges written out."""
    found: set[str] = set()
    for word in text.split():
        first, _, last = word.partition("-")
        width = len(first)
        found |= {f"{number:0{width}d}" for number in range(int(first), int(last or first) + 1)}
    return frozenset(found)


_LISTS = {
    # EMO-SUPERB, data of September 2024; a fold's number is not that of its session
    ("emosuperb", "iemocap"): ("session", "5 > 4, 4 > 3, 3 > 2, 2 > 1, 1 > 5"),
    ("emosuperb", "msp_improv"): ("session", "3 > 4, 2 > 3, 1 > 2, 6 > 1, 5 > 6, 4 > 5"),
    ("emosuperb", "crema_d"): (
        "speaker",
        "1019-1036 > 1001-1018, 1037-1054 > 1019-1036, 1055-1072 > 1037-1054, "
        "1073-1091 > 1055-1072, 1001-1018 > 1073-1091",
    ),
    # audEERING's data sets, as their packages split them
    ("audb", "ravdess"): ("speaker", "16 17 19 20 > 21-24"),
    ("audb", "crema_d"): (
        "speaker",
        "1049 1053 1054 1055 1058 1059 1061-1068 1070 1075 1080 1085 > "
        "1048 1069 1071 1074 1076-1079 1082-1084 1086-1091",
    ),
    ("audb", "emodb"): ("speaker", "> 12 14 15 16"),
}
"""By owner and corpus: what is held out, and per fold who validates > who is tested."""


def num_folds(owner: str, corpus: str) -> int:
    """Return how many folds an owner's list of a corpus has.

    Raises:
        ConfigError: There is no such list.
    """
    return len(_list_of(owner, corpus)[1])


def hold_out_listed(
    records: Sequence[Utterance], fold: str, *, owner: str, corpus: str
) -> tuple[Part, Part, Part]:
    """Return (train, dev, test) as an owner's list has them; dev is empty where it has none.

    Raises:
        ConfigError: The owner has no list of this corpus, or no such fold.
        DataError: An utterance has no speaker or session.
    """
    column, folds = _list_of(owner, corpus)
    number = int(fold.removeprefix("fold"))
    if number > len(folds):
        raise ConfigError(
            f"`test_fold` must be one of fold1 ... fold{len(folds)} under the protocol {owner} on "
            f"{corpus}, but is `{fold}`."
        )
    chosen = folds[number - 1]
    parts: tuple[Part, Part, Part] = ([], [], [])
    for one in records:
        if (value := one.session if column == "session" else one.speaker) is None:
            raise DataError(f"The protocol {owner} needs the {column} of {one.id}, which has none.")
        if column == "session":  # `4` of Session4, `1001` of crema_d_1001
            name = str((re.findall(r"\d+", value) or [value])[-1]).lstrip("0")
        else:
            name = re.split(r"[^0-9A-Za-z]", value)[-1]
        parts[2 if name in chosen.test else 1 if name in chosen.dev else 0].append(one)
    return parts


def hold_out_official(records: Sequence[Utterance], fold: str) -> tuple[Part, Part, Part]:
    """Return (train, dev, test) as the corpus itself says; foldN tests on its N-th test part.

    Raises:
        DataError: An utterance is in no part, or there are fewer test parts.
    """
    if lost := next((one for one in records if one.split is None), None):
        raise DataError(
            "The protocol official needs a corpus that says who trains and who is tested (a "
            f"manifest: in a column `split`), but {lost.id} is in no part."
        )
    tests = sorted({one.part or "test" for one in records if one.split == "test"})
    number = int(fold.removeprefix("fold"))
    if number > len(tests):
        raise DataError(
            f"{fold} of the protocol official tests on test part {number} of the corpus, which has "
            f"{len(tests)}: {', '.join(tests) or 'none'}."
        )
    train, dev, test = (
        [one for one in records if one.split == part] for part in ("train", "dev", "test")
    )
    return train, dev, [one for one in test if (one.part or "test") == tests[number - 1]]


def _list_of(owner: str, corpus: str) -> tuple[str, tuple[_Fold, ...]]:
    if (owner, corpus) not in _LISTS:
        known = ", ".join(sorted(name for other, name in _LISTS if other == owner))
        raise ConfigError(
            f"The protocol {owner} is known for {known}, but not for the corpus {corpus}."
        )
    column, folds = _LISTS[owner, corpus]
    return column, tuple(_Fold(*map(_names, fold.split(">"))) for fold in folds.split(", "))
