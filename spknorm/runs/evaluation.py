"""Predictions of dev and test, the same whatever the number of processes.

Used by `engine.py`. Each process takes a run of consecutive batches; predictions are then summed
into one vector.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from spknorm.batches import Batch, Stream
from spknorm.batches.seeds import seeded
from spknorm.config.memory import once_more
from spknorm.errors import NonFiniteError
from spknorm.features.sources import Source
from spknorm.method.optim.precision import autocast
from spknorm.method.optim.world import World
from spknorm.statistics.metrics import nonfinite_message
from spknorm.statistics.targets import Classes, Target


class Evaluation(NamedTuple):
    """What the model says of a split.

    Attributes:
        scores: WA, UA and the rest, or CCC.
        loss: Mean emotion loss over batches, as s3prl logs it.
        predicted: (N,) class indices, or (N, D) values, in the split's order.
        truth: Likewise.
    """

    scores: Any
    loss: float
    predicted: list[Any]
    truth: list[Any]


def evaluate(
    stream: Stream,
    *,
    heads: Any,
    source: Source,
    modules: list[nn.Module],
    world: World,
    target: Target,
    precision: str = "fp32",
    ratio: float = 1.0,
    num_workers: int = 0,
    between: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Predict a stream without touching the global generators; training modes are put back.

    The stream is not shuffled; `ratio` is the part of its batches to use, from the first. All
    processes alike call `between` between batches.

    Raises:
        NonFiniteError: The model gives NaN or infinity for some utterances.
    """
    num_batches = round(len(stream.order) * ratio) or 1
    num_items = min(num_batches * stream.order.batch_size, len(stream.recordings))
    start, stop = (num_batches * (world.rank + end) // world.size for end in (0, 1))
    batches = source.batches(stream, start, stop, corpus="evaluation", num_workers=num_workers)
    width = target.width
    predicted, losses = [0.0] * (num_items * width), [0.0] * num_batches
    computing = autocast(precision, world.device)
    with evaluating(modules), seeded("evaluation", device=world.device), computing:
        for number in range(-(-num_batches // world.size)):
            between()
            batch = next(batches, None)
            if batch is not None:
                told = functools.partial(_predict, batch, heads, source, world, predicted, target)
                losses[start + number] = once_more(told)
    summed = world.sum(predicted)
    utterances = stream.recordings.utterances
    rows = [summed[place * width : (place + 1) * width] for place in range(num_items)]
    bad = [utterances[place].id for place, row in enumerate(rows) if any(map(math.isnan, row))]
    if bad:  # all processes see it, and none waits for another
        raise NonFiniteError(nonfinite_message(bad))
    guesses = [round(row[0]) for row in rows] if isinstance(target, Classes) else rows
    truth = target.truths(stream.recordings.labels[:num_items])
    return Evaluation(
        scores=target.score(target.count(truth, guesses)),
        loss=sum(world.sum(losses)) / num_batches,
        predicted=guesses,
        truth=truth,
    )


@contextlib.contextmanager
def evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Leave gradients out, with modules in evaluation mode; their training modes are put back."""
    training = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.train(mode)


def _predict(
    batch: Batch, heads: Any, source: Source, world: World, predicted: list[float], target: Target
) -> float:
    labels = torch.tensor(batch.labels, device=world.device)
    logits = source.in_parts(batch, heads.emotion_logits, corpus="evaluation")
    prediction = heads.emotion_of(logits, labels)
    finite = prediction.logits.isfinite().all(dim=-1, keepdim=True)
    guesses = target.guesses(prediction.logits).float().reshape(len(batch.ids), -1)
    guesses = guesses.masked_fill(~finite, math.nan).flatten()
    loss, *read = torch.cat([prediction.loss.reshape(1).float(), guesses]).tolist()
    width = target.width
    for place, index in enumerate(batch.indices):
        predicted[index * width : (index + 1) * width] = read[place * width : (place + 1) * width]
    return float(loss)
