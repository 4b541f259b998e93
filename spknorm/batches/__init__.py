"""Records -> an emotion stream and a speaker stream; each batch is a function of its number.

Batch k of a stream depends on (seed, k) alone: an interrupted run goes on at batch k without any
stored state, and no global random generator is touched.
"""

import copy
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from spknorm.audio import load_audio
from spknorm.batches import workers
from spknorm.corpora.columns import Utterances
from spknorm.corpora.records import Utterance

_BUCKET_BATCHES = 16


class Batch(NamedTuple):
    """Some utterances: float32 audio at 16 kHz (L_i,), labels, ids, places in the corpus.

    A label is an index, or a tuple of numbers (votes, dimensions). `there` is what the device reads
    of each, where that is on its way already.
    """

    wavs: list[npt.NDArray[np.float32]]
    labels: list[Any]
    ids: list[str]
    indices: list[int]
    there: Sequence[Tensor] = ()


class Order:
    """Which items are in batch k, counted over epochs; an epoch visits every item once.

    Args:
        num_items: Size of the corpus.
        batch_size: Per process.
        seed: Of the permutations; each epoch has its own.
        shuffle: False keeps the corpus' order.
        drop_last: Leave out an epoch's last batch when it is short.
        rank: This process; it takes its part of each global batch of `world * batch_size` items.
        world: Number of processes.
        lengths: Put items of similar length into one batch: each run of up to 16 batches
            of the permutation is sorted by length and cut into batches, which are shuffled
            again. An epoch still visits every item once, and which items are near each other
            still changes from epoch to epoch; only within a batch lengths agree.
        classes: Draw evenly over these labels of the items. An epoch has as many batches as
            without, but goes through the classes round by round: each round takes one item of
            every class, in an order of its own. So all classes are drawn equally often (give or
            take one), a small class' items more than once and a large one's not all; an item
            returns only after all others of its class.
    """

    def __init__(
        self,
        num_items: int,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        lengths: Sequence[float] | None = None,
        classes: Sequence[int] | None = None,
    ) -> None:
        assert lengths is None or len(lengths) == num_items
        assert classes is None or (len(classes) == num_items and lengths is None and shuffle)
        self._members = None if classes is None else _members(classes)
        self._lengths = None if lengths is None else np.asarray(lengths)
        self.num_items = num_items
        self.batch_size = batch_size
        self._seed, self._shuffle = seed, shuffle
        self._rank, self._world = rank, world
        whole, rest = divmod(num_items, world * batch_size)
        self._length = whole + (1 if rest and not (drop_last and whole) else 0)
        self._epoch: int | None = None
        self._items: npt.NDArray[np.integer] = np.empty(0, int)

    def __len__(self) -> int:
        """Batches per epoch."""
        return self._length

    def __getitem__(self, number: int) -> list[int]:
        """Return the items of batch `number` (0 or more, over all epochs) for this rank."""
        epoch, place = divmod(number, self._length)
        size = self._world * self.batch_size
        batch = self._epoch_items(epoch)[place * size : (place + 1) * size]
        own = slice(*(rank * len(batch) // self._world for rank in (self._rank, self._rank + 1)))
        items: list[int] = batch[own].tolist()
        return items

    def _epoch_items(self, epoch: int) -> npt.NDArray[np.integer]:
        if not self._shuffle:
            epoch = 0
        if epoch != self._epoch:
            if self._shuffle:
                generator = np.random.default_rng((self._seed, epoch))
                items: npt.NDArray[np.integer]
                if self._members is not None:
                    items = _rounds(self._members, self.num_items, generator)
                else:
                    items = generator.permutation(self.num_items)
                if self._lengths is not None:
                    items = self._bucketed(items, generator)
                self._items = items
            else:
                self._items = np.arange(self.num_items)
            self._epoch = epoch
        return self._items

    def _bucketed(
        self, items: npt.NDArray[np.integer], generator: np.random.Generator
    ) -> npt.NDArray[np.integer]:
        assert self._lengths is not None
        size = self._world * self.batch_size
        batches: list[npt.NDArray[np.integer]] = []
        run = size * max(2, min(_BUCKET_BATCHES, len(self) // 4))
        for start in range(0, len(items), run):
            bucket = items[start : start + run]
            bucket = bucket[np.argsort(self._lengths[bucket], kind="stable")]
            batches += [bucket[first : first + size] for first in range(0, len(bucket), size)]
        short = [batch for batch in batches if len(batch) < size]  # stays the last
        whole = [batch for batch in batches if len(batch) == size]
        return np.concatenate([*(whole[i] for i in generator.permutation(len(whole))), *short])


def fixed_crop(utterance: Utterance) -> int:
    """Return the seed of where an utterance is cropped if it is cropped at one place for good."""
    return zlib.crc32(utterance.id.encode())


def _members(classes: Sequence[int]) -> list[npt.NDArray[np.integer]]:
    """Return the places (N_k,) of each class that occurs."""
    labels = np.asarray(classes)
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _rounds(
    members: Sequence[npt.NDArray[np.integer]], num_items: int, generator: np.random.Generator
) -> npt.NDArray[np.integer]:
    """Return `num_items` places, one of every class in each round, classes in random order."""
    rounds = -(-num_items // len(members))
    columns = []
    for places in members:
        turns = -(-rounds // len(places))
        drawn = np.concatenate([generator.permutation(places) for _ in range(turns)])
        columns.append(drawn[:rounds])
    table = np.stack(columns)  # (classes, rounds)
    orders = (generator.permutation(len(members)) for _ in range(rounds))
    return np.concatenate([table[order, turn] for turn, order in enumerate(orders)])[:num_items]


class Recordings:
    """Utterances, as columns, with the labels of one role, and their audio on demand.

    Args:
        utterances: The corpus.
        labels: One index, or tuple of numbers, per utterance.
        max_seconds: Read random crops of at most this length; None for whole utterances.
        fixed_crops: Crop each utterance at one place for good, whatever the batch and the seed.
        seed: Of the other crops.
        pre_load: Keep decoded audio in memory (whole utterances only).
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        labels: Sequence[Any],
        *,
        max_seconds: float | None = None,
        fixed_crops: bool = False,
        seed: int = 0,
        pre_load: bool = False,
    ) -> None:
        assert len(utterances) == len(labels)
        self.utterances = Utterances.of(utterances)
        self.labels = list(labels)
        self.max_seconds = max_seconds
        self.silent = False
        self._fixed = fixed_crops
        self._seed = seed
        self._loaded: dict[int, npt.NDArray[np.float32]] | None = (
            {} if pre_load and max_seconds is None else None
        )

    def __len__(self) -> int:
        return len(self.utterances)

    def fetch(self, indices: Sequence[int], number: int) -> Batch:
        """Return the utterances at `indices` as batch `number`, which seeds their crops."""
        return Batch(
            wavs=[] if self.silent else [self.audio(index, crop=number) for index in indices],
            labels=[self.labels[index] for index in indices],
            ids=[self.utterances[index].id for index in indices],
            indices=list(indices),
        )

    def audio(self, index: int, *, crop: int = 0) -> npt.NDArray[np.float32]:
        """Return the audio of one utterance, (L,) at 16 kHz; crop `crop` of it if crops are on."""
        if self._loaded is not None and index in self._loaded:
            return self._loaded[index]
        utterance = self.utterances[index]
        crop_seed = None
        if self.max_seconds is not None:
            drawn = f"{self._seed} {crop} {utterance.id}"
            crop_seed = fixed_crop(utterance) if self._fixed else zlib.crc32(drawn.encode())
        wav = load_audio(utterance.audio, max_seconds=self.max_seconds, crop_seed=crop_seed)
        if self._loaded is not None:
            self._loaded[index] = wav
        return wav


class Stream:
    """A corpus in an order: an endless sequence of batches that can be entered anywhere."""

    def __init__(self, recordings: Recordings, order: Order) -> None:
        self.recordings = recordings
        self.order = order

    def __getitem__(self, number: int) -> Batch:
        """Return batch `number`, counted over epochs."""
        return self.recordings.fetch(self.order[number], number)

    def piece(self, number: int, place: int, num_pieces: int) -> Batch:
        """Return one of some pieces, nearly of one size, of batch `number`; no other is read."""
        items = self.order[number]
        ends = (len(items) * (place + end) // num_pieces for end in (0, 1))
        return self.recordings.fetch(items[slice(*ends)], number)

    def silenced(self) -> "Stream":
        """Return the same stream without audio, for features that need none."""
        recordings = copy.copy(self.recordings)
        recordings.silent = True
        return Stream(recordings, self.order)

    def batches(self, start: int, stop: int, *, num_workers: int = 0) -> Iterator[Batch]:
        """Yield batches start ... stop - 1, decoded by `num_workers` other processes if any."""
        if num_workers == 0:
            yield from (self[number] for number in range(start, stop))
            return
        yield from workers.load(self, range(start, stop), num_workers=num_workers)


class MixedEpoch(Dataset[Any]):
    """One epoch as s3prl's Runner takes it: emotion and speaker utterances in one batch.

    Item i is (wavs, emotion labels, speaker labels, ids); the label of the other role is -1.

    Args:
        emotion: The emotion stream.
        speaker: The speaker stream, or None with strategy none.
        epoch: Which epoch of the emotion stream.
        accumulate: Emotion batches per optimiser step. A speaker batch is for one such step: it is
            spread over them in as many pieces.
    """

    def __init__(
        self, emotion: Stream, speaker: Stream | None, epoch: int, *, accumulate: int = 1
    ) -> None:
        self._emotion, self._speaker = emotion, speaker
        self._accumulate = accumulate
        self._start = epoch * len(emotion.order)

    def __len__(self) -> int:
        return len(self._emotion.order)

    def __getitem__(self, index: int) -> tuple[list[Any], list[Any], list[int], list[str]]:
        """Return batch `index` of the epoch."""
        if index >= len(self):
            raise IndexError(index)
        first = self._emotion[self._start + index]
        none = [-1] * len(first.ids)
        if self._speaker is None:
            return first.wavs, first.labels, none, first.ids
        step, place = divmod(self._start + index, self._accumulate)
        second = self._speaker.piece(step, place, self._accumulate)
        return (
            first.wavs + second.wavs,
            first.labels + [-1] * len(second.ids),
            none + second.labels,
            first.ids + second.ids,
        )
