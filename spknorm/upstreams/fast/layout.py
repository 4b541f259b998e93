"""Where the utterances of a batch are among frames end to end, and among padded ones.

Legend: B utterances of T_i frames, T the longest, N = sum of T_i.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spknorm.upstreams.fast.relative import GatedBias


class Layout:
    """The utterances of a batch.

    Attributes:
        lengths: T_i of each.
        together: Attention and positional convolution take all utterances in one call, padded: on
            an accelerator, where many small calls cost more than padding. Else one by one.
        mask: (B, 1, 1, T) True at frames that are not padding; None if none is.
    """

    def __init__(
        self, lengths: Sequence[int], *, device: torch.device, together: bool | None = None
    ) -> None:
        self.lengths = list(lengths)
        self.together = device.type != "cpu" if together is None else together
        self.mask: Tensor | None = None
        if not self.together:
            return
        longest = max(self.lengths)
        self._padded = len(self.lengths), longest
        frames = torch.arange(longest)
        valid = frames < torch.tensor(self.lengths).unsqueeze(1)  # (B, T)
        self._rows = valid.flatten().nonzero().squeeze(1).to(device)  # (N,) places in B * T
        if min(self.lengths) < longest:
            self.mask = valid[:, None, None].to(device)

    def pad(self, x: Tensor) -> Tensor:
        """Return (B, T, ...) with zeros behind each utterance, of (N, ...)."""
        if self.mask is not None:
            empty = x.new_zeros((self._padded[0] * self._padded[1], *x.shape[1:]))
            x = empty.index_copy(0, self._rows, x)
        return x.view(*self._padded, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """Return (N, ...) of (B, T, ...)."""
        flat = x.reshape(-1, *x.shape[2:])
        return flat if self.mask is None else flat.index_select(0, self._rows)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Where each utterance begins, and its length."""
        starts = itertools.accumulate(self.lengths, initial=0)
        return list(zip(starts, self.lengths, strict=False))

    def split(self, x: Tensor, *, dim: int = 0) -> Sequence[Tensor]:
        """Return each utterance's part of x, whose dimension `dim` is N."""
        return torch.split(x, self.lengths, dim=dim)


def attention_together(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    added: GatedBias | None = None,
    *,
    dropout_rate: float,
) -> Tensor:
    """Return self-attention of all utterances in one call, each (N, heads, H / heads)."""
    mask = layout.mask
    if added is not None:
        gate = layout.pad(added.gate).transpose(1, 2).unsqueeze(-1)  # (B, heads, T, 1)
        bias = (gate * added.bias).to(q.dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
    q, k, v = (layout.pad(part).transpose(1, 2) for part in (q, k, v))  # (B, heads, T, H / heads)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_rate)
    return layout.unpad(mixed.transpose(1, 2))
