"""Where features come from: the upstream itself, or what it said once if it is frozen.

Last in this room, for the passes; a source is a function of a batch and the name of its corpus.
"""

import math
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from spknorm.batches import Batch, Stream
from spknorm.batches.shipping import ship
from spknorm.method.optim.world import World
from spknorm.schema import TaskConfig
from spknorm.upstreams.fast import Encoder, PackedEncoder

_SAMPLES_PER_FRAME = 320


class Source(Protocol):
    """Gives the features of a batch."""

    def __call__(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return (T_i, H) per utterance.

        `corpus` is emotion, speaker or, where emotions are predicted, evaluation.
        """
        ...

    def batches(
        self, stream: Stream, start: int, stop: int, *, corpus: str, num_workers: int
    ) -> Iterator[Batch]:
        """Yield batches start ... stop - 1 of a stream, with audio where it is needed."""
        ...

    def inputs(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return what of each utterance goes to the device, of one type; [] if that is little."""
        ...

    def sizes(self, batch: Batch, *, corpus: str) -> list[int]:
        """Return about how many frames each utterance has, by which memory is shared out."""
        ...

    @property
    def frame_bytes(self) -> float:
        """Of the activations that a frame leaves for the backward pass, about."""
        ...

    @property
    def packed(self) -> bool:
        """Whether an utterance's features do not depend on what else is in its batch."""
        ...

    @property
    def recomputable(self) -> bool:
        """Whether `recompute` can save memory."""
        ...

    def recompute(self) -> None:
        """Recompute activations in the backward pass from now on."""
        ...

    @property
    def encoder(self) -> PackedEncoder | None:
        """What runs the upstream, where it is run and without padding."""
        ...


class UpstreamSource:
    """Runs the upstream and what reads it.

    Args:
        encode: From waveforms to features; see spknorm.upstreams.fast.
        device: Where it computes.
    """

    def __init__(self, encode: Encoder, *, device: torch.device) -> None:
        self._encode, self._device = encode, device

    def __call__(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return (T_i, H) per utterance."""
        return self._encode(batch.there or ship(self.inputs(batch, corpus=corpus), self._device))

    def inputs(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return waveforms (L_i,)."""
        return [torch.as_tensor(wav, dtype=torch.float32) for wav in batch.wavs]

    def batches(
        self, stream: Stream, start: int, stop: int, *, corpus: str, num_workers: int
    ) -> Iterator[Batch]:
        """Yield batches with their audio."""
        return stream.batches(start, stop, num_workers=num_workers)

    def sizes(self, batch: Batch, *, corpus: str) -> list[int]:
        """Return about how many frames each utterance has."""
        return [1 + len(wav) // _SAMPLES_PER_FRAME for wav in batch.wavs]

    @property
    def frame_bytes(self) -> float:
        """Of the activations that a frame leaves; without bound where that is not known."""
        return self._encode.frame_bytes if isinstance(self._encode, PackedEncoder) else math.inf

    @property
    def packed(self) -> bool:
        """Whether utterances are run without padding."""
        return isinstance(self._encode, PackedEncoder)

    @property
    def recomputable(self) -> bool:
        """Whether the encoder can recompute what it does not yet."""
        return isinstance(self._encode, PackedEncoder) and not self._encode.recomputes

    def recompute(self) -> None:
        """Recompute activations in the backward pass from now on."""
        if isinstance(self._encode, PackedEncoder):
            self._encode.recomputes = True

    @property
    def encoder(self) -> PackedEncoder | None:
        """What runs the upstream without padding, if anything does."""
        return self._encode if isinstance(self._encode, PackedEncoder) else None


class CachedSource:
    """Looks up what a frozen upstream, or the frozen front end of one, said; no audio is read.

    Batches with audio are computed, those without are looked up: a corpus that the cache does not
    hold gives the same features, later.

    Args:
        cache: FrozenFeatures or FrontEnds of spknorm.features.
        names: How the cache calls each corpus that it holds.
        otherwise: The source of all others.
    """

    def __init__(self, cache: Any, names: Mapping[str, str], otherwise: UpstreamSource) -> None:
        self._cache, self._names, self._otherwise = cache, dict(names), otherwise

    def holds(self, corpus: str) -> bool:
        """Return whether a corpus is looked up."""
        return corpus in self._names

    def __call__(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return (T_i, H) per utterance, T_i = 1 where the mean over time is all that is kept."""
        if batch.wavs or corpus not in self._names:
            return self._otherwise(batch, corpus=corpus)
        name, there = self._names[corpus], batch.there
        features: list[Tensor] = self._cache.features(name, batch.ids, there)
        return features

    def inputs(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return what is kept of each utterance, or its waveform."""
        if batch.wavs or corpus not in self._names:
            return self._otherwise.inputs(batch, corpus=corpus)
        stored: list[Tensor] = self._cache.stored(self._names[corpus], batch.ids)
        return stored

    def sizes(self, batch: Batch, *, corpus: str) -> list[int]:
        """Return about how many frames each utterance has."""
        if batch.wavs or corpus not in self._names:
            return self._otherwise.sizes(batch, corpus=corpus)
        sizes: list[int] = self._cache.sizes(self._names[corpus], batch.ids)
        return sizes

    @property
    def frame_bytes(self) -> float:
        """Of the activations that a frame leaves for the backward pass."""
        return self._otherwise.frame_bytes

    @property
    def packed(self) -> bool:
        """Whether utterances are run without padding: what is cached always is."""
        return True

    @property
    def recomputable(self) -> bool:
        """Whether the encoder can recompute what it does not yet."""
        return self._otherwise.recomputable

    def recompute(self) -> None:
        """Recompute activations in the backward pass from now on."""
        self._otherwise.recompute()

    @property
    def encoder(self) -> PackedEncoder | None:
        """What runs the upstream where it is not looked up."""
        return self._otherwise.encoder

    def batches(
        self, stream: Stream, start: int, stop: int, *, corpus: str, num_workers: int
    ) -> Iterator[Batch]:
        """Yield batches, without audio where the cache holds all of the stream."""
        ids = (utterance.id for utterance in stream.recordings.utterances)
        if corpus in self._names and self._cache.holds(self._names[corpus], ids):
            yield from stream.silenced().batches(start, stop)
            return
        yield from self._otherwise.batches(
            stream, start, stop, corpus=corpus, num_workers=num_workers
        )


def training_batches(
    expert: Any, source: Source, world: World, *, settings: TaskConfig, step: int
) -> tuple[Generator[Batch, None, None], Generator[Batch, None, None]]:
    """Return this process's emotion and speaker micro-batches from optimiser step `step` on.

    Closing them ends the processes that read for them.

    Step s has the emotion micro-batches s*A ... s*A+A-1 (A = gradient_accumulate_steps), and
    `speaker_steps` speaker batches; without a speaker head there are none of these.
    """
    run, data = settings.runner, settings.downstream_expert.datarc

    def batches(stream: Stream, corpus: str, times: int) -> Generator[Batch, None, None]:
        start, stop = step * times, run.total_steps * times
        yield from source.batches(stream, start, stop, corpus=corpus, num_workers=data.num_workers)

    stream = expert.streams.emotion(world.rank, world.size)
    emotion = batches(stream, "emotion", run.gradient_accumulate_steps)
    if expert.heads.speaker_head is None:
        nothing: tuple[Batch, ...] = ()
        return emotion, (batch for batch in nothing)
    stream = expert.streams.speaker(world.rank, world.size)
    times = settings.downstream_expert.spknorm.speaker_steps
    return emotion, batches(stream, "speaker", times)
