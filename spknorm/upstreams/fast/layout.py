"""Where the utterances of a batch are among frames end to end, and among padded ones.

Legend: B utterances of T_i frames, N = sum of T_i, T to which they are padded: the longest, where
lengths differ rounded up, so that few shapes occur for which a GPU has to plan anew.
"""

import copy
import functools
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
        differ: Not all utterances are as long as each other.

    Args:
        rounded_to: T is a multiple of it, where lengths differ.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        device: torch.device,
        together: bool | None = None,
        rounded_to: int = _ROUNDED_TO,
    ) -> None:
        self.lengths, self.device = list(lengths), device
        self.together = device.type != "cpu" if together is None else together
        self.longest = max(self.lengths)
        self.differ = min(self.lengths) < self.longest
        if self.together and self.differ:
            self.longest = -(-self.longest // rounded_to) * rounded_to

    def settle(self) -> "Layout":
        """Make at once what else is made when it is asked for: compiled code makes none of it."""
        if self.together:
            _ = self.bounds, self.mask, self._rows if self.differ else None
        return self

    def with_bounds(self, bounds: Tensor) -> "Layout":
        """Return a layout of the same sizes that reads its bounds from this tensor."""
        same = copy.copy(self)
        same.bounds = bounds
        return same

    @functools.cached_property
    def bounds(self) -> Tensor:
        """(B + 1,) where utterances begin and end among N frames."""
        bounds = torch.tensor([0, *itertools.accumulate(self.lengths)])
        return ship([bounds.int()], self.device)[0]

    @functools.cached_property
    def mask(self) -> Tensor | None:
        """(B, 1, 1, T) True at frames that are not padding; None if none is."""
        if not (self.together and self.differ):
            return None
        return ship([self._valid[:, None, None]], self.device)[0]

    @functools.cached_property
    def _rows(self) -> Tensor:
        """(N,) places of frames in B * T."""
        return ship([self._valid.flatten().nonzero().squeeze(1)], self.device)[0]

    @property
    def _valid(self) -> Tensor:
        """(B, T)."""
        return torch.arange(self.longest) < torch.tensor(self.lengths).unsqueeze(1)

    def pad(self, x: Tensor) -> Tensor:
        """Return (B, T, ...) with zeros behind each utterance, of (N, ...)."""
        if self.differ:
            empty = x.new_zeros((len(self.lengths) * self.longest, *x.shape[1:]))
            x = empty.index_copy_(0, self._rows, x)
        return x.view(len(self.lengths), self.longest, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """Return (N, ...) of (B, T, ...)."""
        flat = x.reshape(-1, *x.shape[2:])
        return flat.index_select(0, self._rows) if self.differ else flat

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


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the type in which products are computed; None if in that of what is multiplied."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
