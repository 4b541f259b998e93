"""Where features come from: the upstream itself, or what it said once if it is frozen.

Last in this room, for the passes; a source is a function of a batch and the name of its corpus.
"""

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from spknorm.batches import Batch, Stream
from spknorm.batches.parts import pick
from spknorm.batches.shipping import ship
from spknorm.config.memory import in_smaller_parts
from spknorm.features.kept import Kept, Pooled
from spknorm.method.optim.world import World
from spknorm.schema import TaskConfig
from spknorm.upstreams.fast import AloneEncoder, Encoder, PackedEncoder

_SAMPLES_PER_FRAME = 320
Lookup = Kept | Pooled
"""Where features of a corpus are looked up."""


class Source:
    """Gives the features of a batch: runs the upstream and what reads it, or looks them up.

    Batches with audio are computed, those without are looked up: a corpus that the cache does not
    hold gives the same features, later. A corpus is emotion, speaker or, where emotions are
    predicted, evaluation.

    Attributes:
        is_cached: Whether something is kept, be it of no corpus.

    Args:
        encode: From waveforms to features; see spknorm.upstreams.fast.
        device: Where it computes.
        kept: What a frozen upstream, or the frozen front end of one, said of each corpus; None for
            one that may not be kept.
    """

    def __init__(
        self,
        encode: Encoder,
        *,
        device: torch.device,
        kept: Mapping[str, Lookup | None] | None = None,
    ) -> None:
        self._encode, self._device = encode, device
        self.is_cached = kept is not None
        self._kept = {corpus: one for corpus, one in (kept or {}).items() if one is not None}

    def holds(self, corpus: str) -> bool:
        """Return whether a corpus is looked up."""
        return corpus in self._kept

    def __call__(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return (T_i, H) per utterance, T_i = 1 where the mean over time is all that is kept."""
        if not self._computes(batch, corpus):
            return self._kept[corpus].features(batch.ids, batch.there)
        inputs = batch.there or ship(self.inputs(batch, corpus=corpus), self._device)
        return self._encode(inputs or list(map(torch.as_tensor, batch.wavs)))

    def in_parts(
        self, batch: Batch, compute: Callable[[list[Tensor]], Tensor], *, corpus: str
    ) -> Tensor:
        """Return what `compute` makes of features, (B, ...).

        Of fewer utterances at once where memory is short and none hangs on the others, as none does
        in evaluation but among padded ones.
        """

        def part(places: Sequence[int]) -> Tensor:
            few = batch if len(places) == len(batch.ids) else pick(batch, places)
            return compute(self(few, corpus=corpus))

        places, name = range(len(batch.ids)), batch.ids.__getitem__
        if not (self.packed or isinstance(self._encode, AloneEncoder)):
            return part(places)
        return torch.stack(in_smaller_parts(part, places, name=name, device=self._device))

    def inputs(self, batch: Batch, *, corpus: str) -> list[Tensor]:
        """Return what of each utterance goes to the device, of one type; [] if that is little.

        That is its waveform (L_i,), unless the upstream reads that on the host, or what is kept.
        """
        if not self._computes(batch, corpus):
            return self._kept[corpus].stored(batch.ids)
        if isinstance(self._encode, AloneEncoder) and self._encode.reads_on_host:
            return []
        return [torch.as_tensor(wav, dtype=torch.float32) for wav in batch.wavs]

    def sizes(self, batch: Batch, *, corpus: str) -> list[int]:
        """Return about how many frames each utterance has, by which memory is shared out."""
        if not self._computes(batch, corpus):
            return self._kept[corpus].sizes(batch.ids)
        return [1 + len(wav) // _SAMPLES_PER_FRAME for wav in batch.wavs]

    def _computes(self, batch: Batch, corpus: str) -> bool:
        return bool(batch.wavs) or corpus not in self._kept

    def batches(
        self, stream: Stream, start: int, stop: int, *, corpus: str, num_workers: int
    ) -> Iterator[Batch]:
        """Yield batches start ... stop - 1 of a stream, without audio if all of it is cached."""
        ids = (utterance.id for utterance in stream.recordings.utterances)
        kept = self._kept.get(corpus)
        if kept is not None and all(id in kept for id in ids):
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

    @contextlib.contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Compute without recordings: what is computed twice has to go the same way twice."""
        with contextlib.nullcontext() if self.encoder is None else self.encoder.graphs.paused():
            yield

    def let_go_of_graphs(self) -> bool:
        """Record layers as CUDA graphs no more; return whether that gives memory back."""
        return self.encoder is not None and self.encoder.graphs.let_go()

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
