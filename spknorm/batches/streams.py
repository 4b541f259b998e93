"""The streams of a run: emotions to train on and to evaluate, speakers to train on and held out.

After `task.py`, whose data they draw from; the expert hands them to s3prl's Runner and to ours.
"""

from collections.abc import Sequence
from typing import Any, Literal

from spknorm.audio import read_info
from spknorm.batches import Order, Recordings, Stream
from spknorm.batches.task import TaskData
from spknorm.corpora.records import Utterance
from spknorm.schema import SpeakerCorpusConfig, TaskConfig

_SPEAKER_SEED = 1_000_003
"""Added to the seed of the speaker stream, so that the two streams are shuffled independently."""
_CATCH_UP_SEED = 2_000_003
"""Likewise of the batches on which the speaker head catches up."""


class Streams:
    """Where a run's batches come from; each process of a world asks for its own share.

    Args:
        data: What the task trains on.
        config: The whole configuration.
        seed: Of the run.
        frozen: Whether the upstream is, which decides how speaker utterances are cropped.
    """

    def __init__(
        self, data: TaskData, config: TaskConfig, *, seed: int, frozen: bool = False
    ) -> None:
        self._data, self._config, self._seed, self._frozen = data, config, seed, frozen
        self._speakers = config.downstream_expert.speaker_corpus

    def emotion(self, rank: int = 0, world: int = 1) -> Stream:
        """Return the emotion corpus' endless shuffled stream."""
        train, lengths = self._data.split.train, None
        if self._config.upstream.bucket:
            lengths = [read_info(utterance.audio).seconds for utterance in train]
        size = self._config.downstream_expert.datarc.train_batch_size
        order = Order(
            len(train), batch_size=size, seed=self._seed, rank=rank, world=world, lengths=lengths
        )
        return self._of_emotions("train", order)

    def evaluation(self, part: str) -> Stream:
        """Return `dev` or `test` (or `train`) in the corpus' order."""
        size = self._config.downstream_expert.datarc.eval_batch_size
        order = Order(len(getattr(self._data.split, part)), batch_size=size, shuffle=False)
        return self._of_emotions(part, order)

    def speaker(self, rank: int = 0, world: int = 1, *, catching_up: bool = False) -> Stream | None:
        """Return the endless shuffled stream of the speaker corpus; None with strategy none.

        That of the batches for `speaker_catch_up` is in an order of its own.
        """
        if not self._data.speakers:
            return None
        labels = self._data.speaker_labels
        return self._of_speakers(
            self._data.speaker_utterances,
            labels,
            batch_size=self._speakers.batch_size,
            drop_last=True,
            classes=labels if self._speakers.balanced else None,
            rank=rank,
            world=world,
            seed=_CATCH_UP_SEED if catching_up else _SPEAKER_SEED,
        )

    def held_out(self, rank: int = 0, world: int = 1) -> Stream | None:
        """Return the endless stream of held-out speaker utterances, evenly over speakers, or None.

        They are in no training batch.
        """
        utterances, labels, _ = self._data.held_out
        if not utterances:
            return None
        size = min(self._speakers.batch_size, len(utterances))
        return self._of_speakers(
            utterances, labels, batch_size=size, classes=labels, rank=rank, world=world
        )

    @property
    def crops(self) -> str | None:
        """How speaker utterances are cropped, as result.json keeps it; None: there are none."""
        return crops_of(self._speakers, frozen=self._frozen) if self._data.speakers else None

    def _of_emotions(self, part: str, order: Order) -> Stream:
        """Return a part in an order, labelled by what the head predicts."""
        utterances, labels = getattr(self._data.split, part), self._data.emotion.labels_of(part)
        pre_load = self._config.downstream_expert.datarc.pre_load
        return Stream(Recordings(utterances, labels, pre_load=pre_load), order)

    def _of_speakers(
        self,
        utterances: Sequence[Utterance],
        labels: Sequence[int],
        *,
        seed: int = _SPEAKER_SEED,
        **order: Any,
    ) -> Stream:
        """Return crops of speaker utterances in an order; the run's own seed is added."""
        seed += self._seed
        recordings = Recordings(
            utterances,
            labels,
            max_seconds=self._speakers.max_seconds,
            fixed_crops=crops_of(self._speakers, frozen=self._frozen) == "fixed",
            seed=seed,
        )
        return Stream(recordings, Order(len(recordings), seed=seed, **order))


def crops_of(config: SpeakerCorpusConfig, *, frozen: bool) -> Literal["fixed", "drawn"] | None:
    """Return how speaker utterances are cropped on a frozen or trained upstream; None: not."""
    if config.max_seconds is None:
        return None
    if config.crops != "auto":
        return config.crops
    return "fixed" if frozen else "drawn"
