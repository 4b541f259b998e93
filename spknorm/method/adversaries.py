"""What the speaker head's loss asks of the part below it: the paper's ascent and two alternatives.

Each function takes the speaker head's layers, means over time (B, H), labels (B,), a coefficient.
Cross-entropy trains the head as it is (equation 4); what is below, the gate or the upstream, gets
`coefficient` times the gradient of the adversary's own objective (equation 3). Used by `model.py`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.method.gradients import reverse_gradient

Objective = Callable[[Tensor], Tensor]
"""From logits (B, K) to a scalar."""


class Prediction(NamedTuple):
    """A loss (scalar, mean over utterances) and the logits behind it, (B, C) or (B, K)."""

    loss: Tensor
    logits: Tensor


def _ascent(head: nn.Module, pooled: Tensor, labels: Tensor, coefficient: float) -> Prediction:
    """The paper's: cross-entropy for the head, its reversed gradient for what is below."""
    logits = head(reverse_gradient(pooled, coefficient))
    return Prediction(functional.cross_entropy(logits, labels), logits)


def _driven(
    objective: Objective, head: nn.Module, pooled: Tensor, labels: Tensor, coefficient: float
) -> Prediction:
    """Cross-entropy for the head, the gradient of an objective for what is below.

    The objective falls as the shared part is driven to the uniform guess.
    """
    logits = head(pooled.detach())
    state = (*head.named_parameters(), *head.named_buffers())
    fixed = {name: value.detach().clone() for name, value in state}
    seen: Tensor = torch.func.functional_call(head, fixed, (pooled,))  # for what is below alone
    driven = coefficient * objective(seen)
    loss = functional.cross_entropy(logits, labels) + (driven - driven.detach())  # 0 in value
    return Prediction(loss, logits)


def _against_uniform(logits: Tensor) -> Tensor:
    """Cross-entropy against 1/K (Nagrani et al.)."""
    return -logits.log_softmax(dim=-1).mean()


def _negative_entropy(logits: Tensor) -> Tensor:
    """The speaker posterior's entropy, which the uniform guess has the largest of, negated."""
    log_posterior = logits.log_softmax(dim=-1)
    return (log_posterior.exp() * log_posterior).sum(dim=-1).mean()


_OBJECTIVES: dict[str, Objective] = {
    "confusion": _against_uniform,
    "entropy": _negative_entropy,
}
Adversary = Callable[[nn.Module, Tensor, Tensor, float], Prediction]
ADVERSARIES: dict[str, Adversary] = {
    "ascent": _ascent,
    **{name: functools.partial(_driven, each) for name, each in _OBJECTIVES.items()},
}


def excess_of(adversary: str, logits: Tensor) -> Tensor:
    """Return what an adversary's objective has over its least, the uniform guess's, a scalar.

    Args:
        adversary: confusion or entropy.
        logits: (B, K).
    """
    objective = _OBJECTIVES[adversary]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return objective(logits) - objective(torch.zeros_like(logits))
