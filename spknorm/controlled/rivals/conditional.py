"""Adversaries that know of the emotion: what they cannot tell is the speaker given the emotion.

`conditional` is CDAN (Long et al., NeurIPS 2018): the speaker head sees the outer product of the
features and the emotion posterior. `joint` sees both side by side. `marginal` is SNP's own ascent,
trained by the same loop, beside which they stand.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled import frozen
from spknorm.controlled.rivals import training
from spknorm.controlled.rivals.world import NUM_EMOTIONS, Fitted, Known
from spknorm.method.gradients import reverse_gradient
from spknorm.method.model import Heads

View = Literal["marginal", "conditional", "joint"]


class Adversary(training.Rule):
    """A speaker head on the speaker corpus, whose loss climbs in the gate."""

    def __init__(self, known: Known, settings: frozen.Settings, view: View) -> None:
        super().__init__()
        self._batches = training.SpeakerRows(known, settings.speaker_batch)
        self._view = view
        dim = known.neutral.shape[1]
        width = {
            "marginal": dim,
            "conditional": dim * NUM_EMOTIONS,
            "joint": dim + NUM_EMOTIONS,
        }[view]
        self.head = training.speaker_head(width, settings, self._batches.num_speakers)

    def forward(
        self, heads: Heads, batch: training.Batch, generator: torch.Generator
    ) -> training.Terms:
        """Return the head's loss, and the same with its gradient reversed for the gate."""
        features, speaker = self._batches.draw(generator)
        seen = heads.gated(features)
        posterior = frozen.head_logits(heads, seen).softmax(-1).detach()
        own = functional.cross_entropy(self.head(self._joined(seen.detach(), posterior)), speaker)
        climbing = self._joined(reverse_gradient(seen, 1.0), posterior)
        return training.Terms(
            own, functional.cross_entropy(fixed_logits(self.head, climbing), speaker)
        )

    def _joined(self, seen: Tensor, posterior: Tensor) -> Tensor:
        if self._view == "marginal":
            return seen
        if self._view == "joint":
            return torch.cat([seen, posterior], dim=1)
        return torch.einsum("bd,bc->bcd", seen, posterior).flatten(1)


def fixed_logits(head: nn.Module, seen: Tensor) -> Tensor:
    """Return the head's logits (B, K), through which no gradient reaches the head."""
    state = {name: one.detach().clone() for name, one in head.state_dict(keep_vars=True).items()}
    logits: Tensor = torch.func.functional_call(head, state, (seen,))
    return logits


def marginal(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """SNP by ascent: the speaker head sees the features alone."""
    return _train(known, settings, strength, seed, "marginal")


def conditional(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """CDAN: the speaker head sees features times emotion posterior."""
    return _train(known, settings, strength, seed, "conditional")


def joint(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """The speaker head sees features and emotion posterior side by side."""
    return _train(known, settings, strength, seed, "joint")


def _train(
    known: Known, settings: frozen.Settings, strength: float, seed: int, view: View
) -> Fitted:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        rule = Adversary(known, settings, view)
    return training.train(known, settings, rule, weight=strength, seed=seed)
