"""When the ascent may go on: the ceiling, watched on utterances that train no head.

Used by `iteration.py` before each step. The loss of one training batch is noisy, and low when the
head knows its batches by heart; what is watched is the running mean over held-out batches, and
between pausing and going on lies a tenth, so that noise around log K flips nothing. And what the
head trains on alone when an ascent has left it behind.
"""

import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from spknorm.batches import Batch
from spknorm.batches.parts import evenly, pick
from spknorm.batches.shipping import ship
from spknorm.config.memory import once_more, or_else
from spknorm.features.sources import Source
from spknorm.method.optim.precision import autocast, precision_of
from spknorm.method.optim.world import World
from spknorm.runs.evaluation import evaluating
from spknorm.runs.state import Counters
from spknorm.schema import SpeakerCorpusConfig, TaskConfig

GOES_ON_BELOW = 0.9
"""Of the ceiling: where a paused ascent goes on."""
_MEMORY = 8
"""Batches in the running mean: it moves an eighth of the way to each new loss."""
_HIGHEST = 10.0
"""In units of log K: a loss above it, or one that is not finite, counts as this."""


def pauses(loss: float, *, limit: float, paused: bool) -> bool:
    """Return whether the ascent pauses, given a running loss and whether it was paused before.

    Args:
        loss: Of the speaker head.
        limit: ceiling * log K.
        paused: A paused ascent goes on below `GOES_ON_BELOW * limit`, another pauses above `limit`.
    """
    return loss >= GOES_ON_BELOW * limit if paused else loss > limit


class SpeakerSide:
    """Evaluates the speaker head on held-out batches and says whether anything may ascend.

    Where a corpus has no utterance to spare, the running training loss is watched instead. It also
    has the batches on which the head catches up.
    """

    def __init__(
        self,
        expert: Any,
        source: Source,
        modules: Sequence[nn.Module],
        world: World,
        *,
        settings: TaskConfig,
        counters: Counters,
        say: Callable[[str], None],
    ) -> None:
        method = settings.downstream_expert.spknorm
        self._heads, self._source, self._modules, self._world = expert.heads, source, modules, world
        self._log_k = math.log(max(2, expert.num_speakers))
        self._every = method.held_out_every
        self._corpus: SpeakerCorpusConfig = settings.downstream_expert.speaker_corpus
        # Of permuted labels nothing held out can be known: the control would only ever pause.
        ceiling = None if self._corpus.shuffle_labels else method.ceiling
        self._limit = math.inf if ceiling is None else ceiling * self._log_k
        self._streams = expert.streams
        self._stream = expert.streams.held_out(world.rank, world.size)
        self._precision = precision_of(settings.runner, world.device)
        self._counters, self._say = counters, say

    def ascends(self) -> bool:
        """Return whether the ascent may go on at step `counters.step`; look first if it is time."""
        counters = self._counters
        if self._stream is None:
            loss = counters.speaker_loss
        else:
            number, rest = divmod(counters.step, self._every)
            if rest == 0:
                self._look(number)
            loss = counters.held_out_loss
        if loss is not None:
            before = counters.ascent_paused
            counters.ascent_paused = pauses(loss, limit=self._limit, paused=before)
            if counters.ascent_paused != before:
                self._tell(loss)
        return not counters.ascent_paused

    def catches_up_on(self) -> list[Batch]:
        """Return the batch for `speaker_catch_up`, if the last ascent left the head behind."""
        if not self._counters.behind:
            return []
        batch = next(self._further)
        self._counters.caught_up += 1
        return [batch]

    @functools.cached_property
    def _further(self) -> Iterator[Batch]:
        """Those that the head has not had."""
        stream = self._streams.speaker(self._world.rank, self._world.size, catching_up=True)
        start = self._counters.caught_up
        return self._source.batches(stream, start, sys.maxsize, corpus="speaker", num_workers=0)

    def _look(self, number: int) -> None:
        """Take held-out batch `number` into the running means."""
        counters = self._counters
        found = self._evaluate(number)
        if found is None:
            self._say(
                f"out of memory at step {counters.step + 1}: held-out speaker batch {number} was "
                "left out; lower speaker_corpus.micro_batch_size"
            )
            return
        loss, accuracy = found
        highest = _HIGHEST * self._log_k
        loss = min(loss, highest) if math.isfinite(loss) else highest
        if counters.held_out_loss is None or counters.held_out_accuracy is None:
            counters.held_out_loss, counters.held_out_accuracy = loss, accuracy
        else:
            counters.held_out_loss += (loss - counters.held_out_loss) / _MEMORY
            counters.held_out_accuracy += (accuracy - counters.held_out_accuracy) / _MEMORY
        lowest = counters.held_out_lowest
        now = counters.held_out_loss
        counters.held_out_lowest = now if lowest is None else min(lowest, now)

    def _evaluate(self, number: int) -> tuple[float, float] | None:
        """Return mean loss and accuracy over held-out batch `number`; None if memory is short."""
        assert self._stream is not None
        (batch,) = self._source.batches(
            self._stream, number, number + 1, corpus="speaker", num_workers=0
        )
        sums = or_else(lambda: (*self._sums(batch), 0.0), lambda: (0.0, 0.0, 1.0))
        loss, hits, short, size = self._world.sum([*sums, float(len(batch.ids))])
        return None if short else (loss / size, hits / size)

    def _sums(self, batch: Batch) -> tuple[float, float]:
        loss = hits = 0.0
        with evaluating(self._modules), autocast(self._precision, self._world.device):
            for piece in in_pieces(batch, self._corpus):
                if piece.ids:
                    told = once_more(functools.partial(self._told, piece))
                    loss, hits = loss + told[0], hits + told[1]
        return loss, hits

    def _told(self, piece: Batch) -> list[float]:
        """Return loss and hits of a piece, read at once."""
        found = self._source.in_parts(piece, self._heads.speaker_logits, corpus="speaker")
        logits = found.float()
        (labels,) = ship([torch.tensor(piece.labels)], logits.device)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        hits = (logits.argmax(dim=-1) == labels).sum()
        told: list[float] = torch.stack([loss, hits.to(loss.dtype)]).tolist()
        return told

    def _tell(self, loss: float) -> None:
        paused, limit = self._counters.ascent_paused, self._limit
        what = "pauses" if paused else "goes on"
        side = f"above {limit:.3g}" if paused else f"below {GOES_ON_BELOW * limit:.3g}"
        known = "training" if self._stream is None else "held-out"
        self._say(
            f"the ascent {what} at step {self._counters.step}: the {known} speaker loss is "
            f"{loss:.3g}, {side} (a guess has {self._log_k:.3g})"
        )


def in_pieces(batch: Batch, corpus: SpeakerCorpusConfig) -> list[Batch]:
    """Return a speaker batch in the pieces, of nearly the same size, that pass the upstream."""
    size = corpus.micro_batch_size or corpus.batch_size
    return [pick(batch, places) for places in evenly(range(len(batch.ids)), size)]
