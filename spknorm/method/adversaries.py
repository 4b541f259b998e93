"""What the speaker head's loss asks of the part below it: the paper's ascent and two alternatives.

Each function takes the speaker head's layers, means over time (B, H), labels (B,), a coefficient.
Cross-entropy trains the head as it is (equation 4); what is below, the gate or the upstream, gets
`coefficient` times the gradient of the adversary's own objective (equation 3). Used by `model.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.method.gradients import reverse_gradient


class Prediction(NamedTuple):
    """A loss (scalar, mean over utterances) and the logits behind it, (B, C) or (B, K)."""

    loss: Tensor
    logits: Tensor


def _ascent(head: nn.Module, pooled: Tensor, labels: Tensor, coefficient: float) -> Prediction:
    """The paper's: cross-entropy for the head, its reversed gradient for what is below."""
    logits = head(reverse_gradient(pooled, coefficient))
    return Prediction(functional.cross_entropy(logits, labels), logits)


def _confusion(head: nn.Module, pooled: Tensor, labels: Tensor, coefficient: float) -> Prediction:
    """Drive the shared part to the uniform guess: cross-entropy against 1/K (Nagrani et al.)."""
    prediction, seen = _two_views(head, pooled, labels)
    uniform = -seen.log_softmax(dim=-1).mean()
    return _with_gradient_of(prediction, coefficient * uniform)


def _entropy(head: nn.Module, pooled: Tensor, labels: Tensor, coefficient: float) -> Prediction:
    """Drive the shared part to the largest entropy of the speaker posterior."""
    prediction, seen = _two_views(head, pooled, labels)
    log_posterior = seen.log_softmax(dim=-1)
    negative_entropy = (log_posterior.exp() * log_posterior).sum(dim=-1).mean()
    return _with_gradient_of(prediction, coefficient * negative_entropy)


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


ADVERSARIES: dict[str, Callable[[nn.Module, Tensor, Tensor, float], Prediction]] = {
    "ascent": _ascent,
    "confusion": _confusion,
    "entropy": _entropy,
}
