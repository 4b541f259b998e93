"""A transformer layer as one function of autograd, in bf16 or fp16 on a GPU.

There the host is what a step waits for: each call of torch costs it more than the device needs for
what is called. Here autograd and autocast ask for nothing between a layer's input and its output,
norms read and write 16 bits, and gradients of weights are summed in float32 at once. Norms take
their weights in 16 bits, too, as products do under autocast.

Legend: N frames of all utterances, H upstream dimension, F that within the feed-forward part, d =
H / heads.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spknorm.upstreams.fast.attention import runs_packed
from spknorm.upstreams.fast.description import Layer, Weights
from spknorm.upstreams.fast.layout import Layout, autocast_dtype
from spknorm.upstreams.fast.linears import is_plain
from spknorm.upstreams.fast.products import in_float32


def runs_whole(layer: Layer, layout: Layout) -> bool:
    """Whether `run_whole` does what the modules of a layer do under autocast."""
    dtype = autocast_dtype(layout.device) if layout.together else None
    if dtype is None or layer.activation is not functional.gelu:
        return False
    if torch.compiler.is_compiling():  # which joins kernels itself
        return False
    width = layer.others[0].in_features // layer.heads
    modules = *layer.projections, *layer.others, *layer.norms
    return runs_packed(layout.device, dtype, width) and all(map(is_plain, modules))


def run_whole(
    layer: Layer,
    x: Tensor,
    layout: Layout,
    weights: Sequence[Tensor],
    gradients: Weights | None = None,
) -> Tensor:
    """Return what a layer makes of x (N, H), in autocast's type.

    Args:
        layer: One of which `runs_whole` says yes.
        x: Its input, in any type.
        layout: Of the utterances.
        weights: The layer's own, as `weights_of` orders them, or others in their place.
        gradients: Where those of the weights are written; without, each is a new tensor.
    """
    lower = x.to(autocast_dtype(layout.device))
    y: Tensor = _Whole.apply(layer, layout, gradients, lower, *weights)  # type: ignore[no-untyped-call]
    return y


class _Whole(torch.autograd.Function):
    """(N, H) and the weights of `Layer` in its order -> (N, H)."""

    @staticmethod
    def forward(
        ctx: Any, layer: Layer, layout: Layout, into: Weights | None, x: Tensor, *weights: Tensor
    ) -> Tensor:
        w = Weights.cast(weights, x.dtype)
        ctx.layer, ctx.layout, ctx.into = layer, layout, into
        _, behind, within, last = layer.rates
        with torch.autocast(x.device.type, enabled=False):
            h, *norm = _norm(layer.norms[0], x, w.norm, w.norm_bias) if layer.norm_first else (x,)
            qkv = torch.addmm(w.qkv_bias, h, w.qkv.t())
            mixed, *sums = _attend(qkv, layer, layout)
            y = torch.addmm(w.mix_bias, mixed, w.mix.t())
            y, *dropped = _drop(y, behind)
            middle = y.add_(x)
            if not layer.norm_first:
                before = middle
                middle, *norm = _norm(layer.norms[0], before, w.norm, w.norm_bias)
            g = middle
            if layer.norm_first:
                g, *norm_2 = _norm(layer.norms[1], middle, w.norm_2, w.norm_2_bias)
            a = torch.addmm(w.up_bias, g, w.up.t())
            active, *dropped_within = _drop(functional.gelu(a), within)
            y = torch.addmm(w.down_bias, active, w.down.t())
            y, *dropped_last = _drop(y, last)
            y.add_(middle)
            if layer.norm_first:
                ends = [x, middle]
            else:
                ends = [before, y]
                y, *norm_2 = _norm(layer.norms[1], y, w.norm_2, w.norm_2_bias)
        masks = *dropped, *dropped_within, *dropped_last
        ctx.save_for_backward(
            *w, h, qkv, mixed, *sums, g, a, active, *ends, *norm, *norm_2, *masks
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layer, layout, into = ctx.layer, ctx.layout, ctx.into or _NOWHERE
        every = ctx.saved_tensors  # once: under `checkpoint` they are computed here
        w = Weights(*every[: len(Weights._fields)])
        saved = iter(every[len(Weights._fields) :])
        h, qkv, mixed, sums, random, g, a, active, start, end = (next(saved) for _ in range(10))
        norms = [(next(saved), next(saved)) for _ in range(2)]
        _, behind, within, last = rates = layer.rates
        masks = [next(saved) if rate > 0 else None for rate in rates[1:]]
        asked = iter(ctx.needs_input_grad[4 + 2 * len(layer.projections) :])
        wanted = [(next(asked), next(asked)) for _ in range(5)]

        gradient = gradient.contiguous()
        if not layer.norm_first:
            gradient, *of_norm_2 = _norm_back(gradient, end, norms[1], w.norm_2, w.norm_2_bias)
        d = _drop_back(gradient, masks[2], last)
        of_down = _weight_back(d, active, wanted[2], (into.down, into.down_bias))
        d = _drop_back(d @ w.down, masks[1], within)
        d = torch.ops.aten.gelu_backward(d, a)
        of_up = _weight_back(d, g, wanted[1], (into.up, into.up_bias))
        d = d @ w.up
        if layer.norm_first:
            d, *of_norm_2 = _norm_back(d, end, norms[1], w.norm_2, w.norm_2_bias)
        gradient = d.add_(gradient)
        if not layer.norm_first:
            gradient, *of_norm = _norm_back(gradient, start, norms[0], w.norm, w.norm_bias)
        d = _drop_back(gradient, masks[0], behind)
        of_mix = _weight_back(d, mixed, wanted[0], (into.mix, into.mix_bias))
        d = _attend_back(d @ w.mix, qkv, mixed, (sums, random), layer, layout)
        projected = ctx.needs_input_grad[4 : 4 + 2 * len(layer.projections)]
        both = any(projected[::2]), any(projected[1::2])
        of_qkv = _weight_back(d, h, both, (into.qkv, into.qkv_bias))
        rows = [one.out_features for one in layer.projections]
        parts = [
            len(rows) * (None,) if part is None else torch.split(part, rows) for part in of_qkv
        ]
        of_projections = [one for pair in zip(*parts, strict=True) for one in pair]
        d = d @ w.qkv
        if layer.norm_first:
            d, *of_norm = _norm_back(d, start, norms[0], w.norm, w.norm_bias)
        d.add_(gradient)
        of_norms = [*of_norm, *of_norm_2]
        if ctx.into is None:
            of_norms = [*torch.stack(of_norms).float().unbind()]
        else:
            torch._foreach_copy_([*into[-4:]], of_norms)
            of_norms = [*into[-4:]]
        of_weights = [*of_projections, *of_mix, *of_up, *of_down, *of_norms]
        return None, None, None, d, *_kept(of_weights, ctx.needs_input_grad[4:])


_NOWHERE: Any = Weights(*(None,) * len(Weights._fields))  # type: ignore[arg-type]  # no places


def _kept(gradients: Sequence[Tensor | None], asked: Sequence[bool]) -> list[Tensor | None]:
    return [one if wanted else None for one, wanted in zip(gradients, asked, strict=True)]


def _norm(module: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Return the normal x, and mean and inverse deviation of each frame."""
    return torch.native_layer_norm(x, weight.shape, weight, bias, module.eps)


