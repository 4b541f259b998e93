"""A labelled corpus as probes need it: every class in train, dev and test, utterances apart.

Read by the task `speaker_probe` and by the audit.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from spknorm.batches.task import label_of
from spknorm.corpora.checks import check_records, usable
from spknorm.corpora.reading import read_corpus
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError
from spknorm.probe.arrays import Integers
from spknorm.schema import DataConfig, SpeakerCorpusConfig

logger = logging.getLogger(__name__)
_PARTS = ("train", "dev", "test")


@dataclass(frozen=True, kw_only=True)
class ProbeDataConfig:
    """`downstream_expert.datarc` of the task speaker_probe."""

    eval_batch_size: int = 8
    num_workers: int = 2
    dev_ratio: float = 0.1
    """Part of each class' utterances that chooses the best step, if the corpus has no dev part."""
    test_ratio: float = 0.2
    """Part of each class' utterances that is tested, if the corpus has no split of its own."""
    skip_bad: bool = False
    demo_rho: float = 0.8
    demo_seed: int = 0

    @classmethod
    def of(cls, data: DataConfig) -> "ProbeDataConfig":
        """Return how a run's corpora are probed: bad files and demo as in the run."""
        return cls(skip_bad=data.skip_bad, demo_rho=data.demo_rho, demo_seed=data.demo_seed)


@dataclass(frozen=True, kw_only=True)
class ProbeModelConfig:
    """`downstream_expert.modelrc`: s3prl's head of voxceleb1."""

    projector_dim: int = 256
    select: Literal["UtteranceLevel"] = "UtteranceLevel"
    UtteranceLevel: Mapping[str, Any] = field(default_factory=lambda: {"pooling": "MeanPooling"})


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """`downstream_expert` of the task speaker_probe."""

    speaker_corpus: SpeakerCorpusConfig = field(default_factory=SpeakerCorpusConfig)
    datarc: ProbeDataConfig = field(default_factory=ProbeDataConfig)
    modelrc: ProbeModelConfig = field(default_factory=ProbeModelConfig)


class LabelledSplit(NamedTuple):
    """Three disjoint sets of utterances that hold the same classes.

    Attributes:
        train: At least one utterance of every class.
        dev: To choose the best step on.
        test: To report.
        names: Classes by index.
        label: The column that the classes are of.
    """

    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    names: tuple[str, ...]
    label: str

    def labels(self, part: str) -> Integers:
        """Return the class index (N,) of each utterance of `train`, `dev` or `test`."""
        place = {name: index for index, name in enumerate(self.names)}
        found = [place[label_of(utterance, self.label)] for utterance in getattr(self, part)]
        return np.array(found, dtype=np.int64)


def read_labelled(
    config: SpeakerCorpusConfig,
    data: ProbeDataConfig,
    *,
    seed: int = 0,
    work_dir: Path,
) -> LabelledSplit:
    """Read a speaker corpus and split it for a probe of `config.label`.

    Of `max_speakers` the most frequent classes are kept; `work_dir` keeps the index of headers.

    Raises:
        MissingError, DataError: The corpus is not there, or cannot be probed.
    """
    records = read_records(config, data)
    check_records(records, role="speaker", label=config.label)
    return split_by_label(
        usable(records, work_dir=work_dir, skip_bad=data.skip_bad),
        config.label,
        seed=seed,
        dev_ratio=data.dev_ratio,
        test_ratio=data.test_ratio,
        max_classes=config.max_speakers,
    )


def read_records(config: SpeakerCorpusConfig, data: ProbeDataConfig) -> Sequence[Utterance]:
    """Return every utterance of a speaker corpus, whatever part of it trained.

    Raises:
        MissingError: The corpus is not there.
    """
    return read_corpus(ProbeConfig(speaker_corpus=config, datarc=data), "speaker")


def split_by_label(
    utterances: Sequence[Utterance],
    label: str,
    *,
    seed: int = 0,
    dev_ratio: float = 0.1,
    test_ratio: float = 0.2,
    max_classes: int | None = None,
) -> LabelledSplit:
    """Split utterances so that every class is trained on and tested on utterances of its own.

    A corpus' own split (VoxCeleb1's identification list) is kept; a part that it lacks is taken
    from its training part. Classes that cannot be in all three parts are left out.

    The result does not depend on the order. Each ratio is a part of each class, at least one
    utterance. Of `max_classes` those with the most training utterances are kept (ties by name), as
    by the adversary (spknorm.batches.task).

    Raises:
        ConfigError: Ratios that leave nothing to train on.
        DataError: Fewer than two classes can be probed.
    """
    if not (dev_ratio > 0 and test_ratio > 0 and dev_ratio + test_ratio < 1):
        raise ConfigError(
            "`dev_ratio` and `test_ratio` must be above 0 and below 1 together, "
            f"but are {dev_ratio} and {test_ratio}."
        )
    records = sorted(utterances, key=lambda utterance: utterance.id)
    own = {utterance.split for utterance in records} - {None}
    trained = Counter(label_of(u, label) for u in records if u.split in (None, "train"))
    most = sorted(trained, key=lambda name: (-trained[name], name))[:max_classes]
    records = [u for u in records if max_classes is None or label_of(u, label) in most]
    groups: dict[str, dict[str, list[Utterance]]] = {}
    for utterance in records:
        parts = groups.setdefault(label_of(utterance, label), {part: [] for part in _PARTS})
        parts[utterance.split or "train"].append(utterance)
    generator = np.random.default_rng(seed)
    for name in sorted(groups):
        for part, ratio in (("dev", dev_ratio), ("test", test_ratio)):
            if part not in own:
                _move(groups[name], part, ratio, generator)
    names = tuple(name for name in sorted(groups) if all(groups[name].values()))
    if len(names) < len(groups):
        logger.warning(
            "%d of %d classes of `%s` have too few utterances to be trained on and tested.",
            len(groups) - len(names),
            len(groups),
            label,
        )
    if len(names) < 2:
        raise DataError(
            f"A probe of `{label}` needs two classes with three utterances each at least, "
            f"but the corpus has {len(names)}."
        )
    train, dev, test = (
        tuple(utterance for name in names for utterance in groups[name][part]) for part in _PARTS
    )
    return LabelledSplit(train, dev, test, names, label)


def _move(
    parts: dict[str, list[Utterance]], part: str, ratio: float, generator: np.random.Generator
) -> None:
    """Move a drawn part of a class' training utterances, but never the last of them."""
    pool = parts["train"]
    count = min(max(1, round(ratio * len(pool))), len(pool) - 1)
    drawn = set(generator.permutation(len(pool))[: max(count, 0)].tolist())
    parts[part] = [utterance for index, utterance in enumerate(pool) if index in drawn]
    parts["train"] = [utterance for index, utterance in enumerate(pool) if index not in drawn]
