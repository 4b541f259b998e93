"""What the task trains on: a fold of the emotion corpus and the speaker corpus, with their labels.

Built once per run from the configuration; the expert, the runner, predict and the audit read it.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.batches.emotions import EmotionData, read_emotions
from spknorm.corpora.checks import check_records, usable
from spknorm.corpora.columns import Utterances
from spknorm.corpora.digest import CorpusDigest, digest_of
from spknorm.corpora.reading import read_corpus
from spknorm.corpora.records import Utterance
from spknorm.errors import DataError
from spknorm.protocols import Split
from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig

_HELD_OUT_SHARE = 0.05
_LEFT_TO_TRAIN = 2


class TaskData(NamedTuple):
    """Everything the heads need to know of the corpora.

    Attributes:
        emotion: The emotion corpus, split and labelled.
        speaker_utterances: The speaker corpus; empty with strategy none, unless it is erased.
        speakers: Its label names by index.
        speaker_labels: One index per speaker utterance (permuted if the control asks for it).
        corpora: What was read, by role; None for a corpus that is not needed.
        held_out: Utterances of the same speakers that are in no training batch.
    """

    emotion: EmotionData
    speaker_utterances: Sequence[Utterance]
    speakers: tuple[str, ...]
    speaker_labels: tuple[int, ...]
    corpora: Mapping[str, CorpusDigest | None]
    held_out: "HeldOut"

    @property
    def split(self) -> Split:
        """The emotion corpus' train, dev and test utterances."""
        return self.emotion.split

    @property
    def emotions(self) -> tuple[str, ...]:
        """Names of what the emotion head predicts, by index."""
        return self.emotion.names


class HeldOut(NamedTuple):
    """Utterances that tell whether the speaker head knows its speakers, or its training batches.

    Attributes:
        utterances: None of them is in `TaskData.speaker_utterances`.
        labels: One index per utterance (permuted if the control asks for it).
        origin: Where they come from, as log.log has it.
    """

    utterances: Sequence[Utterance] = ()
    labels: tuple[int, ...] = ()
    origin: str = "none"


def read_task_data(config: ExpertConfig, *, fold: str, seed: int, work_dir: Path) -> TaskData:
    """Read, check and split the corpora.

    Args:
        config: `downstream_expert`.
        fold: `fold1` ...; see spknorm.protocols.
        seed: Of the protocols that draw at random (sd, low_resource) and of shuffled labels.
        work_dir: Keeps the index of audio headers and skipped.json (the experiment's folder).

    Raises:
        MissingError: A corpus is not where it was looked for.
        DataError: A corpus cannot be used, or train, dev and test overlap.
    """
    emotions = read_emotions(config.datarc, fold=fold, seed=seed, work_dir=work_dir)
    if config.spknorm.strategy == "none" and config.spknorm.erasure != "leace":
        nothing: dict[str, CorpusDigest | None] = {"emotion": emotions.digest, "speaker": None}
        return TaskData(emotions, (), (), (), nothing, HeldOut())
    utterances, speakers, labels, speaker, held_out = read_speakers(
        config.speaker_corpus,
        data=config.datarc,
        seed=seed,
        work_dir=work_dir,
        hold_out=config.spknorm.strategy != "none",
    )
    corpora = {"emotion": emotions.digest, "speaker": speaker}
    return TaskData(emotions, utterances, speakers, labels, corpora, held_out)


