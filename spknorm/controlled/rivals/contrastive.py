"""Supervised contrast across speakers: an utterance is drawn to those of its emotion by others.

Khosla et al., NeurIPS 2020, with positives of the same emotion and another speaker, and all other
utterances but the speaker's own of that emotion as negatives.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled import frozen
from spknorm.controlled.rivals import training
from spknorm.controlled.rivals.world import Fitted, Known
from spknorm.method.model import Heads

_TEMPERATURE = 0.2
_WIDTH = 32


class Contrast(training.Rule):
    """The contrastive loss on a projection of what is behind the gate."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, _WIDTH)

    def forward(
        self, heads: Heads, batch: training.Batch, generator: torch.Generator
    ) -> training.Terms:
        """Return the loss as penalty, through which the projection trains, too."""
        rows = functional.normalize(self.project(batch.seen), dim=1)
        loss = contrast(rows, batch.emotion, batch.who)
        return training.Terms(loss.new_zeros(()), loss)


def contrast(rows: Tensor, emotion: Tensor, who: Tensor) -> Tensor:
    """Return the mean loss of unit rows (B, E) that have a positive; 0 if none has."""
    alike = emotion[:, None] == emotion
    same = who[:, None] == who
    positive, left_out = alike & ~same, alike & same
    scores = (rows @ rows.T / _TEMPERATURE).masked_fill(left_out, -torch.inf)
    log_shares = scores - scores.logsumexp(1, keepdim=True)
    counts = positive.sum(1)
    sums = torch.where(positive, log_shares, torch.zeros(())).sum(1)
    has = counts > 0
    if not bool(has.any()):
        return rows.sum() * 0.0
    return -(sums[has] / counts[has]).mean()


def contrastive(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Add the contrastive loss, times `strength`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        rule = Contrast(known.emotional.shape[1])
    return training.train(known, settings, rule, weight=strength, seed=seed)
