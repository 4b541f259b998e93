"""Two branches: one is trained to know the speaker, the other is kept orthogonal to it.

As in domain separation networks (Bousmalis et al., NeurIPS 2016): the penalty is the squared
product of the two branches' features, row by row.
"""

import torch
from torch import nn
from torch.nn import functional

from spknorm.controlled import frozen
from spknorm.controlled.rivals import training
from spknorm.controlled.rivals.world import Fitted, Known
from spknorm.method.model import Heads


class Branches(training.Rule):
    """A second gate with a speaker head, on the speaker corpus."""

    def __init__(self, known: Known, settings: frozen.Settings) -> None:
        super().__init__()
        dim = known.neutral.shape[1]
        self._batches = training.SpeakerRows(known, settings.speaker_batch)
        self.branch = nn.Sequential(
            nn.Linear(dim, settings.gate_width), nn.ReLU(), nn.Linear(settings.gate_width, dim)
        )
        self.head = training.speaker_head(dim, settings, self._batches.num_speakers)

    def forward(
        self, heads: Heads, batch: training.Batch, generator: torch.Generator
    ) -> training.Terms:
        """Return the speaker branch's loss, and the overlap of both branches."""
        features, speaker = self._batches.draw(generator)
        branch = self.branch(features)
        own = functional.cross_entropy(self.head(branch), speaker)
        seen = functional.normalize(heads.gated(features) - heads.gated(features).mean(0), dim=1)
        other = functional.normalize((branch - branch.mean(0)).detach(), dim=1)
        overlap = (seen.T @ other).square().sum() / len(features)
        return training.Terms(own, overlap)


def branches(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Penalise the overlap, times `strength`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        rule = Branches(known, settings)
    return training.train(known, settings, rule, weight=strength, seed=seed)
