"""Trained on some corpora, tested on others: one list of records, whose people stay apart.

Beside `folds.py`. Utterances and speakers are named `corpus:name`; two corpora of the same people
give them the same name, so that nobody is tested who trains.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spknorm.corpora.labels import classes_among
from spknorm.corpora.records import Utterance
from spknorm.errors import DataError
from spknorm.protocols import parts
from spknorm.protocols.overlap import Split

logger = logging.getLogger(__name__)

_SAME_PEOPLE = {"ravdess_song": "ravdess"}
"""Corpora by the one whose speakers theirs are."""

Corpora = Mapping[str, Sequence[Utterance]]


def renamed(records: Sequence[Utterance], corpus: str) -> list[Utterance]:
    """Return a corpus' utterances with its name before their ids and speakers."""
    people, found = _SAME_PEOPLE.get(corpus, corpus), []
    for one in records:
        who = one.speaker and f"{people}:{one.speaker.removeprefix(f'{corpus}_')}"
        found.append(replace(one, id=f"{corpus}:{one.id}", speaker=who))
    return found


def in_common(corpora: Corpora) -> tuple[tuple[str, ...], dict[str, list[Utterance]]]:
    """Return the classes that all corpora have, and the utterances of these.

    Raises:
        DataError: There are fewer than two.
    """
    have = {name: classes_among(records) for name, records in corpora.items()}
    shared = set.intersection(*(set(classes) for classes in have.values()))
    found = tuple(one for one in classes_among(next(iter(corpora.values()))) if one in shared)
    told = "; ".join(f"{name} has {', '.join(classes)}" for name, classes in have.items())
    if len(found) < 2:
        raise DataError(f"Corpora that train and test must have two classes in common, but {told}.")
    kept = {
        name: [one for one in records if one.emotion in shared] for name, records in corpora.items()
    }
    left = sum(map(len, corpora.values())) - sum(map(len, kept.values()))
    logger.info(
        "Classes in common: %s (%s); %d utterances of others are left out.",
        ", ".join(found), told, left,
    )  # fmt: skip
    return found, kept


def cross_split(
    sources: Corpora, targets: Corpora, *, dev: str, valid_ratio: float, seed: int
) -> Split:
    """Return the sources as train and dev, the targets as test; dev is never of a target.

    Under `speaker_disjoint` each source gives `valid_ratio` of its own speakers to dev, under
    `superb` that share of its utterances.

    Raises:
        DataError: A source has no speakers, or too few.
    """
    train: parts.Part = []
    valid: parts.Part = []
    for records in sources.values():
        pool = sorted(records, key=lambda one: one.id)
        if dev == "superb":
            some, others = parts.superb_dev(pool, valid_ratio)
        else:
            some, others = parts.disjoint_dev(pool, valid_ratio, seed)
        train += some
        valid += others
    test = sorted((one for records in targets.values() for one in records), key=lambda one: one.id)
    return Split(tuple(train), tuple(valid), tuple(test))
