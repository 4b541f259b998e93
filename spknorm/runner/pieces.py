"""How much of a batch passes the upstream at once: a matter of memory, not of the method.

Used by `passes.py`. The CPU takes everything at once as long as that is little. A GPU does until
memory is short; then recordings of layers go, and after them the largest pieces are halved for the
rest of the run. Before they are so small that it waits for the host, activations are recomputed,
before they are smaller still what an iteration keeps of the weights lies in the main memory, and at
last single utterances are left. All but the first of this rides in the run's counters, so that a
resumed run cuts as it did.

Legend: n utterances of a piece, T frames of its longest.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

from spknorm.batches import Batch
from spknorm.batches.parts import evenly
from spknorm.features.sources import Source
from spknorm.method.optim.world import World
from spknorm.runs.state import Counters
from spknorm.schema import RunnerConfig

_LITTLE = 256 * 2**20
"""Bytes of activations below which the CPU takes micro-batches together. It is a constant, so that
a run does not hang on the memory of its machine."""

_ENOUGH, _FEW = 4096, 1024
"""Frames of a piece under which a GPU recomputes rather than cuts, and keeps copies elsewhere: an
H100 computes 7200 of HuBERT Large in the time in which its host asks for them."""


class Pieces:
    """Cuts batches, more finely each time that memory was short.

    Args:
        run: How many utterances at once, or auto.
        source: Knows lengths, and recomputes activations if told to.
        world: The processes of the run.
        counters: Of the run, changed as memory runs out.
        keep_on_host: Puts what an iteration keeps into the main memory from now on.
    """

    def __init__(
        self,
        run: RunnerConfig,
        source: Source,
        world: World,
        counters: Counters,
        *,
        keep_on_host: Callable[[], None],
    ) -> None:
        self._most, self._source, self._world = run.micro_batch, source, world
        self._counters, self._keep_on_host = counters, keep_on_host
        self._on_gpu = world.device.type == "cuda"
        self._largest = 0
        self._apply()

    def of(
        self, batches: Sequence[Batch], *, corpus: str, usual: int | None = None
    ) -> list[list[int]]:
        """Return the pieces of some micro-batches, as places among all their utterances.

        Args:
            batches: Of one pass. Those of one size are merged where no feature depends on its
                neighbours, which padding makes it do.
            corpus: emotion or speaker.
            usual: Utterances of a piece on the CPU where `runner.micro_batch` is auto and all at
                once would be much.
        """
        sizes = [size for batch in batches for size in self._source.sizes(batch, corpus=corpus)]
        merges, at_once = self._source.packed, None
        if self._most != "auto":
            at_once = self._most
        elif not self._on_gpu and sum(sizes) * self._source.frame_bytes > _LITTLE:
            merges, at_once = False, usual
        groups = list(_groups(batches, merges=merges))
        if at_once is not None:
            groups = [part for group in groups for part in evenly(group, int(at_once))]
        limit = self._counters.most_frames
        if not self._on_gpu and limit is None:
            self._largest = max([self._largest, *map(len, groups)])
            return groups
        pieces = [part for group in groups for part in _within(group, sizes, limit)]
        costs = [_cost(part, sizes) for part in pieces if len(part) > 1]
        self._largest = max([self._largest, *costs])
        return pieces

    def begin(self) -> None:
        """Start a step."""
        self._largest = 0

    def finer(self) -> str | None:
        """Take less memory from now on; return how, None if nothing is left to be done."""
        counters = self._counters
        if self._world.largest(int(self._source.let_go_of_graphs())):
            return "layers are not recorded as CUDA graphs any more"
        largest = self._world.largest(self._largest)
        recomputes = not counters.recomputes and self._source.recomputable
        moves = self._on_gpu and not counters.keeps_on_host
        least = 1
        if self._on_gpu and (recomputes or moves):
            least = _ENOUGH if recomputes else _FEW
        if largest > least:
            counters.most_frames = largest // 2
            return f"at most {counters.most_frames} frames pass the upstream at once from now on"
        if recomputes:
            counters.recomputes = True
            self._apply()
            return "activations are recomputed from now on"
        if moves:
            counters.keeps_on_host = True
            self._apply()
            return "what an iteration keeps lies in the main memory from now on"
        return None

    def _apply(self) -> None:
        if self._counters.recomputes:
            self._source.recompute()
        if self._counters.keeps_on_host:
            self._keep_on_host()


def _groups(batches: Sequence[Batch], *, merges: bool) -> Iterator[list[int]]:
    """Yield the places of each batch, or of neighbours of one size; empty ones are left out."""
    start = 0
    sizes = [len(batch.ids) for batch in batches]
    runs = (list(run) for _, run in itertools.groupby(sizes)) if merges else ([n] for n in sizes)
    for run in runs:
        if sum(run):
            yield list(range(start, start + sum(run)))
        start += sum(run)


def _within(places: Sequence[int], sizes: Sequence[int], limit: int | None) -> list[list[int]]:
    """Return places in parts of n T <= `limit`, the shorter together; a single one may be more."""
    if limit is None or _cost(places, sizes) <= limit:
        return [list(places)]
    parts: list[list[int]] = [[]]
    for place in sorted(places, key=lambda one: sizes[one]):
        if parts[-1] and (len(parts[-1]) + 1) * sizes[place] > limit:
            parts.append([])
        parts[-1].append(place)
    return parts


def _cost(places: Sequence[int], sizes: Sequence[int]) -> int:
    return len(places) * max(sizes[place] for place in places)
