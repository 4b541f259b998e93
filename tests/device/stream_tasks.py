"""The streams of the pretended device: what is logged of them, and what of batches is ahead."""

import contextlib
import dataclasses
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import ordering as order_of_streams
import steps
import torch

from spknorm.batches import Batch
from spknorm.errors import DataError
from spknorm.features.ahead import Ahead
from spknorm.features.sources import Source


def ordering(
    strategy: str, precision: str, slow: bool, steps_done: int, left_out: str = ""
) -> dict[str, Any]:
    """Return what the log of some steps comes to, by ordering.py.

    Args:
        strategy, precision, steps_done: Of the steps.
        slow: Nothing is over on the device before the host waits for it.
        left_out: `wait_stream` or `record_stream`: is not done.
    """
    sections = steps.sections(
        strategy=strategy, update="relative", precision=precision, base=steps.ONE_BATCH
    )
    made = steps.Setup("tiny", steps.settings(**sections))
    steps.device.slow = int(slow)
    with _without(left_out), _watched() as found:
        for _ in range(steps_done):
            made.step(steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50))
    assert made.counters.step == steps_done
    return found


def copied_ahead(left_out: str = "") -> dict[str, Any]:
    """Return the same of batches that are copied ahead and read, where the host never waits."""
    batches = itertools.repeat(steps.batch([0.5, 0.8]))
    source = Source(lambda wavs: list(wavs), device=torch.device("cuda"))
    ahead = Ahead({"emotion": (batches, 1)}, source, torch.device("cuda"))
    with _without(left_out), _watched() as found:
        for _ in range(4):
            [[batch]] = ahead.take()
            torch.cat(source(batch, corpus="emotion")).sum()
            ahead.send()
            del batch
    return found


def trouble_ahead() -> dict[str, Any]:
    """Return what is there of batches that are copied ahead, whatever goes wrong then."""

    def batches() -> Iterator[Batch]:
        for _ in range(6):
            yield steps.batch([0.5, 0.8])
        raise DataError("cannot be read: u2.wav")

    source = Source(lambda wavs: list(wavs), device=torch.device("cuda"))
    ahead = Ahead({"emotion": (batches(), 1)}, source, torch.device("cuda"))
    found: dict[str, Any] = {"copied": []}

    def next_one() -> int:
        [taken] = ahead.take()
        return len(taken[0].there)

    assert next_one() == 0  # of the first step nobody knew
    for _ in range(2):
        ahead.send()
        found["copied"].append(next_one())
    torch.cuda.empty_cache()
    steps.reset()
    steps.device.fail_at = steps.device.again = 1  # and the allocator's second attempt
    ahead.send()
    found["memory ran out"] = [next_one()]
    ahead.send()
    found["then again"] = [next_one()]
    ahead.send()
    ahead.drop()
    found["let go"] = [next_one()]
    held = torch.cuda.memory_allocated()
    found["held by a step that ran out"] = held
    ahead.send()
    try:
        ahead.take()
    except DataError as error:
        found["unreadable"] = str(error)
    return found


@contextlib.contextmanager
def _watched() -> Iterator[dict[str, Any]]:
    """Yield what will be told of the streams when this is left."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        with order_of_streams.Watch(Path(name) / "log"):
            yield found
        told = order_of_streams.examined(Path(name) / "log")
        found.update(dataclasses.asdict(told))


def _without(left_out: str) -> Any:
    """Return a context in which a method of torch does nothing."""
    owners = {"wait_stream": torch.cuda.Stream, "record_stream": torch.Tensor}
    if not left_out:
        return contextlib.nullcontext()
    return mock.patch.object(owners[left_out], left_out, lambda *_: None)
