"""Transformer layer and positional convolution of any family, by its modules, on frames end to end.

Legend: N frames of all utterances, T of one, H upstream dimension.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.upstreams.fast.attention import attention_together
from spknorm.upstreams.fast.blocks import convolve_blocks, multiplies
from spknorm.upstreams.fast.convolution import convolve, normal_weight, pays_off
from spknorm.upstreams.fast.description import Layer, dropout_rate, products
from spknorm.upstreams.fast.dropout import dropout
from spknorm.upstreams.fast.layout import Layout, autocast_dtype
from spknorm.upstreams.fast.linears import Linears
from spknorm.upstreams.fast.relative import gated


def run_layer(layer: Layer, x: Tensor, layout: Layout, bias: Tensor | None = None) -> Tensor:
    """Return what a layer makes of x (N, H).

    Args:
        layer: What it is made of.
        x: Its input.
        layout: Of the utterances.
        bias: WavLM's, of each pair of places, (heads, T, T).
    """
    (norm, norm_2), (mix, up, down) = layer.norms, layer.others
    _, behind, within, last = layer.rates
    linears = Linears(layout, layer.projections, (mix,), (up,), (down,))

    def feed_forward(x: Tensor) -> Tensor:
        hidden = dropout(layer.activation(linears(x, up)), within)
        return dropout(linears(hidden, down), last)

    given = norm(x) if layer.norm_first else x
    x = x + dropout(attend(layer.attention, given, layout, bias, linears), behind)
    if layer.norm_first:
        return x + feed_forward(norm_2(x))
    x = norm(x)
    normal: Tensor = norm_2(x + feed_forward(x))
    return normal


def attend(
    attention: Any, x: Tensor, layout: Layout, bias: Tensor | None, linears: Linears
) -> Tensor:
    """Self-attention of each utterance to itself, (N, H) -> (N, H)."""
    added = gated(attention, x, bias)
    shape = (attention.num_heads, x.shape[-1] // attention.num_heads)
    projections, (out,) = products(attention)
    rate = dropout_rate(attention)
    if layout.together:
        qkv = linears(x, *projections).view(len(x), 3, *shape)
        joined = attention_together(qkv, layout, added, dropout_rate=rate)
    else:
        found = [linears(x, one) for one in projections]
        found = list(found[0].chunk(3, dim=-1)) if len(found) == 1 else found
        q, k, v = (one.reshape(len(x), *shape) for one in found)  # (N, heads, d)
        parts = (layout.split(part.transpose(0, 1), dim=1) for part in (q, k, v))
        biases = [None if added is None else added.of(*place) for place in layout.places]
        mixed = [
            _attention(*heads, dropout_rate=rate) for heads in zip(*parts, biases, strict=True)
        ]
        joined = torch.cat(mixed, dim=1).transpose(0, 1)
    return linears(joined.reshape(len(x), -1), out)


def _attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, *, dropout_rate: float
) -> Tensor:
    """Return attention of one utterance's heads, each (heads, T, H / heads)."""
    if bias is not None:
        bias = bias.to(q.dtype)
    if dropout_rate == 0 or q.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.scaled_dot_product_attention(
            q[None],
            k[None],
            v[None],
            attn_mask=None if bias is None else bias[None],
            dropout_p=dropout_rate,
        )[0]
    # On the CPU dropout keeps torch from fusing attention, and costs more than the rest of it.
    added, share = (q.new_zeros(()), 0) if bias is None else (bias, 1)
    weights = torch.baddbmm(
        added, q, k.transpose(1, 2), beta=share, alpha=q.shape[-1] ** -0.5
    ).softmax(dim=-1)
    return torch.bmm(dropout(weights, dropout_rate), v)


def positions(module: Any, x: Tensor, layout: Layout) -> Tensor:
    """Return the positional convolution of each utterance, (N, H) -> (N, H).

    Args:
        module: fairseq's sequence (B, H, T) -> (B, H, T), or transformers' module (B, T, H) ->
            (B, T, H), of a convolution, padding and activation; or a stack of such, with norms.
        x: Its input.
        layout: Of the utterances.
    """
    of_fairseq = isinstance(module, nn.Sequential)
    first = module[0] if of_fairseq else getattr(module, "conv", None)

    def whole(batch: Tensor) -> Any:
        return module(batch.mT).mT if of_fairseq else module(batch)

    if not isinstance(first, nn.Conv1d):
        return torch.cat([whole(part.unsqueeze(0)).squeeze(0) for part in layout.split(x)])
    pad, activation = module[1:] if of_fairseq else (module.padding, module.activation)
    weight, bias = normal_weight(first, written_out=layout.together), first.bias
    dtype = autocast_dtype(x.device) or x.dtype
    if layout.together and multiplies(first, dtype, x.device):
        y = convolve_blocks(x.to(dtype), layout.lengths, weight)
        return activation(y if bias is None else y + bias.to(dtype))  # type: ignore[no-any-return]
    if layout.together:  # what is behind an utterance is zero, as it is for the utterance alone
        # In this order in memory: of frames beside each other cuDNN takes one group at a time.
        batch = layout.pad(x).mT.contiguous()
        return layout.unpad(activation(pad(first._conv_forward(batch, weight, bias))).mT)
    if pays_off(first, x):  # which needs no padding taken away
        y = convolve(x, layout.lengths, weight)
        activated: Tensor = activation(y if bias is None else y + bias)
        return activated
    parts = [
        activation(pad(first._conv_forward(part.T.unsqueeze(0), weight, bias)))
        for part in layout.split(x)
    ]
    return torch.cat([part.squeeze(0).T for part in parts])
