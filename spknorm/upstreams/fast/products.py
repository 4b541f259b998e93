"""Products with weights: on the CPU by oneDNN where MKL leaves half of the processor idle.

torch multiplies float32 matrices by MKL, which on processors of other makers than Intel computes
half as many numbers at once as those with AVX-512 can. oneDNN, which torch has for convolutions,
takes all of it: a training step's largest part halves, with the same sums in another order.
"""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spknorm.upstreams.fast.layout import autocast_dtype

_CPUINFO = Path("/proc/cpuinfo")


def project(module: nn.Module, x: Tensor) -> Tensor:
    """Return module(x) for x (N, in); a plain nn.Linear's by oneDNN where that is faster."""
    if not (type(module) is nn.Linear and _is_for_one_dnn(module, x)):
        projected: Tensor = module(x)
        return projected
    product: Tensor = _Linear.apply(x, module.weight, module.bias)  # type: ignore[no-untyped-call]
    return product


def in_float32(a: Tensor, b: Tensor, into: Tensor | None = None) -> Tensor:
    """Return the product of two matrices, or of stacks of them, in float32 (float64 of such)."""
    multiply = torch.mm if a.ndim == 2 else torch.bmm
    if a.device.type == "cuda" and torch.version.hip is None:  # which sums nothing in 16 bits
        return multiply(a, b, out_dtype=torch.float32, out=into)
    wider = torch.promote_types(a.dtype, torch.float32)
    return multiply(a.to(wider), b.to(wider), out=into)


def _is_for_one_dnn(module: nn.Linear, x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == module.weight.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and autocast_dtype(x.device) is None
        and torch.get_float32_matmul_precision() == "highest"  # else oneDNN rounds, MKL does not
        and bool(torch.backends.mkldnn.enabled)
        and not (module._forward_hooks or module._forward_pre_hooks)
        and _mkl_takes_half()
    )


@functools.cache
def _mkl_takes_half() -> bool:
    """Whether MKL is the slower of the two on this processor."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        return "GenuineIntel" not in _CPUINFO.read_text()
    except OSError:
        return False


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, in), (out, in) -> (N, out), whatever the strides."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


class _Linear(torch.autograd.Function):
    """(N, in), (out, in), (out,) -> (N, out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        gradient = gradient.contiguous()
        return (
            _product(gradient, weight.T) if to_x else None,
            _product(gradient.T, x.T) if to_weight else None,
            gradient.sum(dim=0) if to_bias else None,
        )
