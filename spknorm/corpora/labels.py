"""Label sets: from the words of a corpus to the classes that are trained.

After the readers, which yield a class (`Utterance.emotion`) and the corpus' own word for it
(`original`); `datarc.labels` says which of them are trained, under which names.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from spknorm.corpora.known.words import EMOTIONS, in_order
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError

logger = logging.getLogger(__name__)


def word_of(utterance: Utterance) -> str | None:
    """Return the corpus' own word for the emotion of an utterance."""
    return utterance.original or utterance.emotion


def labelled(
    records: Sequence[Utterance], labels: str | Mapping[str, Mapping[str, str | None]]
) -> list[Utterance]:
    """Return the utterances of a label set, each with its class as `emotion`.

    `auto` keeps every record as it is; `four` leaves out what is none of `EMOTIONS`; `all` keeps
    every class; {map: {word: class}} names a class for every word of the corpus, or null to leave
    the word out. What is left out is counted in the log.

    Raises:
        ConfigError: The map lacks a word of the corpus, or has one that is none.
    """
    if isinstance(labels, str):
        kept = [one for one in records if labels != "four" or one.emotion in EMOTIONS]
    else:
        classes = labels["map"]
        _check_total(classes, records)
        kept = [
            replace(one, emotion=name, original=word_of(one))
            for one in records
            if (name := classes[str(word_of(one))]) is not None
        ]
    if len(kept) < len(records):
        ids = {one.id for one in kept}
        words = Counter(str(word_of(one)) for one in records if one.id not in ids)
        told = ", ".join(f"{count} {word}" for word, count in words.most_common())
        lost = len(records) - len(kept)
        logger.info("%d of %d utterances are left out by their label: %s", lost, len(records), told)
    return kept


def classes_among(records: Iterable[Utterance]) -> tuple[str, ...]:
    """Return the classes that occur: those of `EMOTIONS` first, then the others by name."""
    return in_order(str(one.emotion) for one in records if one.emotion)


def classes_of(
    records: Sequence[Utterance], labels: str | Mapping[str, Mapping[str, str | None]]
) -> tuple[str, ...]:
    """Return the classes that a label set trains, by label index; `EMOTIONS` whole if it is four.

    Raises:
        DataError: There is a single class.
    """
    if labels == "four":
        return EMOTIONS
    classes = classes_among(records)
    if len(classes) == 1:
        raise DataError(
            f"The emotion corpus has a single class, `{classes[0]}`, under `labels`: there is "
            "nothing to tell apart."
        )
    return classes


def _check_total(classes: Mapping[str, str | None], records: Sequence[Utterance]) -> None:
    words = {str(word_of(one)) for one in records}
    for problem, those in (
        ("lacks words of the corpus (null leaves one out)", words - classes.keys()),
        ("has words that the corpus does not", classes.keys() - words),
    ):
        if those:
            raise ConfigError(
                f"`downstream_expert.datarc.labels.map` {problem}: {', '.join(sorted(those))}. "
                f"The corpus has {', '.join(sorted(words))}."
            )
