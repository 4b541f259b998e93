"""Training for the worst speaker: domain generalisation with speakers as domains.

`GroupDro` weighs speakers by their loss (Sagawa et al., ICLR 2020), `VRex` penalises the variance
of their losses (Krueger et al., ICML 2021), `Irm` the gradient by a scale of the logits (Arjovsky
et al. 2019, IRMv1). None needs a speaker corpus.
"""

import torch
from torch import Tensor
from torch.nn import functional

from spknorm.controlled import frozen
from spknorm.controlled.fitted import Fitted
from spknorm.controlled.frozen import Data
from spknorm.controlled.pool import Floats
from spknorm.controlled.rivals.training import Batch, Rule, Terms, train
from spknorm.method.model import Heads


class GroupDro(Rule):
    """The loss under weights that grow with each speaker's own, minus the mean that is there."""

    def __init__(self, num_speakers: int, rate: float) -> None:
        super().__init__()
        self._rate = rate
        self.register_buffer("weights", torch.full((num_speakers,), 1.0 / num_speakers))
        self.weights: Tensor

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return what turns the mean loss into the weighted one."""
        losses, present = _losses_of_speakers(batch, len(self.weights))
        grown = self.weights * torch.exp(self._rate * losses.detach() * present)
        self.weights = grown / grown.sum()
        weighted = (self.weights * losses * present).sum() / (self.weights * present).sum()
        return Terms(weighted - batch.losses.mean(), losses.new_zeros(()))


class VRex(Rule):
    """The variance of the speakers' losses."""

    def __init__(self, known: Data[Floats], _: frozen.Settings) -> None:
        super().__init__()
        self._num_speakers = len(set(known.who.tolist()))

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return the variance as penalty."""
        losses, present = _losses_of_speakers(batch, self._num_speakers)
        of_speakers = losses[present > 0]
        # One speaker alone has no variance, of one draw there is no unbiased one.
        spread = of_speakers.var() if len(of_speakers) > 1 else losses.new_zeros(())
        return Terms(losses.new_zeros(()), spread)


class Irm(Rule):
    """The squared gradient of each speaker's loss by a factor of the logits, at 1."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return the mean of the squares as penalty."""
        squares = []
        for speaker in torch.unique(batch.who):
            rows = batch.who == speaker
            scale = torch.ones((), requires_grad=True)
            loss = functional.cross_entropy(scale * batch.logits[rows], batch.emotion[rows])
            (slope,) = torch.autograd.grad(loss, scale, create_graph=True)
            squares.append(slope.square())
        return Terms(batch.losses.new_zeros(()), torch.stack(squares).mean())


def group_dro(known: Data[Floats], settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Weigh speakers by their loss; `strength` is how fast the weights move."""
    rule = GroupDro(len(set(known.who.tolist())), strength)
    return train(known, settings, rule, weight=1.0, seed=seed, gate=False)


def _losses_of_speakers(batch: Batch, num_speakers: int) -> tuple[Tensor, Tensor]:
    """Return each speaker's mean loss (K,), 0 if absent, and whether it is present (K,)."""
    ones = torch.ones_like(batch.losses)
    counts = torch.zeros(num_speakers).index_add(0, batch.who, ones)
    sums = torch.zeros(num_speakers).index_add(0, batch.who, batch.losses)
    return sums / counts.clamp_min(1), (counts > 0).float()
