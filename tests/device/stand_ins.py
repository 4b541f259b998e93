"""What cuDNN would compute, on the pretended device: results of the right shape, and a count.

cuDNN plans each call at run time, which a library without a GPU cannot be asked to do. Everything
above its calls stays torch's own: autocast, autograd, the choice among the attentions.
"""

import ctypes
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor

calls: Counter[str] = Counter()
"""How often cuDNN was asked, by what for."""
fail_at = 0
"""This call of cuDNN fails for want of memory, counted with `calls`; 0: none does."""
plans: set[tuple[Any, ...]] = set()
"""The shapes of attention for which cuDNN would have made a plan."""


def install() -> torch.library.Library:
    """Put the stand-ins in cuDNN's place; they stay as long as what is returned does."""
    library = torch.library.Library("aten", "IMPL")
    names = ("convolution", "convolution_backward")
    attention = "_scaled_dot_product_cudnn_attention"
    ours = (_convolution, _convolution_backward, _attention, _attention_backward)
    with warnings.catch_warnings():  # that torch has its own
        warnings.simplefilter("ignore")
        for name, own in zip((*names, attention, f"{attention}_backward"), ours, strict=True):
            library.impl(name, own, "CUDA")
    return library


def _count(what: str, times: int = 1) -> None:
    """Count calls, and tell the device's log (ordering.py) in which stream they are."""
    calls[what] += times
    if fail_at and calls.total() - times < fail_at <= calls.total():
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
    number = torch.cuda.current_stream().cuda_stream
    stream = hex(number) if number else "(nil)"
    ctypes.CDLL(None).pretended_note(f"kernel {stream}".encode())


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    assert x.is_cuda and weight.is_cuda and x.dtype == weight.dtype and not transposed
    _count("convolution")
    sizes = [
        (size + 2 * pad - reach * (width - 1) - 1) // step + 1
        for size, width, step, pad, reach in zip(
            x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    return x.new_empty(x.shape[0], weight.shape[0], *sizes)


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: Any, *rest: Any
) -> tuple[Tensor | None, ...]:
    wanted = rest[-1]
    _count("convolution backward", sum(wanted))
    made = torch.empty_like(x), torch.empty_like(weight), gradient.new_empty(weight.shape[0])
    return tuple(one if asked else None for one, asked in zip(made, wanted, strict=True))


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    _count("attention")
    plans.add((*q.shape, dropout_p))
    out = torch.empty_like(q)
    sums = q.new_empty(*q.shape[:3], 1, dtype=torch.float32)
    seed, offset = (torch.empty((), dtype=torch.int64, device=q.device) for _ in range(2))
    return out, sums, None, None, q.shape[2], k.shape[2], seed, offset, None


def _attention_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any, **options: Any
) -> Any:
    _count("attention backward")
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
