"""The two passes of an iteration: each computes a loss over micro-batches and leaves gradients.

Emotion and speaker batches go through the upstream separately, so neither is padded to the other.
`updates.Update` calls the passes; losses and hits are gathered in a tally on the way.

Legend: N utterances of a micro-batch over all processes.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.utils.checkpoint import checkpoint

from spknorm.batches import Batch
from spknorm.batches.parts import join, pick
from spknorm.batches.shipping import ship
from spknorm.errors import is_out_of_memory
from spknorm.features.sources import Source
from spknorm.method.adversaries import Prediction
from spknorm.method.model import Heads
from spknorm.method.optim.lists import ask
from spknorm.method.optim.precision import autocast
from spknorm.method.optim.transaction import ShortOfMemoryError
from spknorm.method.optim.world import World
from spknorm.runner.pieces import Pieces
from spknorm.runs.instrument import Tally
from spknorm.statistics.targets import Target


class _Done(NamedTuple):
    """A micro-batch that has been backward: loss (scalar) and guesses (B, ...) on the device."""

    kind: str
    batch: Batch
    loss: Tensor
    guesses: Tensor
    share: float


class Passes:
    """Runs micro-batches forward and backward.

    Args:
        heads: Gate and heads.
        source: Gives features.
        world: The processes that share each micro-batch.
        parameters: Everything that may get a gradient.
        accumulate: Micro-batches per emotion pass; their mean is the loss.
        precision: fp32, bf16 or fp16.
        scaler: Of fp16 losses.
        one_stage: The two passes' gradients are summed before the one step that uses them.
        target: What the emotion head predicts.
        pieces: How much passes the upstream at once.
        speaker_piece: Utterances of a speaker batch that do so where nothing else decides.
    """

    def __init__(
        self,
        heads: Heads,
        source: Source,
        world: World,
        *,
        parameters: Sequence[nn.Parameter],
        accumulate: int,
        precision: str,
        scaler: GradScaler,
        one_stage: bool,
        target: Target,
        pieces: Pieces,
        speaker_piece: int | None,
    ) -> None:
        self._pieces, self._speaker_piece = pieces, speaker_piece
        self._heads, self._source, self._world = heads, source, world
        self._parameters, self._accumulate = parameters, accumulate
        self._precision, self._scaler, self._one_stage = precision, scaler, one_stage
        self._target = target
        self.begin()

    def begin(self) -> None:
        """Start a step: an empty tally, and no utterance whose loss was not finite."""
        self.tally = Tally(self._target.size)
        self.bad_ids: list[str] = []
        self._done: list[_Done] = []
        self._asked: list[Callable[[], list[Any]]] = []
        self._short: BaseException | None = None
        self._heard: list[tuple[Tensor, float]] = []

    def finish(self) -> None:
        """Fill the tally; losses and guesses are one copy of each pass."""
        values = iter([value for asked in self._asked for value in asked()])
        for kind, batch, _, _, share in self._done:
            value, predicted = next(values), next(values)
            if not math.isfinite(value):
                self.bad_ids += batch.ids
                self.tally.add("bad", 1)
                continue
            self.tally.add(f"{kind}_loss", value)
            self.tally.add(f"{kind}_batches", share)
            if kind == "emotion":
                truths = self._target.truths(batch.labels)
                self.tally.add_counts(self._target.count(truths, predicted))
                continue
            hits = sum(one == other for one, other in zip(predicted, batch.labels, strict=True))
            self.tally.add("speaker_utterances", len(predicted))
            self.tally.add("speaker_hits", hits)
        self._done, self._asked = [], []

    def emotion(self, batches: Sequence[Batch]) -> None:
        """Leave the gradients of l_er (equations 1, 2)."""
        totals = self._world.sum([float(len(batch.ids)) for batch in batches])
        pieces = self._pieces.of(batches, corpus="emotion")
        every = join(batches)
        of_batch = [number for number, batch in enumerate(batches) for _ in range(len(batch.ids))]

        def logits_of(piece: Sequence[int]) -> Tensor:
            with self._autocast():
                features = self._source(pick(every, piece), corpus="emotion")
                return self._heads.emotion_logits(features)

        def backward(logits: Tensor, places: Sequence[int]) -> None:
            """Add up the losses of the micro-batches that utterances belong to."""
            labels = self._shipped(pick(every, places))
            losses = []
            for number, part in itertools.groupby(
                range(len(places)), lambda i: of_batch[places[i]]
            ):
                rows = list(part)
                rest = slice(rows[0], rows[-1] + 1)
                with self._autocast():
                    prediction = self._heads.emotion_of(logits[rest], labels[rest])
                own = pick(every, [places[row] for row in rows])
                share = len(rows) / totals[number]
                losses.append(self._counted("emotion", own, prediction, share))
            self._backward(torch.stack(losses).sum() / self._accumulate)

        def run() -> None:
            if self._heads.emotion_loss_adds_up or _are_whole(pieces, of_batch):
                for piece in pieces:
                    ordered = sorted(piece)
                    backward(logits_of(ordered), ordered)
                return
            places = [place for piece in pieces for place in piece]
            logits = torch.cat([self._recomputed(logits_of, piece) for piece in pieces])
            order = torch.tensor(sorted(range(len(places)), key=lambda row: places[row]))
            (back,) = ship([order], logits.device)
            backward(logits.index_select(0, back), sorted(places))

        self._run(run, empty=not every.ids)
        if not self._one_stage:
            self._sum()

    def losses(self) -> Sequence[Tensor]:
        """Return l_er and what the adversary has over its least in the last speaker batch, ()."""
        losses = [done.loss for done in self._done if done.kind == "emotion"]
        excess = [share * self._heads.excess_of(logits) for logits, share in self._heard]
        nothing = torch.zeros((), device=self._world.device)
        both = torch.stack([sum(losses, nothing) / self._accumulate, sum(excess, nothing)])
        self._world.sum_tensors([both])
        return both.unbind()

    def speaker(self, batch: Batch, coefficient: float) -> None:
        """Leave the gradients of l_id (equations 3, 4), `coefficient` times reversed below.

        Only TAP with something to ascend builds a graph through the upstream. The loss is the mean
        over the utterances of the whole batch, whatever the pieces: where the speaker head looks
        at all of them, features are computed, and once more when the loss goes backward.

        Args:
            batch: All of a step's.
            coefficient: 0 or more.
        """
        self._heard = []
        (total,) = self._world.sum([float(len(batch.ids))])
        through = self._heads.strategy == "TAP" and coefficient > 0
        pieces = self._pieces.of([batch], corpus="speaker", usual=self._speaker_piece)

        def pooled_of(piece: Sequence[int]) -> Tensor:
            with self._autocast():
                with torch.set_grad_enabled(through and torch.is_grad_enabled()):
                    features = self._source(pick(batch, piece), corpus="speaker")
                return self._heads.pooled(features)

        def backward(pooled: Tensor, places: Sequence[int]) -> None:
            own = pick(batch, places)
            labels = self._shipped(own)
            with self._autocast():
                prediction = self._heads.speaker_of(pooled, labels, coefficient=coefficient)
            share = len(own.ids) / total
            self._heard.append((prediction.logits.detach(), share))
            self._backward(self._counted("speaker", own, prediction, share))

        def run() -> None:
            if len(pieces) == 1 or self._heads.speaker_loss_adds_up:
                for piece in pieces:
                    backward(pooled_of(piece), piece)
                return
            compute = self._recomputed if through else lambda of, piece: of(piece)
            pooled = torch.cat([compute(pooled_of, piece) for piece in pieces])
            backward(pooled, [place for piece in pieces for place in piece])

        self._run(run, empty=not batch.ids)
        self._sum()

    def _recomputed(
        self, compute: Callable[[Sequence[int]], Tensor], piece: Sequence[int]
    ) -> Tensor:
        """Compute without keeping anything, and once more in the backward pass."""

        def computed(_: Tensor) -> Tensor:
            with self._source.unrecorded():
                return compute(piece)

        anchor = torch.empty(0, device=self._world.device)  # whose random numbers are drawn again
        found: Tensor = checkpoint(computed, anchor, use_reentrant=False, determinism_check="none")
        return found

    def _run(self, run: Callable[[], None], *, empty: bool) -> None:
        """Go forward and backward; out of memory beside other processes, only remember it."""
        if empty or self._short is not None:
            return
        before = len(self._done)
        try:
            run()
            new = [(done.loss, done.guesses) for done in self._done[before:]]
            self._asked.append(ask([tensor for pair in new for tensor in pair]))
        except (RuntimeError, MemoryError) as error:
            if self._world.size == 1 or not is_out_of_memory(error):
                raise
            self._short = error.with_traceback(None)  # which would hold on to memory

    def _shipped(self, batch: Batch) -> Tensor:
        return ship([torch.tensor(batch.labels)], self._world.device)[0]

    def _sum(self) -> None:
        """Sum gradients over all processes, unless memory was short in one of them.

        Raises:
            ShortOfMemoryError: In all processes alike.
        """
        if self._world.largest(int(self._short is not None)):
            raise ShortOfMemoryError(str(self._short or "in another process")) from self._short
        self._world.sum_gradients(self._parameters)

    def _counted(self, kind: str, batch: Batch, prediction: Prediction, share: float) -> Tensor:
        """Return a loss times its share of a batch, and remember what it told."""
        loss = prediction.loss * share
        value, logits = loss.detach(), prediction.logits.detach()
        guesses = logits.argmax(dim=-1) if kind == "speaker" else self._target.guesses(logits)
        self._done.append(_Done(kind, batch, value, guesses, share))
        # A loss that is not finite may have a finite gradient: it must not get through.
        return loss * value.mul(0.0).add(1.0)  # by 1, or by NaN

    def _backward(self, loss: Tensor) -> None:
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        return autocast(self._precision, self._world.device)


def _are_whole(pieces: Sequence[Sequence[int]], of_batch: Sequence[int]) -> bool:
    """Whether no micro-batch lies in more than one piece."""
    seen = [{of_batch[place] for place in piece} for piece in pieces]
    return sum(map(len, seen)) == len(set(of_batch))
