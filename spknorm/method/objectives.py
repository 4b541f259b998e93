"""The emotion loss l_er of equations (1) and (2): what the emotion head's outputs are held against.

Before `model.py`. Cross-entropy, as in s3prl's emotion task, is the default; a distribution of
votes, weights of classes, and dimensions instead of classes are asked for.

Legend: B utterances, C outputs.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Objective = Callable[[Tensor, Tensor], Tensor]
"""From outputs (B, C) and labels, (B,) indices or (B, C) values, to a loss ()."""

_LEAST_SPREAD = 1e-8


def class_objective(weights: Sequence[float] | None = None) -> Objective:
    """Return the loss of classes.

    Labels (B,) give the cross-entropy; labels (B, C), votes that add up to 1, the divergence (KL)
    of the softmax from them, whose gradient is the cross-entropy's for a single vote.

    Args:
        weights: (C,) of the classes. The loss is the mean over utterances of weight times loss, so
            that parts of a batch add up to the whole; a weight of votes is their mean weight.
    """
    if weights is None:
        return _plain

    placed: dict[torch.device, Tensor] = {}  # once, since the host waits for it

    def weighted(outputs: Tensor, labels: Tensor) -> Tensor:
        device = outputs.device
        if device not in placed:
            placed[device] = torch.as_tensor(weights, dtype=torch.float32, device=device)
        of_class = placed[device]
        if labels.is_floating_point():
            of_label = labels.to(of_class.dtype) @ of_class  # (B, C), (C,) -> (B,)
            return (of_label * _divergence(outputs, labels)).mean()
        losses = functional.cross_entropy(outputs, labels, reduction="none")
        return (of_class[labels] * losses).mean()

    return weighted


def concordance_objective(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over dimensions of 1 - CCC over the batch, for outputs and labels (B, C).

    A batch of one utterance has no spread, and the loss no gradient.
    """
    x, y = labels.to(torch.float32), outputs.to(torch.float32)
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    together = 2 * ((x - mean_x) * (y - mean_y)).mean(dim=0)
    spread = x.var(dim=0, correction=0) + y.var(dim=0, correction=0) + (mean_x - mean_y).square()
    return (1 - together / (spread + _LEAST_SPREAD)).sum()


def _plain(outputs: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        return _divergence(outputs, labels).mean()
    return functional.cross_entropy(outputs, labels)


def _divergence(outputs: Tensor, votes: Tensor) -> Tensor:
    """Return KL(votes || softmax of outputs) of each utterance, (B, C) -> (B,)."""
    log = functional.log_softmax(outputs, dim=-1)  # under autocast in float32
    return functional.kl_div(log, votes.to(log.dtype), reduction="none").sum(dim=-1)
