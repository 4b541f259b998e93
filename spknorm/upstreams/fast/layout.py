"""Where the utterances of a batch are among frames end to end, and among padded ones.

Legend: B utterances of T_i frames, N = sum of T_i, T to which they are padded: the longest, where
lengths differ rounded up, so that few shapes occur for which a GPU has to plan anew.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spknorm.batches.shipping import ship

_ROUNDED_TO = 32


class Layout:
    """The utterances of a batch.

    Attributes:
        lengths: T_i of each.
        device: Where the frames are.
        together: Attention and positional convolution take all utterances in one call, padded: on
            an accelerator, where many small calls cost more than padding. Else one by one.
        longest: T.
        mask: (B, 1, 1, T) True at frames that are not padding; None if none is.
        bounds: (B + 1,) where utterances begin and end among N frames; None one by one.
    """

    def __init__(
        self, lengths: Sequence[int], *, device: torch.device, together: bool | None = None
    ) -> None:
        self.lengths, self.device = list(lengths), device
        self.together = device.type != "cpu" if together is None else together
        self.longest = max(self.lengths)
        self.mask: Tensor | None = None
        self.bounds: Tensor | None = None
        if not self.together:
            return
        differ = min(self.lengths) < self.longest
        if differ:
            self.longest = -(-self.longest // _ROUNDED_TO) * _ROUNDED_TO
        self._padded = len(self.lengths), self.longest
        bounds = torch.tensor([0, *itertools.accumulate(self.lengths)])
        self.bounds = ship([bounds.int()], device)[0]
        if differ:
            frames = torch.arange(self.longest)
            valid = frames < torch.tensor(self.lengths).unsqueeze(1)  # (B, T)
            rows = valid.flatten().nonzero().squeeze(1)  # (N,) places in B * T
            self._rows, mask = *ship([rows], device), valid[:, None, None]
            self.mask = ship([mask], device)[0]

    def pad(self, x: Tensor) -> Tensor:
        """Return (B, T, ...) with zeros behind each utterance, of (N, ...)."""
        if self.mask is not None:
            empty = x.new_zeros((self._padded[0] * self._padded[1], *x.shape[1:]))
            x = empty.index_copy_(0, self._rows, x)
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


class Begun(NamedTuple):
    """What the first layer is given.

    Attributes:
        x: Its input (M, H): frames, and what a model puts before those of each utterance.
        layout: Of the M.
        first: Hidden state 0, (M, H).
        frames: (N,) where frames are among the M; None where there is nothing else.
    """

    x: Tensor
    layout: Layout
    first: Tensor
    frames: Tensor | None = None

    def of(self, x: Tensor) -> Tensor:
        """Return the frames (N, H) of (M, H)."""
        return x if self.frames is None else x.index_select(0, self.frames)
