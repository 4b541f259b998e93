"""WavLM's gated relative position bias on frames end to end.

The bias of two frames depends on their distance alone, so it is looked up once per distance instead
of once per pair, and once for all utterances; each layer's gate then scales it frame by frame.

Legend: N frames of all utterances, T of the longest, H upstream dimension.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class GatedBias(NamedTuple):
    """What one layer adds to the products of queries and keys.

    Attributes:
        gate: (N, heads), of each frame that asks.
        bias: (heads, T, T), of each pair of places.
    """

    gate: Tensor
    bias: Tensor

    def of(self, start: int, length: int) -> Tensor:
        """Return what is added for the utterance at `start`, (heads, length, length)."""
        gate = self.gate[start : start + length].T.unsqueeze(-1)  # (heads, length, 1)
        return gate * self.bias[:, :length, :length]


def position_bias(attention: Any, longest: int) -> Tensor | None:
    """Return (heads, T, T) of the first layer's attention; None if it has no such bias.

    Args:
        attention: MultiheadAttention of s3prl's WavLM, or WavLMAttention of transformers.
        longest: T.
    """
    names = "rel_attn_embed", "relative_attention_bias"
    table = next((own for name in names if (own := getattr(attention, name, None))), None)
    if table is None:
        return None
    distances = torch.arange(1 - longest, longest, device=table.weight.device)
    of_distance: Tensor = table(attention._relative_positions_bucket(distances)).T  # (heads, 2T-1)
    return of_distance.unfold(-1, longest, 1).flip(1)  # [h, i, j]: the distance j - i


def gated(attention: Any, x: Tensor, bias: Tensor | None) -> GatedBias | None:
    """Return a layer's bias, gated by its input (N, H)."""
    if bias is None:
        return None
    linear = getattr(attention, "gru_rel_pos_linear", None)
    if linear is not None:
        constant = attention.gru_rel_pos_const
    elif getattr(attention, "gru_rel_pos", False):
        linear, constant = attention.grep_linear, attention.grep_a
    else:
        return GatedBias(x.new_ones(len(x), attention.num_heads), bias)
    heads = x.view(len(x), attention.num_heads, -1)  # (N, heads, H / heads)
    update, reset = linear(heads).view(*heads.shape[:2], 2, 4).sum(dim=-1).sigmoid().unbind(-1)
    return GatedBias(update * (reset * constant.view(-1) - 1.0) + 2.0, bias)