def _norm_back(
    gradient: Tensor, x: Tensor, kept: tuple[Tensor, Tensor], weight: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of x, weight and bias."""
    found: tuple[Tensor, ...] = torch.ops.aten.native_layer_norm_backward(
        gradient, x, weight.shape, *kept, weight, bias, [True, True, True]
    )
    return found


def _weight_back(
    gradient: Tensor, x: Tensor, wanted: tuple[bool, bool], into: tuple[Tensor, Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of a product's weight and bias, summed in float32, in their places."""
    to_weight = to_bias = None
    if wanted[0]:
        to_weight = in_float32(gradient.t(), x, into[0])
    if wanted[1]:
        to_bias = torch.sum(gradient, dim=0, dtype=torch.float32, out=into[1])
    return to_weight, to_bias


def _drop(x: Tensor, rate: float) -> tuple[Tensor, ...]:
    """Return x after dropout, and what is kept where there is any."""
    return torch.native_dropout(x, rate, True) if rate > 0 else (x,)


def _drop_back(gradient: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    if mask is None:
        return gradient
    scale = 0.0 if rate == 1 else 1.0 / (1.0 - rate)
    found: Tensor = torch.ops.aten.native_dropout_backward(gradient, mask, scale)
    return found


def _attend(qkv: Tensor, layer: Layer, layout: Layout) -> tuple[Tensor, ...]:
    """Return what flash attention mixes of (N, 3 H), (N, H), its sums and random state."""
    q, k, v = qkv.view(len(qkv), 3, layer.heads, -1).unbind(1)
    longest = layout.longest
    mixed, *kept = torch.ops.aten._flash_attention_forward(
        q, k, v, layout.bounds, layout.bounds, longest, longest, layer.rates[0], False, False
    )
    return mixed.view(len(qkv), -1), *kept[:2]


def _attend_back(
    gradient: Tensor, qkv: Tensor, mixed: Tensor, kept: tuple[Tensor, Tensor],
    layer: Layer, layout: Layout,
) -> Tensor:  # fmt: skip
    """Return the gradient of queries, keys and values (N, 3 H) of that of `mixed` (N, H)."""
    shape = len(qkv), 3, layer.heads, qkv.shape[1] // (3 * layer.heads)
    q, k, v = qkv.view(shape).unbind(1)
    gradient, mixed = (one.view(shape[0], *shape[2:]) for one in (gradient, mixed))
    longest = layout.longest
    found = torch.ops.aten._flash_attention_backward(
        gradient, q, k, v, mixed, kept[0], layout.bounds, layout.bounds, longest, longest,
        layer.rates[0], False, kept[1], qkv.new_empty(0),
    )  # fmt: skip
    return torch.stack(found, dim=1).view_as(qkv)
