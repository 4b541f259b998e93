"""Batches put together, and some utterances of one: a batch passes the upstream in such pieces."""

import itertools
from collections.abc import Sequence

from spknorm.batches import Batch


def join(batches: Sequence[Batch]) -> Batch:
    """Return several batches as one."""
    return Batch(
        [wav for batch in batches for wav in batch.wavs],
        [label for batch in batches for label in batch.labels],
        [name for batch in batches for name in batch.ids],
        [index for batch in batches for index in batch.indices],
        [tensor for batch in batches for tensor in batch.there],
    )


def pick(batch: Batch, places: Sequence[int]) -> Batch:
    """Return some utterances of a batch; audio that is not there is left out."""
    return Batch._make([values[place] for place in places] if values else [] for values in batch)


def evenly(places: Sequence[int], most: int) -> list[list[int]]:
    """Return places in parts of nearly the same size, at most `most`; without any, an empty one."""
    number = max(1, -(-len(places) // most))
    ends = [len(places) * part // number for part in range(number + 1)]
    return [list(places[start:stop]) for start, stop in itertools.pairwise(ends)]
