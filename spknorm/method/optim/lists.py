"""Many tensors at once: their norms, how far they have come, and one reading of what is wanted.

A GPU is asked for a list of tensors in a few calls, a part of the list at a time where that makes
new tensors; the CPU for one tensor after the other. The host waits for the device in `read` alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.linalg import vector_norm

_AT_ONCE = 1 << 25
"""Elements of a part: an eighth of a gigabyte in float32."""


_T = TypeVar("_T", bound=Tensor)


def takes_lists(device: torch.device) -> bool:
    """Whether a device is asked for many tensors in one call, or for one after the other."""
    return device.type != "cpu"


def parts(*lists: Sequence[_T], most: int = _AT_ONCE) -> Iterator[tuple[list[_T], ...]]:
    """Yield lists of the same length and one device part by part, each of all lists at once."""
    start = size = 0
    first = lists[0]
    alone = bool(first) and not takes_lists(first[0].device)
    for stop, tensor in enumerate(first, start=1):
        size += tensor.numel()
        if alone or size >= most or stop == len(first):
            yield tuple([*one[start:stop]] for one in lists)
            start, size = stop, 0


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


def apart(joined: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return what `flat` has joined, in the shapes of `tensors`: views."""
    return list(_unflatten_dense_tensors(joined, tensors))  # type: ignore[no-untyped-call]


@torch.no_grad()
def distance(ends: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
    """Return the norm of how far all tensors have come together, a scalar."""
    found = [vector_norm(now - before) for now, before in flat_parts(ends, starts)]
    return vector_norm(torch.stack(found)) if found else torch.zeros(())


@torch.no_grad()
def along(gradients: Sequence[Tensor], ends: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
    """Return the inner product of gradients with how far all tensors have come, a scalar."""
    lists = flat_parts(ends, starts, gradients)
    found = [torch.dot(now - before, gradient.to(now.dtype)) for now, before, gradient in lists]
    return torch.stack(found).sum() if found else torch.zeros(())


def flat_parts(*lists: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Yield lists part by part as `parts` does, each end to end and on the first one's device."""
    for some in parts(*lists):
        yield tuple(flat([tensor.to(some[0][0].device) for tensor in one]) for one in some)


def read(tensors: Sequence[Tensor]) -> list[Any]:
    """Return what `tolist` gives of each tensor, in floats: the one place where the host waits."""
    return ask(tensors, waits=True)()


def ask(tensors: Sequence[Tensor], *, waits: bool = False) -> Callable[[], list[Any]]:
    """Return what does `read`, of now: it waits for what a GPU was told before, not since."""
    if not tensors:
        return list
    double = any(tensor.dtype is torch.float64 for tensor in tensors)  # an Apple GPU has none
    kind = torch.float64 if double else torch.float32
    copied = None
    try:
        joined = torch.cat([tensor.detach().reshape(-1).to(kind) for tensor in tensors])
        ahead = joined.is_cuda and not waits
        host = joined.to("cpu", non_blocking=ahead)
        copied = torch.cuda.current_stream(joined.device).record_event() if ahead else None
    except RuntimeError:  # no memory for it: one by one, which needs none
        host = torch.cat([tensor.detach().cpu().reshape(-1).to(kind) for tensor in tensors])

    def found() -> list[Any]:
        if copied is not None and not copied.query():
            copied.synchronize()
        pairs = zip(torch.split(host, [t.numel() for t in tensors]), tensors, strict=True)
        return [values.view(tensor.shape).tolist() for values, tensor in pairs]

    return found