def read_speakers(
    config: SpeakerCorpusConfig,
    *,
    data: DataConfig,
    seed: int,
    work_dir: Path,
    hold_out: bool = True,
) -> tuple[Utterances, tuple[str, ...], tuple[int, ...], CorpusDigest, HeldOut]:
    """Read the speaker corpus and hold some of it out; the `test` part is left to the probes.

    Args:
        config: `downstream_expert.speaker_corpus`.
        data: `downstream_expert.datarc`, for `skip_bad` and the demo's settings.
        seed: Of shuffled labels.
        work_dir: Keeps skipped.json (the experiment's folder).
        hold_out: Whether to hold out, to watch the speaker head: the corpus' own `dev` part, or, of
            a corpus without one, some of each speaker's training utterances.

    Returns:
        The N training utterances, names of the K labels, the label index of each of the N, the
        digest of what was read before some speakers were chosen, and what is held out.

    Raises:
        MissingError: The corpus is not where it was looked for.
        DataError: It cannot be used, or fewer than two labels have training utterances.
    """
    records = Utterances.of(
        read_corpus(ExpertConfig(datarc=data, speaker_corpus=config), "speaker")
    )
    check_records(records, role="speaker", label=config.label)
    records = records.take(_is_in(records, None, "train", "dev"))
    records = usable(records, work_dir=work_dir, skip_bad=data.skip_bad)
    is_dev, (codes, names) = _is_in(records, "dev"), records.coded(config.label)
    counts = np.bincount(codes[~is_dev], minlength=len(names))
    known = [(str(names[code]), code) for code in np.flatnonzero(counts).tolist()]
    most = sorted(known, key=lambda one: (-counts[one[1]], one[0]))[: config.max_speakers]
    speakers = tuple(sorted(name for name, _ in most))
    if len(speakers) < 2:
        raise DataError(
            f"The speaker corpus has {len(speakers)} `{config.label}` with training utterances, "
            "but removing it needs at least 2."
        )
    order = {name: index for index, name in enumerate(speakers)}
    label_of_code = np.full(len(names), -1)
    label_of_code[[code for _, code in most]] = [order[name] for name, _ in most]
    label = label_of_code[codes]
    trained = np.flatnonzero(~is_dev & (label >= 0))
    held = np.flatnonzero(is_dev & (label >= 0)) if hold_out else trained[:0]
    origin = "the corpus' own dev part"
    if hold_out and not len(held):
        held = trained[_share_of(records.take(trained), label[trained])]
        trained = np.setdiff1d(trained, held, assume_unique=True)
        origin = f"{_HELD_OUT_SHARE:.0%} of each speaker's utterances, at least one"
    labels, others = label[trained], label[held]
    if config.shuffle_labels:
        generator = np.random.default_rng(seed)
        labels, others = generator.permutation(labels), generator.permutation(others)
    train, spare = records.take(trained), records.take(held)
    held_out = HeldOut(spare, _shared(others), origin) if len(held) else HeldOut()
    by_part = {"train": train, **({"held_out": spare} if len(held) else {})}
    digest = digest_of(records, labels=[config.label], parts=by_part)
    return train, speakers, _shared(labels), digest, held_out


def _is_in(records: Utterances, *splits: str | None) -> NDArray[np.bool_]:
    """Return which utterances (N,) are in one of the corpus' own parts."""
    codes, names = records.coded("split")
    return np.isin(codes, [code for code, name in enumerate(names) if name in splits])


def _shared(labels: NDArray[np.integer]) -> tuple[int, ...]:
    """Return labels (N,) as numbers of which there is one object a class, not one a file."""
    numbers = range(int(labels.max(initial=-1)) + 1)
    return tuple(map(list(numbers).__getitem__, labels.tolist()))


def _share_of(records: Utterances, labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return places of the same few utterances of each speaker for every seed, by a hash of ids.

    A speaker keeps at least `_LEFT_TO_TRAIN` for training.
    """
    hashes = np.fromiter((zlib.crc32(name.encode()) for name in records.ids()), np.int64)
    ranked = np.lexsort((hashes, labels))
    chosen: list[int] = []
    for own in np.split(ranked, np.flatnonzero(np.diff(labels[ranked])) + 1):
        number = max(1, round(_HELD_OUT_SHARE * len(own)))
        number = max(0, min(number, len(own) - _LEFT_TO_TRAIN))
        last = hashes[own[number - 1]] if number else -1
        some = own[hashes[own] <= last].tolist()  # with equals, which the id tells apart
        some.sort(key=lambda place: (hashes[place], records[place].id))
        chosen += some[:number]
    return np.array(chosen, dtype=np.int64)


def label_of(utterance: Utterance, column: str) -> str:
    """Return the utterance's label in `column`: speaker, session or any column of a manifest.

    Raises:
        DataError: It has none.
    """
    value = utterance.label(column)
    if value is None:
        raise DataError(f"The utterance {utterance.id} has no label in the column `{column}`.")
    return value
