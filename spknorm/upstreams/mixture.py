"""The weighted sum of hidden states that s3prl's Featurizer makes of all layers."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def mixture(states: Sequence[Tensor] | Tensor, weights: Tensor, *, normalize: bool) -> Tensor:
    """Return the sum of L hidden states (..., H).

    Args:
        states: One after the other, or stacked (L, ..., H).
        weights: (L,), before their softmax.
        normalize: Layer-normalise each state first (--upstream_feature_normalize).
    """
    stacked = states if isinstance(states, Tensor) else torch.stack(list(states))
    if normalize:
        stacked = functional.layer_norm(stacked, (int(stacked.shape[-1]),))
    shares = weights.softmax(dim=-1).view(-1, *[1] * (stacked.ndim - 1))
    summed: Tensor = (shares * stacked).sum(dim=0)
    return summed
