"""An upper bound of the information on the speaker behind the gate, brought down: vCLUB.

Cheng et al., ICML 2020: a speaker head is fitted to log q(speaker | features); the bound is the
mean of it for the true speaker less that for another utterance's, and the gate descends on it.
"""

import torch

from spknorm.controlled import frozen
from spknorm.controlled.rivals import training
from spknorm.controlled.rivals.conditional import Adversary, fixed_logits
from spknorm.controlled.rivals.world import Fitted, Known
from spknorm.method.model import Heads


class Club(Adversary):
    """The bound, by a speaker head on the speaker corpus."""

    def __init__(self, known: Known, settings: frozen.Settings) -> None:
        super().__init__(known, settings, "marginal")

    def forward(
        self, heads: Heads, batch: training.Batch, generator: torch.Generator
    ) -> training.Terms:
        """Return the head's cross-entropy, and the bound for the gate."""
        features, speaker = self._batches.draw(generator)
        seen = heads.gated(features)
        own = torch.nn.functional.cross_entropy(self.head(seen.detach()), speaker)
        log_q = fixed_logits(self.head, seen).log_softmax(-1)
        others = speaker[torch.randperm(len(speaker), generator=generator)]
        bound = log_q.gather(1, speaker[:, None]).mean() - log_q.gather(1, others[:, None]).mean()
        return training.Terms(own, bound)


def club(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Descend on the bound, times `strength`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        rule = Club(known, settings)
    return training.train(known, settings, rule, weight=strength, seed=seed)
