"""Rivals with a speaker head on the speaker corpus, against which the gate is trained.

`Adversary`: SNP's own ascent in this loop, and adversaries that know of the emotion, so that what
they cannot tell is the speaker given the emotion (Long et al., NeurIPS 2018). `Club`: an upper
bound of the information on the speaker, brought down (Cheng et al., ICML 2020). `Branches`: one
branch is trained to know the speaker, the other is kept orthogonal to it (Bousmalis et al., NeurIPS
2016).
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled.frozen import NUM_EMOTIONS, Data, Settings, head_logits
from spknorm.controlled.pool import Floats
from spknorm.controlled.rivals.training import Batch, Rule, Terms
from spknorm.method.gradients import reverse_gradient
from spknorm.method.model import Heads

View = Literal["marginal", "conditional", "joint"]
_HELD_OUT = 8


class Adversary(Rule):
    """A speaker head whose loss climbs in the gate.

    `view` is what the head sees: features (`marginal`), their outer product with the emotion
    posterior (`conditional`: CDAN), or both side by side (`joint`).
    """

    def __init__(self, known: Data[Floats], settings: Settings, view: View) -> None:
        super().__init__()
        dim: int = known.neutral.shape[1]
        widths = {"conditional": dim * NUM_EMOTIONS, "joint": dim + NUM_EMOTIONS}
        self._view, self._batches = view, SpeakerRows(known, settings)
        self.head = self._batches.head(widths.get(view, dim))

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return the head's loss, and the same with its gradient reversed for the gate."""
        features, speaker = self._batches.draw(generator)
        seen = heads.gated(features)
        posterior = head_logits(heads, seen).softmax(-1).detach()
        own = functional.cross_entropy(self.head(self._joined(seen.detach(), posterior)), speaker)
        climbing = self._joined(reverse_gradient(seen, 1.0), posterior)
        return Terms(own, functional.cross_entropy(fixed_logits(self.head, climbing), speaker))

    def _joined(self, seen: Tensor, posterior: Tensor) -> Tensor:
        if self._view == "marginal":
            return seen
        if self._view == "joint":
            return torch.cat([seen, posterior], dim=1)
        return torch.einsum("bd,bc->bcd", seen, posterior).flatten(1)


class Club(Rule):
    """vCLUB: the head is fitted to log q(speaker | features).

    The bound is the mean of it for the true speaker less that for another utterance's, and the gate
    descends on it.
    """

    def __init__(self, known: Data[Floats], settings: Settings) -> None:
        super().__init__()
        self._batches = SpeakerRows(known, settings)
        self.head = self._batches.head(known.neutral.shape[1])

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return the head's cross-entropy, and the bound for the gate."""
        features, speaker = self._batches.draw(generator)
        seen = heads.gated(features)
        own = functional.cross_entropy(self.head(seen.detach()), speaker)
        log_q = fixed_logits(self.head, seen).log_softmax(-1)
        others = speaker[torch.randperm(len(speaker), generator=generator)]
        bound = log_q.gather(1, speaker[:, None]).mean() - log_q.gather(1, others[:, None]).mean()
        return Terms(own, bound)


class Branches(Rule):
    """A second gate with the head; the penalty is the squared product of the branches' features.

    It weighs as much as the branch knows of the speaker: what is orthogonal to a branch that has
    only learnt its utterances by heart is without anything but them.
    """

    def __init__(self, known: Data[Floats], settings: Settings) -> None:
        super().__init__()
        dim, width = known.neutral.shape[1], settings.gate_width
        held = np.random.default_rng(0).permutation(len(known.speaker)) % _HELD_OUT == 0
        self._batches = SpeakerRows(_only(known, ~held), settings)
        self._held_out = SpeakerRows(_only(known, held), settings)
        self._most = math.log(int(known.speaker.max()) + 1)
        self.branch = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, dim))
        self.head = SpeakerRows(known, settings).head(dim)

    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return the speaker branch's loss, and the overlap of both branches."""
        features, speaker = self._batches.draw(generator)
        branch = self.branch(features)
        own = functional.cross_entropy(self.head(branch), speaker)
        gated = heads.gated(features)
        seen = functional.normalize(gated - gated.mean(0), dim=1)
        other = functional.normalize((branch - branch.mean(0)).detach(), dim=1)
        overlap = (seen.T @ other).square().sum() / len(features)
        return Terms(own, self.known(generator) * overlap)

    @torch.no_grad()
    def known(self, generator: torch.Generator) -> float:
        """Return the share of the speaker's entropy that the head explains of held-out rows."""
        features, speaker = self._held_out.draw(generator)
        self.head.eval()
        loss = float(functional.cross_entropy(self.head(self.branch(features)), speaker))
        self.head.train()
        return max(0.0, 1 - loss / self._most) if self._most else 0.0


class SpeakerRows:
    """Random utterances of the speaker corpus, as SNP on frozen features has them."""

    def __init__(self, known: Data[Floats], settings: Settings) -> None:
        self._features = torch.from_numpy(known.neutral)
        self._speaker = torch.from_numpy(known.speaker)
        self._settings = settings

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return features (B, D) and speakers (B,)."""
        size = (self._settings.speaker_batch,)
        rows = torch.randint(len(self._speaker), size, generator=generator)
        return self._features[rows], self._speaker[rows]

    def head(self, dim: int) -> nn.Sequential:
        """Return a speaker head of the size that SNP's has."""
        width, last = self._settings.speaker_hidden, int(self._speaker.max()) + 1
        layers = (nn.Linear(dim, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, last))
        return nn.Sequential(*layers)


def _only(known: Data[Floats], rows: npt.NDArray[np.bool_]) -> Data[Floats]:
    return known._replace(neutral=known.neutral[rows], speaker=known.speaker[rows])


def fixed_logits(head: nn.Module, seen: Tensor) -> Tensor:
    """Return the head's logits (B, K), through which no gradient reaches the head."""
    state = {name: one.detach().clone() for name, one in head.state_dict(keep_vars=True).items()}
    logits: Tensor = torch.func.functional_call(head, state, (seen,))
    return logits
