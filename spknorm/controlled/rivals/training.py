"""One loop for rivals that add a term to the emotion loss.

After `world.py`. Gate, head, optimiser and schedule are those of SNP on frozen features; a rival
says what is added, and may bring a head of its own.

Legend: B utterances, D dimensions, C emotions.
"""

import abc
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled import frozen
from spknorm.controlled.rivals.world import Fitted, Known, of_model
from spknorm.method.model import Heads


class Batch(NamedTuple):
    """One step's emotion batch.

    Attributes:
        features: (B, D) as they come.
        seen: (B, D) behind the gate.
        logits: (B, C).
        losses: (B,) cross-entropy of each utterance.
        emotion: (B,).
        who: (B,) speakers.
    """

    features: Tensor
    seen: Tensor
    logits: Tensor
    losses: Tensor
    emotion: Tensor
    who: Tensor


class Terms(NamedTuple):
    """What a rival adds: `own` trains its own parts, `penalty` (times its strength) all else."""

    own: Tensor
    penalty: Tensor


class Rule(nn.Module, abc.ABC):
    """A rival's term, with its parameters."""

    @abc.abstractmethod
    def forward(self, heads: Heads, batch: Batch, generator: torch.Generator) -> Terms:
        """Return the terms of one step."""


def train(
    known: Known,
    settings: frozen.Settings,
    rule: Rule | None,
    *,
    weight: float,
    seed: int,
    offset: Tensor | None = None,
    gate: bool = True,
) -> Fitted:
    """Train gate and head on cross-entropy + weight * penalty.

    Args:
        known: What is trained on.
        settings: Steps, rates and sizes, as for SNP; `speaker_lr` is that of the rule's own parts.
        rule: What is added; None: nothing.
        weight: Strength of the penalty once it has grown (over `settings.ramp`).
        seed: Of weights and batches.
        offset: (N, C) added to the logits in training alone.
        gate: Whether there is one.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = frozen.make_heads(known.data, settings, "SNP" if gate else "none")
        groups = [
            {"params": list(heads.parameters()), "weight_decay": settings.weight_decay},
            {
                "params": [] if rule is None else list(rule.parameters()),
                "lr": settings.speaker_lr,
                "weight_decay": 0.0,
            },
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        features, emotion = torch.from_numpy(known.emotional), torch.from_numpy(known.emotion)
        who = torch.from_numpy(np.unique(known.who, return_inverse=True)[1].astype(np.int64))
        for step in range(settings.steps):
            rows = torch.randint(len(emotion), (settings.emotion_batch,), generator=generator)
            seen = heads.gated(features[rows])
            logits = frozen.head_logits(heads, seen)
            adjusted = logits if offset is None else logits + offset[rows]
            losses = functional.cross_entropy(adjusted, emotion[rows], reduction="none")
            loss = losses.mean()
            if rule is not None:
                batch = Batch(features[rows], seen, logits, losses, emotion[rows], who[rows])
                terms = rule(heads, batch, generator)
                grown = weight * min(1.0, step / max(1.0, settings.ramp * settings.steps))
                loss = loss + terms.own + grown * terms.penalty
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            cosine.step()
    heads.eval()
    return of_model(frozen.Model(heads, float("nan")))


class SpeakerRows:
    """Random utterances of the speaker corpus, as SNP on frozen features has them."""

    def __init__(self, known: Known, size: int) -> None:
        self._features = torch.from_numpy(known.neutral)
        self._speaker = torch.from_numpy(known.speaker)
        self._size = size
        self.num_speakers = int(known.speaker.max()) + 1

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return features (B, D) and speakers (B,)."""
        rows = torch.randint(len(self._speaker), (self._size,), generator=generator)
        return self._features[rows], self._speaker[rows]


class SpeakerBatches:
    """Random utterances of the speaker corpus, some of each of some speakers."""

    def __init__(self, known: Known, *, num_speakers: int, per_speaker: int) -> None:
        self._features = torch.from_numpy(known.neutral)
        order = np.argsort(known.speaker, kind="stable")
        counts = np.bincount(known.speaker)
        self._rows = [torch.from_numpy(one) for one in np.split(order, np.cumsum(counts)[:-1])]
        self._num_speakers = min(num_speakers, len(self._rows))
        self._per_speaker = per_speaker

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return features (S * P, D), speaker after speaker."""
        chosen = torch.randperm(len(self._rows), generator=generator)[: self._num_speakers]
        picked = []
        for speaker in chosen.tolist():
            rows = self._rows[speaker]
            picked.append(rows[torch.randint(len(rows), (self._per_speaker,), generator=generator)])
        return self._features[torch.cat(picked)]


def speaker_head(dim: int, settings: frozen.Settings, num_speakers: int) -> nn.Sequential:
    """Return a speaker head of the size that SNP's has."""
    width = settings.speaker_hidden
    return nn.Sequential(
        nn.Linear(dim, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, num_speakers)
    )
