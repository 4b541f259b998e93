"""Where features come from: the upstream itself, or what it said once if it is frozen.

Last in this room, for the passes; a source is a function of a batch and the name of its corpus.
"""

import math
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from spknorm.batches import Batch, Stream
from spknorm.batches.shipping import ship
from spknorm.method.optim.world import World
from spknorm.schema import TaskConfig
from spknorm.upstreams.fast import Encoder, PackedEncoder

_SAMPLES_PER_FRAME = 320


class Source:
    """Gives the features of a batch: runs the upstream and what reads it, or looks them up.

    Batches with audio are computed, those without are looked up: a corpus that the cache does not
    hold gives the same features, later. A corpus is emotion, speaker or, where emotions are
    predicted, evaluation.

    Args:
        encode: From waveforms to features; see spknorm.upstreams.fast.
        device: Where it computes.
        cache: FrozenFeatures or FrontEnds of spknorm.features: what a frozen upstream, or the
            frozen front end of one, said.
        names: How the cache calls each corpus that it holds.
    """

    def __init__(
        self,
        encode: Encoder,
        *,
        device: torch.device,
        cache: Any = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._encode, self._device = encode, device
        self._cache, self._names = cache, dict(names or {})

    @property
    def is_cached(self) -> bool:
        """Whether there is a cache, be it of no corpus."""
        return self._cache is not None

    def holds(self, corpus: str) -> bool:
        """Return whether a corpus is looked up."""
        return corpus in self._names

    def __call__(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return (T_i, H) per utterance, T_i = 1 where the mean over time is all that is kept."""
        if batch.wavs or corpus not in self._names:
            inputs = batch.there or ship(self.inputs(batch, corpus=corpus), self._device)
            return self._encode(inputs)
        found: list[Tensor] = self._cache.features(self._names[corpus], batch.ids, batch.there)
        return found

    def inputs(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return what of each utterance goes to the device, of one type; [] if that is little.

        That is its waveform (L_i,), or what is kept of it.
        """
        if batch.wavs or corpus not in self._names:
            return [torch.as_tensor(wav, dtype=torch.float32) for wav in batch.wavs]
        stored: list[Tensor] = self._cache.stored(self._names[corpus], batch.ids)
        return stored

    def sizes(self, batch: Batch, *, corpus: str) -> list[int]:
        """Return about how many frames each utterance has, by which memory is shared out."""
        if batch.wavs or corpus not in self._names:
            return [1 + len(wav) // _SAMPLES_PER_FRAME for wav in batch.wavs]
        sizes: list[int] = self._cache.sizes(self._names[corpus], batch.ids)
        return sizes

    def batches(
        self, stream: Stream, start: int, stop: int, *, corpus: str, num_workers: int
    ) -> Iterator[Batch]:
        """Yield batches start ... stop - 1 of a stream, without audio if all of it is cached."""
        ids = (utterance.id for utterance in stream.recordings.utterances)
        if corpus in self._names and self._cache.holds(self._names[corpus], ids):
            yield from stream.silenced().batches(start, stop)
        else:
            yield from stream.batches(start, stop, num_workers=num_workers)

    @property
    def encoder(self) -> PackedEncoder | None:
        """What runs the upstream without padding, if anything does."""
        return self._encode if isinstance(self._encode, PackedEncoder) else None

    @property
    def frame_bytes(self) -> float:
        """Of the activations that a frame leaves; without bound where that is not known."""
        return math.inf if self.encoder is None else self.encoder.frame_bytes

    @property
    def packed(self) -> bool:
        """Whether an utterance's features do not depend on what else is in its batch."""
        return self.is_cached or self.encoder is not None

    @property
    def recomputable(self) -> bool:
        """Whether `recompute` can save memory: the encoder does not do it yet."""
        return self.encoder is not None and not self.encoder.recomputes

    def recompute(self) -> None:
        """Recompute activations in the backward pass from now on."""
        if self.encoder is not None:
            self.encoder.recomputes = True


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
