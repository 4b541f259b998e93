"""A long grouped convolution over time as products of matrices, in bf16 or fp16 on a GPU.

cuDNN takes the groups of HuBERT's positional convolution one by one, and plans anew for each length
of a batch. Here b frames at a time are a product of the frames that they see with a matrix in which
the kernel stands b times, each time a frame further down; all groups are one call, and utterances
stand end to end with half a kernel of zeros between them.

Legend: N frames of all utterances, H channels in G groups of g, K width of the kernel, n blocks of
b frames, which see S = K + b frames each.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spknorm.batches.shipping import ship
from spknorm.upstreams.fast.convolution import is_long
from spknorm.upstreams.fast.products import in_float32

_BLOCK = 8
"""b: the matrix is b times as large as the kernel, what stands in several blocks K / b times."""


class _Sizes(NamedTuple):
    """G, g, K, n, and S."""

    groups: int
    group: int
    width: int
    blocks: int
    seen: int


def multiplies(convolution: nn.Conv1d, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `convolve_blocks` does what this module does where products are in `dtype`."""
    half = dtype in (torch.bfloat16, torch.float16)
    whole = convolution.kernel_size[0] % _BLOCK == 0
    return device.type == "cuda" and half and whole and is_long(convolution)


def convolve_blocks(x: Tensor, lengths: Sequence[int], weight: Tensor) -> Tensor:
    """Do what `convolution.convolve` does, on utterances end to end (N, H) -> (N, H)."""
    channels, group, width = weight.shape
    gap = width // 2
    before = torch.arange(1, len(lengths) + 1).repeat_interleave(torch.tensor(lengths))
    rows = torch.arange(len(x)) + gap * before  # among frames with gaps
    blocks = -(-(sum(lengths) + gap * (len(lengths) - 1)) // _BLOCK)
    first = rows - gap
    ends = first - first % _BLOCK + _BLOCK - 1 - first % _BLOCK  # in a block the last comes first
    sizes = _Sizes(channels // group, group, width, blocks, width + _BLOCK)
    y: Tensor = _Blocks.apply(x, weight, *ship([rows, ends], x.device), sizes)  # type: ignore[no-untyped-call]
    return y


class _Blocks(torch.autograd.Function):
    """(N, H), (H, g, K), (N,) among frames with gaps, (N,) among blocks -> (N, H)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, rows: Tensor, ends: Tensor, sizes: _Sizes
    ) -> Tensor:
        ctx.save_for_backward(x, weight, rows, ends)
        ctx.sizes = sizes
        with torch.autocast(x.device.type, enabled=False):
            y = torch.bmm(_windows(x, rows, sizes), _matrix(weight, sizes, x.dtype))
        found = y.view(sizes.groups, -1, sizes.group).index_select(1, ends)
        return found.transpose(0, 1).reshape(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, rows, ends = ctx.saved_tensors
        groups, group, width, blocks, seen = sizes = ctx.sizes
        d = gradient.new_zeros(groups, blocks * _BLOCK, group)
        d.index_copy_(1, ends, gradient.view(-1, groups, group).transpose(0, 1))
        d = d.view(groups, blocks, _BLOCK * group)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _spread(d, _matrix(weight, sizes, x.dtype), sizes)
            to_x = to_x.index_select(1, rows).transpose(0, 1).reshape(x.shape)
        if ctx.needs_input_grad[1]:
            # The kernel's gradient is the sum of those of the places where it stands.
            wide = _BLOCK * group
            whole = in_float32(_windows(x, rows, sizes).mT, d)  # (G, S g, b g)
            strides = seen * group * wide, group * wide, wide, group * wide - group, 1
            shape = groups, width, group, _BLOCK, group
            stood = whole.as_strided(shape, strides, (_BLOCK - 1) * group)  # (G, K, in, b, out)
            to_weight = stood.sum(dim=3).permute(0, 3, 2, 1).reshape(weight.shape)
            to_weight = to_weight.to(weight.dtype)
        return to_x, to_weight, None, None, None


def _windows(x: Tensor, rows: Tensor, sizes: _Sizes) -> Tensor:
    """Return the frames that each block sees, (G, n, S g)."""
    groups, group, width, blocks, seen = sizes
    frames = blocks * _BLOCK + width
    stream = x.new_zeros(groups, frames, group)
    stream.index_copy_(1, rows, x.view(-1, groups, group).transpose(0, 1))
    strides = frames * group, _BLOCK * group, 1
    return stream.as_strided((groups, blocks, seen * group), strides).contiguous()


def _matrix(weight: Tensor, sizes: _Sizes, dtype: torch.dtype) -> Tensor:
    """Return the matrix in which the kernel stands b times, (G, S g, b g)."""
    groups, group, width, _, seen = sizes
    kernel = weight.view(groups, group, group, width).permute(0, 3, 2, 1)  # (G, K, in, out)
    room = weight.new_zeros(groups, seen + _BLOCK - 1, group, group, dtype=dtype)
    room[:, _BLOCK - 1 : _BLOCK - 1 + width] = kernel
    stood = room.unfold(1, _BLOCK, 1)  # (G, S, in, out, b)
    return stood.transpose(3, 4).reshape(groups, seen * group, _BLOCK * group)


def _spread(d: Tensor, matrix: Tensor, sizes: _Sizes) -> Tensor:
    """Return the gradient of all frames, gaps among them, (G, frames, g), of that of blocks."""
    groups, group, _, blocks, seen = sizes
    parts, wide = seen // _BLOCK, _BLOCK * group  # of what a block sees
    spare = parts - 1
    room = d.new_empty(groups, blocks + 2 * spare, seen * group)
    room[:, :spare].zero_()
    room[:, spare + blocks :].zero_()
    torch.bmm(d, matrix.mT, out=room[:, spare : spare + blocks])
    # Frames j b to (j + 1) b - 1 are part m of what block j - m sees.
    strides = room.stride(0), seen * group, spare * wide, 1
    together = room.as_strided((groups, blocks + spare, parts, wide), strides, spare * wide)
    return together.sum(dim=2).view(groups, -1, group)
