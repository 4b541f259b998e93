"""What an audit asks of every upstream: which label, on which utterances of which corpus.

The speaker, or other columns, on held-out utterances of each corpus that has them; the speaker of
the emotion corpus always; and, for what was kept, the emotion of the held-out session.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.batches.emotions import read_emotions
from spknorm.corpora.records import Utterance
from spknorm.errors import DataError
from spknorm.probe.arrays import rank_in_class
from spknorm.probe.audit.runs import Run
from spknorm.probe.corpus import (
    LabelledSplit,
    ProbeDataConfig,
    read_labelled,
    read_records,
    split_by_label,
)


class Question(NamedTuple):
    """A label to predict on held-out utterances.

    Attributes:
        corpus: speaker or emotion.
        label: speaker, emotion or another column.
        train: (N,) utterances to learn on.
        test: (M,) utterances to name.
        classes: (N,) class indices.
        truth: (M,) class indices.
        clusters: (M,) who speaks; the unit of the intervals.
        held_out: How many utterances could be named, of which `test` are all or a sample.
        to_learn: How many could be learnt on, of which `train` are all or a sample.
    """

    corpus: str
    label: str
    train: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    classes: NDArray[np.integer]
    truth: NDArray[np.integer]
    clusters: NDArray[Any]
    held_out: int = 0
    to_learn: int = 0

    def mark(self) -> tuple[Any, ...]:
        """Return what decides the answer, as plain values: which utterances, and their classes."""
        ids = [[u.id for u in part] for part in (self.train, self.test)]
        whole = [self.to_learn] if self.to_learn > len(self.train) else []
        return self.corpus, self.label, ids, self.classes.tolist(), self.truth.tolist(), *whole


MOST_UTTERANCES = 15_000
"""Of a question, unless the whole is asked for: some 1.5 GB of HuBERT Large's layers."""


class Asked(NamedTuple):
    """The options of an audit that decide its rows."""

    every_layer: bool = False
    labels: tuple[str, ...] = ("speaker",)
    max_speakers: int | None = None
    seed: int = 0
    most: int | None = MOST_UTTERANCES
    verifier: bool = False

    def marks(self) -> dict[str, Any]:
        """Return the options as plain values; what later versions added only where it is asked."""
        plain = {**self._asdict(), "labels": list(self.labels)}
        return plain if self.verifier else {k: v for k, v in plain.items() if k != "verifier"}


def questions_for(run: Run, asked: Asked) -> list[Question]:
    """Return what is asked of the features of `run` and of its raw upstream.

    Labels are asked of each corpus that has them; without any the speaker corpus is left out.

    Raises:
        MissingError, DataError: A corpus is not there or cannot be probed.
    """
    expert = run.settings.downstream_expert
    sizes = ProbeDataConfig.of(expert.datarc)
    data = read_emotions(expert.datarc, fold=run.fold, seed=run.seed, work_dir=run.place)
    whole = [one for part in data.split for one in part]
    spoken = read_records(expert.speaker_corpus, sizes) if asked.labels else []
    found = []
    for label in asked.labels:
        if label != "speaker" and _all_have(whole, label) and not _all_have(spoken, label):
            continue  # the emotion corpus' alone, such as IEMOCAP's session
        most = asked.max_speakers or expert.speaker_corpus.max_speakers
        corpus = dataclasses.replace(expert.speaker_corpus, label=label, max_speakers=most)
        split = read_labelled(corpus, sizes, seed=asked.seed, work_dir=run.place)
        found.append(question_of("speaker", split))
    unsplit = [dataclasses.replace(utterance, split=None) for utterance in whole]
    for label in dict.fromkeys(("speaker", *asked.labels)):
        if label == "emotion" or not _all_have(whole, label):
            continue  # the emotion is asked below, of speakers held out
        try:
            found.append(question_of("emotion", split_by_label(unsplit, label, seed=asked.seed)))
        except DataError as error:
            raise DataError(f"The emotion corpus cannot be probed: {error}") from error
    found += _about_emotion((*data.split.train, *data.split.dev), data.split.test)
    return [sample(question, asked.most, seed=asked.seed) for question in found]


def sample(question: Question, most: int | None, *, seed: int) -> Question:
    """Return a question with a sample of its utterances, the same share of every class.

    Of each class at least two are learnt on and one is named, where there are as many, so that no
    class is lost. A probe learns less from fewer, so that scores are extrapolated to the whole.
    There are `most` at most, give or take those of small classes; None: all.
    """
    num_train, num_test = len(question.train), len(question.test)
    if most is None or num_train + num_test <= most:
        return question._replace(held_out=num_test, to_learn=num_train)
    share, generator = most / (num_train + num_test), np.random.default_rng(seed)
    train = _draw(question.classes, share, 2, generator)
    test = _draw(question.truth, share, 1, generator)
    return question._replace(
        train=tuple(question.train[place] for place in train),
        test=tuple(question.test[place] for place in test),
        classes=question.classes[train],
        truth=question.truth[test],
        clusters=question.clusters[test],
        held_out=num_test,
        to_learn=num_train,
    )


def _draw(
    classes: NDArray[np.integer], share: float, least: int, generator: np.random.Generator
) -> NDArray[np.integer]:
    """Return the places of a share of each class, in their order."""
    wanted = np.maximum(least, np.round(share * np.bincount(classes)))
    return np.flatnonzero(rank_in_class(classes, generator) < wanted[classes])


def question_of(
    corpus: str, split: LabelledSplit, learnt: Sequence[str] = ("train", "dev"), named: str = "test"
) -> Question:
    """Return the question for a split's label, learnt on some of its parts."""
    test: tuple[Utterance, ...] = getattr(split, named)
    return Question(
        corpus=corpus,
        label=split.label,
        train=tuple(one for part in learnt for one in getattr(split, part)),
        test=test,
        classes=np.concatenate([split.labels(part) for part in learnt]),
        truth=split.labels(named),
        clusters=_speakers_of(test),
    )


def _about_emotion(train: Sequence[Utterance], test: Sequence[Utterance]) -> list[Question]:
    """Return the question for the emotion; none where the corpus has dimensions alone."""
    names = tuple(sorted({one.emotion for one in train if one.emotion}))
    learnt, named = (tuple(u for u in part if u.emotion in names) for part in (train, test))
    if len(names) < 2 or not named:
        return []
    return [question_of("emotion", LabelledSplit(learnt, (), named, names, "emotion"), ("train",))]


def _speakers_of(utterances: Sequence[Utterance]) -> NDArray[Any]:
    return np.array([utterance.speaker or utterance.id for utterance in utterances])


def _all_have(utterances: Sequence[Utterance], label: str) -> bool:
    return all(utterance.label(label) for utterance in utterances)
