"""Many tensors at once: their norms, how far they have come, and one reading of what is wanted.

A GPU is asked for a list of tensors in a few calls, a part of the list at a time where that makes
new tensors; the CPU for one tensor after the other. The host waits for the device in `read` alone,
and in what `ask` returns.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors
from torch.linalg import vector_norm

_AT_ONCE = 1 << 25
"""Elements of a part: an eighth of a gigabyte in float32."""


_T = TypeVar("_T", bound=Tensor)


def takes_lists(device: torch.device) -> bool:
    """Whether a device is asked for many tensors in one call, or for one after the other."""
    return device.type != "cpu"


def parts(*lists: Sequence[_T], most: int = _AT_ONCE) -> Iterator[tuple[list[_T], ...]]:
    """Yield lists of the same length part by part, each part of all lists at once."""
    start = size = 0
    first = lists[0]
    for place, tensor in enumerate(first):
        size += tensor.numel()
        if not takes_lists(tensor.device) or size >= most or place + 1 == len(first):
            yield tuple(list(one[start : place + 1]) for one in lists)
            start, size = place + 1, 0


def with_gradients(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return those that have a gradient."""
    return [parameter for parameter in parameters if parameter.grad is not None]


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of each tensor, (n,)."""
    return torch.stack(list(torch._foreach_norm(list(tensors))))


def length(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of all tensors together, a scalar; 0 of none."""
    return vector_norm(norms(tensors)) if tensors else torch.zeros(())


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors end to end, (N,); one alone may not be copied."""
    joined: Tensor = _flatten_dense_tensors(tensors)  # type: ignore[no-untyped-call]
    return joined


@torch.no_grad()
def distance(ends: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
    """Return the norm of how far all tensors have come together, a scalar."""
    found = [vector_norm(now - before) for now, before in flat_parts(ends, starts)]
    return vector_norm(torch.stack(found)) if found else torch.zeros(())


def flat_parts(*lists: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Yield lists part by part as `parts` does, each part end to end and where the first one is."""
    for some in parts(*lists):
        yield tuple(flat(_beside(one, some[0])) for one in some)


def _beside(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors on the devices of others, where some are kept elsewhere."""
    return [one.to(other.device) for one, other in zip(tensors, others, strict=True)]


def read(tensors: Sequence[Tensor]) -> list[Any]:
    """Return what `tolist` gives of each tensor, in floats: here the host waits for all of them."""
    if not tensors:
        return []
    try:
        return _listed(_joined(tensors).cpu(), tensors)
    except RuntimeError:  # no memory for it: one by one, which needs none
        return _listed(_joined([tensor.cpu() for tensor in tensors]), tensors)


def ask(tensors: Sequence[Tensor]) -> Callable[[], list[Any]]:
    """Return what does `read`; a GPU copies now, and is not waited for beyond that."""
    if all(tensor.device.type == "cuda" for tensor in tensors):
        with contextlib.suppress(RuntimeError):  # no memory for it
            copy = _joined(tensors).to("cpu", non_blocking=True)
            copied = torch.cuda.current_stream(tensors[0].device).record_event()
            return lambda: _listed(copy, tensors, copied)
    return functools.partial(read, tensors)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    double = any(tensor.dtype is torch.float64 for tensor in tensors)  # an Apple GPU has none
    kind = torch.float64 if double else torch.float32
    return torch.cat([tensor.detach().reshape(-1).to(kind) for tensor in tensors])


def _listed(
    joined: Tensor, tensors: Sequence[Tensor], copied: torch.cuda.Event | None = None
) -> list[Any]:
    if copied is not None and not copied.query():
        copied.synchronize()
    each = torch.split(joined, [tensor.numel() for tensor in tensors])
    pairs = zip(each, tensors, strict=True)
    return [values.view(tensor.shape).tolist() for values, tensor in pairs]
