"""What the speaker head's loss asks of the part below it: the paper's ascent and two alternatives.

Each function takes the speaker head's layers, means over time (B, H), labels (B,), a coefficient.
Cross-entropy trains the head as it is (equation 4); what is below, the gate or the upstream, gets
`coefficient` times the gradient of the adversary's own objective (equation 3). Used by `model.py`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.method.gradients import reverse_gradient

Objective = Callable[[Tensor], Tensor]
"""From logits (B, K) to a scalar."""

_NOTHING = 1.0e-6
"""Nats: of less than this over the uniform guess there is nothing to take."""


class Prediction(NamedTuple):
    """A loss (scalar, mean over utterances) and the logits behind it, (B, C) or (B, K)."""

    loss: Tensor
    logits: Tensor


def _ascent(head: nn.Module, pooled: Tensor, labels: Tensor, coefficient: float) -> Prediction:
    """The paper's: cross-entropy for the head, its reversed gradient for what is below."""
    logits = head(reverse_gradient(pooled, coefficient))
    return Prediction(functional.cross_entropy(logits, labels), logits)


def _driven(objective: Objective, *of_batch: Any, logarithmic: bool = False) -> Prediction:
    """Cross-entropy for the head, the gradient of an objective for what is below.

    Args:
        objective: Falls as the shared part is driven to the uniform guess.
        of_batch: What an adversary takes.
        logarithmic: Of the logarithm of what the objective has over the uniform guess, so that the
            inverse of the gradient's norm is the length that to first order takes all of it.
    """
    head, pooled, labels, coefficient = of_batch
    prediction, seen = _two_views(head, pooled, labels)
    found = objective(seen)
    if logarithmic:
        found = (found - objective(torch.zeros_like(seen))).clamp(min=_NOTHING).log()
    return _with_gradient_of(prediction, coefficient * found)


def _against_uniform(logits: Tensor) -> Tensor:
    """Cross-entropy against 1/K (Nagrani et al.)."""
    return -logits.log_softmax(dim=-1).mean()


def _negative_entropy(logits: Tensor) -> Tensor:
    """The speaker posterior's entropy, which the uniform guess has the largest of, negated."""
    log_posterior = logits.log_softmax(dim=-1)
    return (log_posterior.exp() * log_posterior).sum(dim=-1).mean()


def _two_views(head: nn.Module, pooled: Tensor, labels: Tensor) -> tuple[Prediction, Tensor]:
    """Cross-entropy for the head alone, and logits (B, K) for what is below the head alone."""
    logits = head(pooled.detach())
    fixed = {name: value.detach().clone() for name, value in _state(head).items()}
    seen: Tensor = torch.func.functional_call(head, fixed, (pooled,))
    return Prediction(functional.cross_entropy(logits, labels), logits), seen


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _with_gradient_of(prediction: Prediction, objective: Tensor) -> Prediction:
    """The prediction's loss in value, plus the gradient (not the value) of `objective`."""
    return Prediction(prediction.loss + (objective - objective.detach()), prediction.logits)


_OBJECTIVES: dict[str, Objective] = {
    "confusion": _against_uniform,
    "entropy": _negative_entropy,
}
Adversary = Callable[[nn.Module, Tensor, Tensor, float], Prediction]
ADVERSARIES: dict[str, Adversary] = {
    "ascent": _ascent,
    **{name: functools.partial(_driven, each) for name, each in _OBJECTIVES.items()},
}
LOGARITHMIC: dict[str, Adversary] = {
    name: functools.partial(_driven, each, logarithmic=True) for name, each in _OBJECTIVES.items()
}
"""The same of the logarithm, for an ascent with a reach."""
