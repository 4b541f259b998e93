"""The emotion corpus of a run: read, checked, split, and what its head is to predict.

Before `task.py`, which adds the speaker corpus. Under the protocol cross there are several.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.batches import targets
from spknorm.batches.several import Divided, read_several
from spknorm.corpora.checks import check_records, usable
from spknorm.corpora.digest import CorpusDigest, digest_of
from spknorm.corpora.known import CORPORA
from spknorm.corpora.labels import classes_of
from spknorm.corpora.reading import label_set, read_corpus
from spknorm.corpora.records import Utterance
from spknorm.protocols import Split, Splitting, check_split, divide
from spknorm.schema import DataConfig, ExpertConfig, resolved_dev

logger = logging.getLogger(__name__)


class EmotionData(NamedTuple):
    """What a run knows of its emotion corpus.

    Attributes:
        split: Train, dev and test utterances.
        names: Classes by label index, or dimensions by place.
        labels: Of the training utterances: indices, votes over the classes, or dimensions on
            -1 ... 1.
        weights: Of the classes; None: all alike.
        scale: Of dimensions; None: classes are predicted.
        digest: Of all that was read.
        splitting: Who made the folds, and what is to be said of them.
    """

    split: Split
    names: tuple[str, ...]
    labels: list[Any]
    weights: list[float] | None
    scale: tuple[float, float] | None
    digest: CorpusDigest
    splitting: Splitting

    def labels_of(self, part: str) -> list[Any]:
        """Return the labels of `train`, `dev` or `test`; votes train, majorities score."""
        if part == "train":
            return self.labels
        return _plain_labels(getattr(self.split, part), self.names, self.scale)


def read_emotions(config: DataConfig, *, fold: str, seed: int, work_dir: Path) -> EmotionData:
    """Read, check and split the emotion corpus.

    Args:
        config: `downstream_expert.datarc`.
        fold: `fold1` ...; see spknorm.protocols.
        seed: Of the protocols that draw at random (sd, low_resource).
        work_dir: Keeps skipped.json (the experiment's folder).

    Raises:
        MissingError: The corpus is not where it was looked for.
        ConfigError: Settings do not fit the corpus.
        DataError: It cannot be used, or train, dev and test overlap.
    """
    config = dataclasses.replace(config, test_fold=fold)
    read = read_several if config.protocol == "cross" else _read_one
    records, names, scale, split, splitting = read(config, seed=seed, work_dir=work_dir)
    if config.check_audio:
        check_split(split, config, dev=splitting.dev, check_audio=True)
    columns = ["emotion", "speaker", "session", "turn"]
    columns += [*names] if scale else []
    columns += ["votes"] if config.labels_from == "votes" else []
    digest = digest_of(records, labels=columns, parts=split._asdict())
    labels, weights = _training_labels(config, split, records, names, scale)
    return EmotionData(split, names, labels, weights, scale, digest, splitting)


def with_targets(
    config: DataConfig, records: Sequence[Utterance]
) -> tuple[Sequence[Utterance], tuple[str, ...]]:
    """Return the utterances that a run takes of a corpus, checked, and its classes or dimensions.

    Raises:
        DataError: There is nothing to predict, or the labels cannot be trained on.
    """
    if config.targets == "dimensions":
        names = targets.dimensions_among(records)
        return targets.with_dimensions(records, names), names
    names = classes_of(records, label_set(config))
    check_records(records, role="emotion", classes=names)
    return records, names


def _read_one(config: DataConfig, *, seed: int, work_dir: Path) -> Divided:
    """Read and divide the one corpus; its fold is that of the settings."""
    records = read_corpus(ExpertConfig(datarc=config), "emotion")
    records, names = with_targets(config, records)
    scale = None
    if config.targets == "dimensions":
        scale = targets.scale_of(records, names, config.scale, CORPORA[config.corpus].scale)
    records = list(usable(records, work_dir=work_dir, skip_bad=config.skip_bad))
    dev = resolved_dev(config.dev, protocol=config.protocol, base=config.base, corpus=config.corpus)
    split, splitting = divide(
        records,
        config,
        fold=str(config.test_fold),
        dev=dev,
        seed=seed,
        ordered=config.corpus != "manifest",  # s3prl's order, so that its dev split is ours
    )
    return Divided(records, names, scale, split, splitting)


def _training_labels(
    config: DataConfig,
    split: Split,
    records: Sequence[Utterance],
    names: tuple[str, ...],
    scale: tuple[float, float] | None,
) -> tuple[list[Any], list[float] | None]:
    """Return the training utterances' labels, and the classes' weights if they are not alike."""
    labels = _plain_labels(split.train, names, scale)
    _tell_what_is_not_learnt(names, labels, scale)
    if scale is not None:
        return labels, None
    if config.labels_from == "votes":
        class_under = targets.word_classes(label_set(config), records)
        labels = [*targets.vote_labels(split.train, names, class_under)]
    if config.class_weights == "none":
        return labels, None
    return labels, targets.balanced_weights(labels, len(names))


def _tell_what_is_not_learnt(
    names: Sequence[str], labels: Sequence[Any], scale: tuple[float, float] | None
) -> None:
    """Warn of classes without a training utterance, and of dimensions that do not vary there."""
    if scale is None:
        trained = {*labels}
        if absent := [name for number, name in enumerate(names) if number not in trained]:
            logger.warning("The training part has no utterance of %s.", ", ".join(absent))
        return
    columns = zip(names, zip(*labels, strict=True), strict=True)
    if constant := [name for name, values in columns if len({*values}) == 1]:
        logger.warning(
            "%s does not vary in the training part: nothing is learnt of it, and its CCC stands in "
            "the mean of all.", ", ".join(constant),
        )  # fmt: skip


def _plain_labels(
    utterances: Sequence[Utterance], names: Sequence[str], scale: tuple[float, float] | None
) -> list[Any]:
    if scale is None:
        return [*targets.class_labels(utterances, names)]
    return [*targets.dimension_labels(utterances, names, scale)]
