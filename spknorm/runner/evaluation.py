"""Predictions of dev and test, the same whatever the number of processes.

Used by `engine.py`. Each process takes a run of consecutive batches; predictions are then summed
into one vector.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from spknorm.batches import Batch, Stream
from spknorm.errors import NonFiniteError
from spknorm.runner.distributed import World
from spknorm.runner.passes import autocast
from spknorm.runner.seeds import seeded
from spknorm.runner.sources import Source
from spknorm.statistics.metrics import Scores, nonfinite_message, score


class Evaluation(NamedTuple):
    """What the model says of a split.

    Attributes:
        scores: WA, UA and the rest.
        loss: Mean emotion loss over batches, as s3prl logs it.
        predicted: (N,) class indices in the split's order.
        truth: (N,) likewise.
        ids: (N,) utterances.
    """

    scores: Scores
    loss: float
    predicted: list[int]
    truth: list[int]
    ids: list[str]


def evaluate(
    stream: Stream,
    *,
    heads: Any,
    source: Source,
    modules: list[nn.Module],
    world: World,
    num_emotions: int,
    precision: str = "fp32",
    ratio: float = 1.0,
    num_workers: int = 0,
    between: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Predict a stream without touching the global generators; training modes are put back.

    Args:
        stream: Not shuffled.
        heads: Gate and heads.
        source: Gives features.
        modules: What is in training mode otherwise.
        world: Processes that share the batches.
        num_emotions: C.
        precision: fp32, bf16 or fp16: what it is computed in.
        ratio: Part of the batches to use, from the first.
        num_workers: Processes that decode audio.
        between: Called between batches, by all processes alike.

    Raises:
        NonFiniteError: The model gives NaN or infinity for some utterances.
    """
    num_batches = round(len(stream.order) * ratio) or 1
    num_items = min(num_batches * stream.order.batch_size, len(stream.recordings))
    start, stop = (num_batches * (world.rank + end) // world.size for end in (0, 1))
    batches = source.batches(stream, start, stop, corpus="evaluation", num_workers=num_workers)
    predicted, losses = [0.0] * num_items, [0.0] * num_batches
    computing = autocast(precision, world.device)
    with evaluating(modules), seeded("evaluation", device=world.device), computing:
        for number in range(-(-num_batches // world.size)):
            between()
            batch = next(batches, None)
            if batch is not None:
                losses[start + number] = _predict(batch, heads, source, world, predicted)
    summed = world.sum(predicted)
    utterances = stream.recordings.utterances
    bad = [utterances[place].id for place, value in enumerate(summed) if math.isnan(value)]
    if bad:  # all processes see it, and none waits for another
        raise NonFiniteError(nonfinite_message(bad))
    guesses = [round(value) for value in summed]
    truth = stream.recordings.labels[:num_items]
    return Evaluation(
        scores=score(truth, guesses, num_emotions),
        loss=sum(world.sum(losses)) / num_batches,
        predicted=guesses,
        truth=truth,
        ids=[utterance.id for utterance in stream.recordings.utterances[:num_items]],
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
    batch: Batch, heads: Any, source: Source, world: World, predicted: list[float]
) -> float:
    features = source(batch, corpus="evaluation")
    labels = torch.tensor(batch.labels, device=world.device)
    prediction = heads.emotion(features, labels)
    finite = prediction.logits.isfinite().all(dim=-1)
    guesses = prediction.logits.argmax(dim=-1).float().masked_fill(~finite, math.nan)
    loss, *read = torch.cat([prediction.loss.reshape(1).float(), guesses]).tolist()
    for place, guess in zip(batch.indices, read, strict=True):
        predicted[place] = guess
    return float(loss)
