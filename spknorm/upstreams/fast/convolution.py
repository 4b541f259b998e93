"""A long convolution over time as products of Fourier transforms (overlap-save).

HuBERT's positional convolution is 128 frames wide: multiplied out it takes a tenth of a training
step on the CPU, in the frequency domain a quarter (float32) to a third (bfloat16) of that.

Legend: N frames of all utterances, H channels in G groups of g, K width of the kernel, S = 2 K
frames of a block of which S - K + 1 are new, n blocks, F = K + 1 frequencies.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.weight_norm import WeightNorm

_WIDE = 64
_LONG = 2
"""Widths of the kernel that N has to be for the kernel's own transform to pay off."""


def is_long(convolution: nn.Conv1d) -> bool:
    """Whether a module is what `convolve` does: wide, centred, every frame, zeros around."""
    (width,) = convolution.kernel_size
    return (
        convolution.stride == convolution.dilation == (1,)
        and convolution.padding == (width // 2,)
        and convolution.padding_mode == "zeros"
        and convolution.in_channels == convolution.out_channels
        and width >= _WIDE
        and not torch.compiler.is_compiling()
    )


def pays_off(convolution: nn.Conv1d, x: Tensor) -> bool:
    """Whether `convolve` does what this module does to (N, H), and is faster."""
    return (
        x.device.type == "cpu"
        and len(x) >= _LONG * convolution.kernel_size[0]
        and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]  # its transforms
        and is_long(convolution)
    )


def normal_weight(convolution: nn.Conv1d, *, written_out: bool) -> Tensor:
    """Return the weight (H, g, K) of a convolution after weight norm, if it has one.

    Args:
        convolution: The module, with either of torch's forms of weight norm.
        written_out: By elementwise kernels: on a GPU torch's own, made for dimensions longer than
            K, takes as long as a transformer layer.
    """
    hooks = list(convolution._forward_pre_hooks.values())
    if written_out and len(hooks) == 1 and isinstance(hooks[0], WeightNorm):
        return _normal(convolution.weight_v, convolution.weight_g, hooks[0].dim)
    if written_out and is_parametrized(convolution, "weight"):
        given: Any = convolution.parametrizations["weight"]  # type: ignore[index]
        if len(given) == 1 and type(given[0]).__name__ == "_WeightNorm":
            return _normal(given.original1, given.original0, given[0].dim)
    for prepare in hooks:  # which normalises it
        prepare(convolution, ())
    return convolution.weight


def _normal(v: Any, g: Any, dim: int) -> Tensor:
    weight: Tensor = v * (g / torch.norm_except_dim(v, 2, dim))
    return weight


def convolve(x: Tensor, lengths: Sequence[int], weight: Tensor) -> Tensor:
    """Return each utterance's convolution with zeros around it, as long as the utterance.

    y[t] = sum over k of weight[k] x[t + k - K // 2], computed in float32.

    Args:
        x: Utterances end to end, (N, H).
        lengths: Frames of each.
        weight: (H, g, K), as of nn.Conv1d.

    Returns:
        (N, H), of x's type.
    """
    width = weight.shape[-1]
    gap = x.new_zeros(width // 2, x.shape[-1])
    pieces = [gap]
    for part in torch.split(x, list(lengths)):
        pieces += [part, gap]
    frames = len(x) + (len(lengths) + 1) * len(gap)
    step = width + 1
    pieces.append(x.new_zeros(-(frames - width + 1) % step, x.shape[-1]))  # to whole blocks
    stream = torch.cat(pieces).float()
    y: Tensor = _Convolution.apply(stream, weight.float()).to(x.dtype)  # type: ignore[no-untyped-call]
    starts = [sum(lengths[:place]) + place * len(gap) for place in range(len(lengths))]
    return torch.cat([y[at : at + size] for at, size in zip(starts, lengths, strict=True)])


class _Convolution(torch.autograd.Function):
    """(n (S - K + 1) + K - 1, H), (H, g, K) -> (n (S - K + 1), H)."""

    @staticmethod
    def forward(ctx: Any, stream: Tensor, weight: Tensor) -> Tensor:
        channels, group, width = weight.shape
        size, step = 2 * width, width + 1
        blocks = stream.unfold(0, size, step)  # (n, H, S)
        x = _by_frequency(torch.fft.rfft(blocks), group)  # (F G, n, g)
        w = torch.fft.rfft(weight, n=size)  # (H, g, F)
        w = w.view(-1, group, group, width + 1).permute(3, 0, 1, 2)  # (F, G, g out, g in)
        w = w.reshape(-1, group, group)
        ctx.save_for_backward(x, w)
        y = torch.bmm(x.conj(), w.transpose(1, 2)).conj()  # X conj(W): correlation
        fresh: Tensor = torch.fft.irfft(_by_channel(y, channels), n=size)[..., :step]
        return fresh.mT.reshape(-1, channels)  # (n, H, S - K + 1) -> (n (S - K + 1), H)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = ctx.saved_tensors
        group = w.shape[-1]
        channels = gradient.shape[-1]
        width = len(w) * group // channels - 1
        size, step = 2 * width, width + 1
        blocks = gradient.view(-1, step, channels).mT  # (n, H, S - K + 1)
        d = _by_frequency(torch.fft.rfft(blocks, n=size), group)
        to_stream = to_weight = None
        if ctx.needs_input_grad[0]:
            spread = torch.fft.irfft(_by_channel(torch.bmm(d, w), channels), n=size).mT  # (n, S, H)
            to_stream = gradient.new_zeros(len(spread) + 1, step, channels)
            to_stream[:-1] = spread[:, :step]
            to_stream[1:, : width - 1] += spread[:, step:]
            to_stream = to_stream.view(-1, channels)[: len(gradient) + width - 1]
        if ctx.needs_input_grad[1]:
            v = torch.bmm(d.conj().transpose(1, 2), x)  # (F G, g out, g in)
            v = v.view(width + 1, channels, group).permute(1, 2, 0)
            to_weight = torch.fft.irfft(v, n=size)[..., :width].contiguous()
        return to_stream, to_weight


def _by_frequency(spectra: Tensor, group: int) -> Tensor:
    """(n, H, F) -> (F G, n, g)."""
    blocks, _, frequencies = spectra.shape
    apart = spectra.view(blocks, -1, group, frequencies).permute(3, 1, 0, 2)
    return apart.reshape(-1, blocks, group)


def _by_channel(spectra: Tensor, channels: int) -> Tensor:
    """(F G, n, g) -> (n, H, F)."""
    _, blocks, group = spectra.shape
    together = spectra.view(-1, channels // group, blocks, group).permute(2, 1, 3, 0)
    return together.reshape(blocks, channels, -1)
