"""The only minus sign of the method: equation (3) climbs where every other equation descends.

Between the shared part (upstream or gate) and the speaker head; used by `adversaries.py`.
"""

from typing import Any

import torch
from torch import Tensor


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return -ctx.coefficient * gradient, None


def reverse_gradient(features: Tensor, coefficient: float) -> Tensor:
    """Return `features` unchanged; going back, their gradient is multiplied by -coefficient.

    Args:
        features: Any shape.
        coefficient: 0 or more; 0 cuts the gradient, and 1 leaves it to the optimiser how far
            equation (3) climbs.
    """
    result: Tensor = _ReverseGradient.apply(features, coefficient)  # type: ignore[no-untyped-call]
    return result
