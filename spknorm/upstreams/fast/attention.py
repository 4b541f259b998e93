"""Attention of all utterances of a batch in one call, as a GPU is asked for it.

cuDNN's attention, which torch prefers on the newest cards, plans anew for each shape of a batch and
rounds the rate of dropout to sixteenths; it is left out.

Legend: B utterances, N frames of all of them, T to which they are padded, d = H / heads.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.varlen import varlen_attn

from spknorm.config.device import computes_in_bf16
from spknorm.upstreams.fast.layout import Layout
from spknorm.upstreams.fast.relative import GatedBias

_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_WIDTHS, _WIDEST = 8, 256
"""Of a head, d, in flash attention: multiples of one up to the other."""
_NAMES = {SDPBackend.FLASH_ATTENTION: "flash", SDPBackend.EFFICIENT_ATTENTION: "memory-efficient"}


def attention_together(
    qkv: Tensor, layout: Layout, added: GatedBias | None = None, *, dropout_rate: float
) -> Tensor:
    """Return self-attention of all utterances, (N, heads, d) of queries, keys and values.

    Args:
        qkv: All three, (N, 3, heads, d).
        layout: Of the utterances.
        added: WavLM's bias.
        dropout_rate: Of the weights.
    """
    if added is None and dropout_rate == 0 and runs_packed(qkv.device, qkv.dtype, qkv.shape[-1]):
        assert layout.bounds is not None
        bounds, longest = layout.bounds, max(layout.lengths)
        q, k, v = qkv.unbind(1)
        packed = varlen_attn(q, k, v, bounds, bounds, longest, longest)
        assert isinstance(packed, Tensor)
        return packed
    mask = layout.mask
    if added is not None:
        gate = layout.pad(added.gate).transpose(1, 2).unsqueeze(-1)  # (B, heads, T, 1)
        bias = (gate * added.bias).to(qkv.dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
    q, k, v = layout.pad(qkv).permute(2, 0, 3, 1, 4)  # (B, T, 3, heads, d) -> 3 x (B, heads, T, d)
    with sdpa_kernel(_KERNELS):
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout_rate
        )
    return layout.unpad(mixed.transpose(1, 2))


def runs_packed(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Whether flash attention takes utterances end to end: nothing is padded at all."""
    half = dtype in (torch.bfloat16, torch.float16)
    fits = width % _WIDTHS == 0 and width <= _WIDEST
    return device.type == "cuda" and half and fits and _has_flash(device.index)


@functools.cache
def _has_flash(number: int | None) -> bool:
    built = torch.backends.cuda.is_flash_attention_available()  # not in every torch
    return built and computes_in_bf16(number)  # the same cards have both


def name_of(
    layout: Layout, shape: tuple[int, int], *, dtype: torch.dtype, biased: bool,
    dropout_rate: float, whole: bool,
) -> str:  # fmt: skip
    """Return in words how attention of a layout is computed; on a GPU torch is asked.

    Args:
        layout: Of the utterances.
        shape: (heads, d).
        dtype: Of queries, keys and values.
        biased: WavLM's bias is added.
        dropout_rate: Of the weights.
        whole: It is a part of a layer that is one function (`whole.py`).
    """
    if whole:
        return "flash, on packed frames"
    if not layout.together:
        written_out = dropout_rate > 0 and layout.device.type == "cpu"
        return f"of each utterance by {'products' if written_out else 'torch'}"
    plain = not biased and dropout_rate == 0
    if plain and runs_packed(layout.device, dtype, shape[1]):
        return "flash, on packed frames"
    return f"{_chosen(layout, shape, dtype, biased, dropout_rate)}, on padded frames"


def _chosen(
    layout: Layout, shape: tuple[int, int], dtype: torch.dtype, biased: bool, dropout_rate: float
) -> str:
    """Return which of `_KERNELS` torch takes for tensors of these shapes, none of which is made."""
    heads, width = shape
    count, longest = len(layout.lengths), layout.longest
    one = torch.empty((1, 1, 1, width), dtype=dtype, device=layout.device, requires_grad=True)
    q = one.expand(count, heads, longest, width)
    mask = layout.mask
    if biased:
        bias = torch.empty((1, 1, 1, longest), dtype=dtype, device=layout.device)  # rows are read
        mask = bias.expand(count, heads, longest, longest)
    with sdpa_kernel(_KERNELS):
        number = torch._fused_sdp_choice(q, q, q, attn_mask=mask, dropout_p=dropout_rate)
    return _NAMES.get(SDPBackend(number), "by products")
