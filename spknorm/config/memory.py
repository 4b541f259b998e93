"""What a frame takes; and memory that runs out where nothing is trained: fewer at once."""

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from spknorm.errors import ConfigError, is_out_of_memory

LAYER_BYTES = 108
"""Per frame and unit of width, of what a layer keeps for its backward pass in float32; measured
(docs/performance.md)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class TooLittleMemoryError(ConfigError, MemoryError):
    """There is too little memory for a single item; the message names it, and what to do.

    A step of training that computes such an item may still do with less at once.
    """


def in_smaller_parts(
    compute: Callable[[list[Item]], Any],
    items: Sequence[Item],
    *,
    name: Callable[[Item], str],
    device: object,
) -> list[Any]:
    """Return what `compute` makes of items, one each, fewer at once where memory is short.

    A single item for which it is short is tried once more after the device has let go of what it
    holds in reserve.

    What an item comes to must not depend on those beside it; `name` says what a single one is
    called.

    Raises:
        TooLittleMemoryError: It is short then, too.
    """
    found = _tried(compute, items)
    if found is None and len(items) > 1:
        half = len(items) // 2
        parts = items[:half], items[half:]
        results = [in_smaller_parts(compute, part, name=name, device=device) for part in parts]
        return [result for part in results for result in part]
    if found is None and (found := _tried(compute, items)) is None:
        raise TooLittleMemoryError(
            f"Out of memory on {device} with {name(items[0])} alone: take a device with more "
            "memory (--device cpu has the machine's), or a smaller upstream."
        )
    return list(found)


def once_more(compute: Callable[[], Result]) -> Result:
    """Return what `compute` does; where memory is short, at the second attempt.

    Raises:
        RuntimeError, MemoryError: It is short then, too.
    """
    return or_else(compute, compute)


def or_else(compute: Callable[[], Result], otherwise: Callable[[], Result]) -> Result:
    """Return what `compute` does; where memory is short, what `otherwise` does, which takes less.

    Raises:
        RuntimeError, MemoryError: It is short then, too.
    """
    found = _tried(lambda _: (compute(),), ())
    return otherwise() if found is None else found[0]


def _tried(compute: Callable[[list[Any]], Any], items: Sequence[Any]) -> Any:
    """Return what `compute` does, or None where memory is short, with nothing held on to."""
    try:
        return compute(list(items))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    release()
    return None


def release() -> None:
    """Let a GPU have back what this process holds in reserve."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@contextlib.contextmanager
def garbage_sought_in_what_is_new() -> Iterator[None]:
    """Let Python's garbage collector pass by all that is there already, until the end.

    It looks through every object of every library now and then, which takes as long as several
    steps of a GPU.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
