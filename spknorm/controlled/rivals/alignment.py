"""Rivals that make speakers alike without a classifier.

`Alignment`: distributions of speakers of the speaker corpus behind the gate, some of which are
drawn at each step. `Contrast`: supervised contrast (Khosla et al., NeurIPS 2020), in which an
utterance is drawn to those of its emotion by others.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled.frozen import Data, Settings
from spknorm.controlled.pool import Floats
from spknorm.controlled.rivals.training import Batch, Rule, Terms
from spknorm.method.model import Heads

_SPEAKERS, _PER_SPEAKER = 6, 12
_KERNELS = (0.25, 0.5, 1.0, 2.0, 4.0)
_TEMPERATURE = 0.2
_WIDTH = 32


class Alignment(Rule):
    """The mean distance between pairs of speakers behind the gate."""

    def __init__(
        self, known: Data[Floats], _: Settings, distance: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self._distance = distance
        self._features = torch.from_numpy(known.neutral)
        order = np.argsort(known.speaker, kind="stable")
        ends = np.cumsum(np.bincount(known.speaker))
        self._rows = [torch.from_numpy(one) for one in np.split(order, ends[:-1])]

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return no loss of its own, and the mean distance."""
        rows = heads.gated(self._features[self._draw(generator)])
        # Of one deviation each: what is shrunk in front of the head would be aligned for nothing.
        rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-4)
        of_speakers = rows.view(-1, _PER_SPEAKER, rows.shape[1])
        one, other = torch.combinations(torch.arange(len(of_speakers))).T
        # Of one speaker alone there is no pair, and nothing to be made alike.
        distance = self._distance(of_speakers[one], of_speakers[other]).sum() / max(1, len(one))
        return Terms(distance.new_zeros(()), distance)

    def _draw(self, generator: torch.Generator) -> Tensor:
        """Return rows of some utterances of some speakers, speaker after speaker."""
        found = []
        for speaker in torch.randperm(len(self._rows), generator=generator)[:_SPEAKERS].tolist():
            rows = self._rows[speaker]
            found.append(rows[torch.randint(len(rows), (_PER_SPEAKER,), generator=generator)])
        return torch.cat(found)


def mmd(one: Tensor, other: Tensor) -> Tensor:
    """Return the maximum mean discrepancy (...) of rows (..., P, D), squared and unbiased.

    With Gaussian kernels of several widths (Gretton et al., JMLR 2012; Long et al., ICML 2015). A
    row is not held against itself: that would reward what few rows have in common by chance.
    """
    both = torch.cat([one, other], dim=-2)
    squares = torch.cdist(both, both).square()
    scale = squares.detach().mean((-2, -1), keepdim=True).clamp_min(1e-6)
    kernel = torch.stack([(-squares / (width * scale)).exp() for width in _KERNELS]).mean(0)
    size = one.shape[-2]
    across = kernel[..., :size, size:].sum((-2, -1))
    within = kernel.sum((-2, -1)) - 2 * across - 2 * size
    return within / (size * (size - 1)) - 2 * across / size**2


def coral(one: Tensor, other: Tensor) -> Tensor:
    """Return how far means and second moments of rows (..., P, D) are apart, (...).

    After Sun and Saenko, ECCV workshops 2016.
    """
    size, dim = one.shape[-2:]
    means = (one.mean(-2) - other.mean(-2)).square().mean(-1)
    first, second = one - one.mean(-2, keepdim=True), other - other.mean(-2, keepdim=True)
    # |A'A - B'B|^2 of Gram matrices (P, P), which are smaller than covariances (D, D).
    squares = _overlap(first, first) + _overlap(second, second) - 2 * _overlap(first, second)
    return means + squares / (size * dim) ** 2


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.mT).square().sum((-2, -1))


class Contrast(Rule):
    """The contrastive loss on a projection of what is behind the gate."""

    def __init__(self, known: Data[Floats], _: Settings) -> None:
        super().__init__()
        self.project = nn.Linear(known.emotional.shape[1], _WIDTH)

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return the loss as penalty, through which the projection trains, too."""
        rows = functional.normalize(self.project(batch.seen), dim=1)
        loss = contrast(rows, batch.emotion, batch.who)
        return Terms(loss.new_zeros(()), loss)


def contrast(rows: Tensor, emotion: Tensor, who: Tensor) -> Tensor:
    """Return the mean loss of unit rows (B, E) that have a positive; 0 if none has.

    Positives are of the same emotion and another speaker; negatives are all other utterances but
    the speaker's own of that emotion.
    """
    alike, same = emotion[:, None] == emotion, who[:, None] == who
    positive, left_out = alike & ~same, alike & same
    scores = (rows @ rows.T / _TEMPERATURE).masked_fill(left_out, -torch.inf)
    log_shares = scores - scores.logsumexp(1, keepdim=True)
    counts = positive.sum(1)
    sums = torch.where(positive, log_shares, torch.zeros(())).sum(1)
    has = counts > 0
    if not bool(has.any()):
        return rows.sum() * 0.0
    return -(sums[has] / counts[has]).mean()
