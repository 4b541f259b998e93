"""The batches of each step; a GPU gets the next step's while it computes this one's.

Between `sources.py`, which reads batches, and the runner's `iteration.py`, which has the next ones
sent when all of its first stage is queued and the host is about to wait for the device. They go by
a stream of their own. The step that uses them waits for it on the device, and their memory is given
to nothing else before that step has read it. Elsewhere nothing is read or copied before it is asked
for. Which batch is next is a function of the step's number, so that what is drawn is the same
either way.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch

from spknorm.batches import Batch
from spknorm.batches.shipping import ship
from spknorm.errors import is_out_of_memory
from spknorm.features.sources import Source
from spknorm.method.optim.world import World

Batches = list[list[Batch]]
"""Of one step: the emotion batches, and the speaker batches."""


class Ahead:
    """Reads batches, and on a GPU copies one step's ahead.

    Attributes:
        copies: The next step's batches are copied ahead.

    Args:
        streams: Corpus -> its batches, and how many of them a step takes.
        source: Knows what of a batch goes to the device.
        device: Where steps are computed.
    """

    def __init__(
        self,
        streams: Mapping[str, tuple[Iterator[Batch], int]],
        source: Source,
        device: torch.device,
    ) -> None:
        self._streams, self._source, self._device = dict(streams), source, device
        self.copies = device.type == "cuda"
        self._side: torch.cuda.Stream | None = None
        if self.copies:
            self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._next: Batches | None = None
        self._failure: Exception | None = None

    def take(self) -> Batches:
        """Return the next step's batches.

        Raises:
            Exception: What reading them raised.
        """
        if self._failure is not None:
            raise self._failure
        found, self._next = self._next or self._read(), None
        if self._side is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._side)
        return found

    def send(self) -> None:
        """Read the batches after those taken last, and copy them, where that is done ahead.

        What goes wrong in reading is told when they are taken: this step has nothing to do with it.
        """
        if not self.copies or self._next is not None or self._failure is not None:
            return
        try:
            self._next = self._read()
        except Exception as failure:
            self._failure = failure
            return
        try:
            self._next = [
                self._copied(batches, corpus)
                for batches, corpus in zip(self._next, self._streams, strict=True)
            ]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.drop()  # and this step's are copied when they are needed

    def drop(self) -> None:
        """Let go of the copies; they are made again when their batches are needed."""
        let_go(*(self._next or ()))

    def stop(self, world: World) -> str | None:
        """Copy nothing ahead from now on; return that, None if no process has done so."""
        copied = world.largest(int(self.copies))
        self.copies = False
        return "no batch is copied to the device ahead from now on" if copied else None

    def _read(self) -> Batches:
        return [list(itertools.islice(*stream)) for stream in self._streams.values()]

    def _copied(self, batches: Sequence[Batch], corpus: str) -> list[Batch]:
        """Return batches with what the device reads of them on its way, in one copy."""
        inputs = [self._source.inputs(batch, corpus=corpus) for batch in batches]
        every = list(itertools.chain(*inputs))
        if not every:
            return list(batches)
        assert self._side is not None
        with torch.cuda.stream(self._side):
            there = ship(every, self._device)
        there[0].record_stream(torch.cuda.current_stream(self._device))  # of which all are parts
        ends = list(itertools.accumulate(map(len, inputs), initial=0))
        return [
            batch._replace(there=there[start:stop])
            for batch, (start, stop) in zip(batches, itertools.pairwise(ends), strict=True)
        ]


def let_go(*steps: list[Batch]) -> None:
    """Let nothing of batches be on the device any more, in place: nobody holds on to it."""
    for batches in steps:
        batches[:] = [batch._replace(there=()) for batch in batches]
