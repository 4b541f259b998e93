"""The two passes of an iteration: each computes a loss over micro-batches and leaves gradients.

Emotion and speaker batches go through the upstream separately, so neither is padded to the other.
`updates.Update` calls the passes; losses and hits are gathered in a tally on the way.

Legend: N utterances of a micro-batch over all processes.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from spknorm.batches import Batch
from spknorm.batches.shipping import ship
from spknorm.config.device import computes_in_bf16
from spknorm.errors import ConfigError
from spknorm.method.adversaries import Prediction
from spknorm.method.model import Heads
from spknorm.method.optim.lists import read
from spknorm.method.optim.transaction import ShortOfMemoryError, is_out_of_memory
from spknorm.runner.distributed import World
from spknorm.runner.sources import Source
from spknorm.schema import RunnerConfig
from spknorm.statistics.targets import Target

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def precision_of(run: RunnerConfig, device: torch.device) -> str:
    """Return fp32, bf16 or fp16: what a run computes in on `device`.

    Raises:
        ConfigError: bf16 was asked for, on a GPU that does not compute in it.
    """
    if run.fp16:
        return "fp16"
    native = device.type == "cuda" and computes_in_bf16(device.index)
    if run.precision == "auto":
        return "bf16" if native else "fp32"
    if run.precision == "bf16" and device.type == "cuda" and not native:
        name = torch.cuda.get_device_name(device)
        raise ConfigError(
            f"`config.runner.precision` is bf16, in which {name} does not compute natively: choose "
            "auto, fp32 or fp16."
        )
    return run.precision


def evaluation_precision(run: RunnerConfig, device: torch.device) -> str:
    """Return fp32 or bf16: what dev and test are predicted in.

    A GPU predicts as it trains, unless that is fp16, which overflows where a loss cannot say so;
    the CPU in float32.
    """
    trained = precision_of(run, device)
    return trained if device.type == "cuda" and trained == "bf16" else "fp32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context in which `device` computes in fp32, bf16 or fp16."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, DTYPES[precision])


class Tally:
    """Sums over micro-batches; it is one vector, so that processes and steps just add up.

    Args:
        num_counts: How many numbers the target counts; see spknorm.statistics.targets.
        values: An earlier vector to go on from.
    """

    FIELDS = (
        "emotion_batches",
        "emotion_loss",
        "speaker_batches",
        "speaker_loss",
        "speaker_utterances",
        "speaker_hits",
        "bad",
        "steps",
        "ascents_clipped",
        "ascents_paused",
        "ascents_skipped",
        "shares",
        "ascent_share",
        "angles",
        "ascent_angle",
    )
    """Of micro-batches; from `steps` on, of whole steps: counts, and sums of what was measured."""

    def __init__(self, num_counts: int, values: Sequence[float] = ()) -> None:
        size = len(self.FIELDS) + num_counts
        self.values = np.array(values if len(values) == size else [0.0] * size)

    def add(self, name: str, value: float) -> None:
        """Add to one of `FIELDS`."""
        self.values[self.FIELDS.index(name)] += value

    def add_counts(self, counts: npt.NDArray[np.float64]) -> None:
        """Add what the target counted of some emotion predictions."""
        self.values[len(self.FIELDS) :] += counts

    def __getitem__(self, name: str) -> float:
        """Return one of `FIELDS`."""
        return float(self.values[self.FIELDS.index(name)])

    def mean(self, of: str, over: str) -> float | None:
        """Return a sum over a count; None if nothing was counted."""
        return self[of] / self[over] if self[over] else None

    @property
    def counts(self) -> npt.NDArray[np.float64]:
        """What the target counted."""
        return self.values[len(self.FIELDS) :]


class _Done(NamedTuple):
    """A micro-batch that has been backward: loss (scalar) and guesses (B, ...) on the device."""

    kind: str
    batch: Batch
    loss: Tensor
    guesses: Tensor
    share: float | None


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
    ) -> None:
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
        self._short: BaseException | None = None

    def finish(self) -> None:
        """Fill the tally; all losses and guesses are read in one copy."""
        wanted = [tensor for done in self._done for tensor in (done.loss, done.guesses)]
        values = iter(read(wanted))
        for kind, batch, _, _, share in self._done:
            value, predicted = next(values), next(values)
            if not math.isfinite(value):
                self.bad_ids += batch.ids
                self.tally.add("bad", 1)
                continue
            self.tally.add(f"{kind}_loss", value)
            self.tally.add(f"{kind}_batches", 1.0 if share is None else share)
            if kind == "emotion":
                truths = self._target.truths(batch.labels)
                self.tally.add_counts(self._target.count(truths, predicted))
                continue
            hits = sum(one == other for one, other in zip(predicted, batch.labels, strict=True))
            self.tally.add("speaker_utterances", len(predicted))
            self.tally.add("speaker_hits", hits)
        self._done = []

    def emotion(self, batches: Sequence[Batch]) -> None:
        """Leave the gradients of l_er (equations 1, 2)."""
        for batch in batches:
            self._run("emotion", batch, self._emotion, self._share(batch), each=self._accumulate)
        if not self._one_stage:
            self._sum()

    def speaker(self, batches: Sequence[Batch], coefficient: float) -> None:
        """Leave the gradients of l_id (equations 3, 4), `coefficient` times reversed below.

        Only TAP with something to ascend builds a graph through the upstream.

        Args:
            batches: Pieces of one batch; the loss is the mean over its utterances.
            coefficient: 0 or more.
        """
        (total,) = self._world.sum([float(sum(len(batch.ids) for batch in batches))])
        predict = functools.partial(self._speaker, coefficient=coefficient)
        for batch in batches:
            self._run("speaker", batch, predict, len(batch.ids) / total)
        self._sum()

    def _emotion(self, batch: Batch, labels: Tensor) -> Prediction:
        with self._autocast():
            return self._heads.emotion(self._source(batch, corpus="emotion"), labels)

    def _speaker(self, batch: Batch, labels: Tensor, *, coefficient: float) -> Prediction:
        through_upstream = self._heads.strategy == "TAP" and coefficient > 0
        with self._autocast(), torch.set_grad_enabled(through_upstream):
            features = self._source(batch, corpus="speaker")
        with self._autocast():
            return self._heads.speaker(features, labels, coefficient=coefficient)

    def _run(
        self,
        kind: str,
        batch: Batch,
        predict: Callable[[Batch, Tensor], Prediction],
        share: float | None,
        *,
        each: int = 1,
    ) -> None:
        """Go forward and backward; out of memory beside other processes, only remember it."""
        if not batch.ids or self._short is not None:
            return
        try:
            labels = ship([torch.tensor(batch.labels)], self._world.device)[0]
            self._backward(kind, batch, predict(batch, labels), share, passes=each)
        except (RuntimeError, MemoryError) as error:
            if self._world.size == 1 or not is_out_of_memory(error):
                raise
            self._short = error.with_traceback(None)  # which would hold on to memory

    def _sum(self) -> None:
        """Sum gradients over all processes, unless memory was short in one of them.

        Raises:
            ShortOfMemoryError: In all processes alike.
        """
        if self._world.largest(int(self._short is not None)):
            raise ShortOfMemoryError(str(self._short or "in another process")) from self._short
        self._world.sum_gradients(self._parameters)

    def _share(self, batch: Batch) -> float | None:
        """Return this process's part of a micro-batch's utterances; None if it is alone."""
        if self._world.size == 1:
            return None
        (total,) = self._world.sum([len(batch.ids)])
        return len(batch.ids) / total

    def _backward(
        self,
        kind: str,
        batch: Batch,
        prediction: Prediction,
        share: float | None,
        *,
        passes: int = 1,
    ) -> None:
        loss = prediction.loss if share is None else prediction.loss * share
        value, logits = loss.detach(), prediction.logits.detach()
        guesses = logits.argmax(dim=-1) if kind == "speaker" else self._target.guesses(logits)
        self._done.append(_Done(kind, batch, value, guesses, share))
        # A loss that is not finite may have a finite gradient: it must not get through.
        poison = value.mul(0.0).add(1.0)  # 1, or NaN
        self._scaler.scale(loss * poison / passes).backward()  # type: ignore[no-untyped-call]

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        return autocast(self._precision, self._world.device)
