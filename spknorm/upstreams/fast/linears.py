"""A layer's products, several as one, with weights that are cast together.

Under autocast each weight and bias is cast by a kernel of its own and its gradient cast back by
another: sixteen a layer and pass. Here a GPU is asked for two, with the same numbers.

Legend: N frames of all utterances, H upstream dimension.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.upstreams.fast.layout import Layout, autocast_dtype
from spknorm.upstreams.fast.products import project


class Linears:
    """The linear modules of one layer.

    Args:
        layout: Says whether kernels are few and large, as a GPU wants them.
        groups: Modules; those of a group have the same input and are multiplied at once.
    """

    def __init__(self, layout: Layout, *groups: Sequence[nn.Module]) -> None:
        self._together = layout.together
        self._cast: dict[Sequence[nn.Module], tuple[Tensor, Tensor]] = {}
        dtype = autocast_dtype(layout.device) if self._together else None
        if dtype is None or torch.compiler.is_compiling():  # which joins casts to what needs them
            return
        plain = [group for group in groups if all(map(is_plain, group))]
        sources = [[getattr(m, name) for m in g] for g in plain for name in ("weight", "bias")]
        if sources:
            found = iter(cast_together(sources, dtype))
            self._cast = {group: (next(found), next(found)) for group in plain}

    def __call__(self, x: Tensor, *modules: nn.Module) -> Tensor:
        """Return (N, sum of the modules' outputs) of x (N, H)."""
        if (ready := self._cast.get(modules)) is not None:
            return functional.linear(x, *ready)
        if len(modules) > 1 and self._together and all(map(is_plain, modules)):
            weight, bias = (torch.cat([getattr(m, n) for m in modules]) for n in ("weight", "bias"))
            return functional.linear(x, weight, bias)
        products = [project(module, x) for module in modules]
        return products[0] if len(products) == 1 else torch.cat(products, dim=-1)


def cast_together(groups: Sequence[Sequence[Tensor]], dtype: torch.dtype) -> list[Tensor]:
    """Return each group's tensors on top of each other in another type; all of them at once."""
    flat = [tensor for group in groups for tensor in group]
    counts = [len(group) for group in groups]
    found: tuple[Tensor, ...] = _Cast.apply(dtype, counts, *flat)  # type: ignore[no-untyped-call]
    return list(found)


def _grouped(tensors: Sequence[Tensor], counts: Sequence[int]) -> list[Sequence[Tensor]]:
    rest = iter(tensors)
    return [list(itertools.islice(rest, count)) for count in counts]


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dtype: torch.dtype, counts: Sequence[int], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.counts, ctx.alike = counts, [tensor.detach() for tensor in tensors]
        joined: list[Tensor] = []
        parts: list[Tensor] = []
        for group in _grouped(tensors, counts):
            rows = [len(tensor) for tensor in group]
            joined.append(group[0].new_empty((sum(rows), *group[0].shape[1:]), dtype=dtype))
            parts += torch.split(joined[-1], rows)
        torch._foreach_copy_(parts, list(tensors))
        return tuple(joined)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        found: list[Tensor | None] = []
        parts: list[Tensor] = []
        wanted = iter(ctx.needs_input_grad[2:])
        for gradient, group in zip(gradients, _grouped(ctx.alike, ctx.counts), strict=True):
            rows = [len(tensor) for tensor in group]
            pieces = [None] * len(rows) if gradient is None else torch.split(gradient, rows)
            for tensor, piece in zip(group, pieces, strict=True):
                found.append(None)
                if next(wanted) and piece is not None:
                    found[-1] = torch.empty_like(tensor)
                    parts.append(piece)
        if parts:
            torch._foreach_copy_([one for one in found if one is not None], parts)
        return None, None, *found


def is_plain(module: nn.Module) -> bool:
    """Whether a module is its weight and bias in float32, and nothing beside them."""
    return (
        type(module) in (nn.Linear, nn.LayerNorm) and module.bias is not None
        and not (module._forward_hooks or module._forward_pre_hooks)  # pruning has the latter
        and module.weight.dtype is torch.float32
    )  # fmt: skip
