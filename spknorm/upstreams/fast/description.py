"""What a transformer layer is made of, whatever its family calls it, and all its weights at once.

Legend: H upstream dimension, N frames.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._utils import _unflatten_dense_tensors


class Layer(NamedTuple):
    """What a layer is made of.

    Attributes:
        norm_first: Norms stand before attention and feed-forward part, else behind their sums.
        attention: The module.
        projections: Linear modules of queries, keys and values: three, or one of all.
        others: The linear modules of what attention mixes, into and out of the feed-forward part.
        norms: Of attention, of the feed-forward part.
        rates: Of dropout as it is now: of attention's weights, behind attention, within the
            feed-forward part, behind it.
        activation: Of the feed-forward part: torch's own gelu, or a module.
    """

    norm_first: bool
    attention: Any
    projections: tuple[nn.Module, ...]
    others: tuple[Any, Any, Any]
    norms: tuple[nn.Module, nn.Module]
    rates: tuple[float, ...]
    activation: Callable[[Tensor], Tensor]

    @property
    def heads(self) -> int:
        """Of attention."""
        return int(self.attention.num_heads)


def products(attention: Any) -> tuple[tuple[nn.Module, ...], tuple[nn.Module]]:
    """Return attention's linear modules: of queries, keys and values, and of what comes of it."""
    if hasattr(attention, "qkv"):  # emotion2vec's, all three in one
        return (attention.qkv,), (attention.proj,)
    return (attention.q_proj, attention.k_proj, attention.v_proj), (attention.out_proj,)


def dropout_rate(attention: Any) -> float:
    """Return the rate at which weights of attention are dropped as it is now."""
    names = ("dropout_module", "attn_drop")  # transformers keeps a number
    own = next((part for name in names if (part := getattr(attention, name, None))), None)
    return float(attention.dropout if own is None else own.p) if attention.training else 0.0


def weights_of(layer: Layer) -> list[Any]:
    """Return a layer's weights and biases, module after module."""
    modules = [*layer.projections, *layer.others, *layer.norms]
    return [module._parameters[name] for module in modules for name in ("weight", "bias")]


class Weights(NamedTuple):
    """All weights, or their gradients: of products (out, in) and (out,), of norms (H,) and (H,)."""

    qkv: Tensor
    qkv_bias: Tensor
    mix: Tensor
    mix_bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor
    norm: Tensor
    norm_bias: Tensor
    norm_2: Tensor
    norm_2_bias: Tensor

    @classmethod
    def cast(cls, weights: Sequence[Tensor], dtype: torch.dtype) -> "Weights":
        """Return weights cast at once, those of queries, keys and values on top of each other."""
        made, places = cls.empty(weights, dtype)
        torch._foreach_copy_(places, list(weights))
        return made

    @classmethod
    def empty(cls, weights: Sequence[Tensor], dtype: torch.dtype) -> "tuple[Weights, list[Tensor]]":
        """Return room for such weights, and each one's place there."""
        count = len(weights) - 10  # of the projections, each with a bias
        ordered = [*weights[:count:2], *weights[1:count:2], *weights[count:]]
        flat = weights[0].new_empty(sum(weight.numel() for weight in weights), dtype=dtype)
        views = _unflatten_dense_tensors(flat, ordered)  # type: ignore[no-untyped-call]
        rows = sum(len(weight) for weight in weights[:count:2])
        wide = rows * weights[0].shape[1]
        joined = flat[:wide].view(rows, -1), flat[wide : wide + rows]
        half = count // 2
        pairs = zip(views[:half], views[half:count], strict=True)
        return cls(*joined, *views[count:]), [*itertools.chain(*pairs), *views[count:]]
