"""One model on frozen features: the product's gate, heads, losses and update, on pooled rows.

After `pool.py`. A pooled utterance is one frame, so gate and heads see (B, 1, D); the speaker
corpus passes as the frames of a single item, which spares the loop over utterances and changes no
number.

Legend: B utterances, D pooled dimension, K speakers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spknorm.controlled.pool import Floats, Integers
from spknorm.method.adversaries import ADVERSARIES
from spknorm.method.model import Heads
from spknorm.method.updates import Groups, Update, strength
from spknorm.schema import (
    Adversary,
    GroupConfig,
    GroupsConfig,
    MethodConfig,
    OptimizerConfig,
    Strategy,
)
from spknorm.statistics.metrics import classes_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model on frozen features is trained.

    Attributes:
        steps: Optimiser steps.
        lr: Of AdamW for gate and emotion head, with a cosine to 0.
        weight_decay: Of gate and emotion head.
        dropout: In the emotion head.
        emotion_batch: Utterances per step.
        speaker_batch: Utterances per step.
        speaker_lr: Of the speaker head.
        speaker_hidden: Width of its hidden layer.
        gate_width: Width of the gate's hidden layer.
        residual: Whether the gate adds its input to its output.
        speaker_lambda: Coefficient of the reversed gradient.
        confusion_lambda: Coefficient of the confusion loss.
        ramp: Part of the steps over which both grow from 0.
    """

    steps: int = 600
    lr: float = 3e-3
    weight_decay: float = 0.5
    dropout: float = 0.5
    emotion_batch: int = 64
    speaker_batch: int = 96
    speaker_lr: float = 1e-2
    speaker_hidden: int = 64
    gate_width: int = 64
    residual: bool = False
    speaker_lambda: float = 0.5
    confusion_lambda: float = 1.0
    ramp: float = 0.2


class Data(NamedTuple):
    """What one model is trained on.

    Attributes:
        emotional: (N, D) training utterances.
        emotion: (N,) their emotions.
        neutral: (M, D) training part of the speaker corpus.
        speaker: (M,) its speakers, from 0.
    """

    emotional: Floats
    emotion: Integers
    neutral: Floats
    speaker: Integers


class Model(NamedTuple):
    """A trained model.

    Attributes:
        heads: Gate and heads, in evaluation mode.
        speaker_loss: Of the last tenth of the steps; NaN without an adversary.
    """

    heads: Heads
    speaker_loss: float

    def predict(self, features: Floats) -> Integers:
        """Return the emotion (N,) of features (N, D)."""
        with torch.no_grad():
            logits = emotion_logits(self.heads, torch.from_numpy(features))
        return classes_of(logits)

    def represent(self, features: Floats) -> Floats:
        """Return what the heads see of features (N, D)."""
        with torch.no_grad():
            represented: Floats = self.heads.gated(torch.from_numpy(features)).numpy()
        return represented


def train(
    data: Data,
    settings: Settings,
    *,
    strategy: Strategy,
    adversary: Adversary = "ascent",
    seed: int,
) -> Model:
    """Train gate and heads on frozen features.

    Args:
        data: Standardised features.
        settings: How.
        strategy: `none`, or `SNP` (with a lambda of 0: the gate alone, without normalisation).
        adversary: A key of `ADVERSARIES`.
        seed: Of weights and batches.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = make_heads(data, settings, strategy)
        coefficient = (
            settings.speaker_lambda if adversary == "ascent" else settings.confusion_lambda
        )
        method = MethodConfig(
            strategy=strategy,
            update="reversal",
            adversary=adversary,
            speaker_lambda=coefficient,
            schedule="linear",
            ramp=settings.ramp,
        )
        update = Update(_groups(heads), method=method, optimizer=_optimizer(settings))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(update.emotion, settings.steps)
        emotional, neutral = torch.from_numpy(data.emotional), torch.from_numpy(data.neutral)
        emotion, speaker = torch.from_numpy(data.emotion), torch.from_numpy(data.speaker)
        losses = [float("nan")]

        def emotion_pass() -> None:
            rows = torch.randint(len(emotion), (settings.emotion_batch,), generator=generator)
            logits = emotion_logits(heads, emotional[rows])
            torch.autograd.backward(functional.cross_entropy(logits, emotion[rows]))

        def speaker_pass(reversed_by: float) -> None:
            rows = torch.randint(len(speaker), (settings.speaker_batch,), generator=generator)
            loss = speaker_loss(heads, neutral[rows], speaker[rows], reversed_by, adversary)
            torch.autograd.backward(loss)
            losses.append(float(loss.detach()))

        for step in range(settings.steps):
            update.step(
                emotion_pass,
                speaker_pass,
                strength(method, step=step, total_steps=settings.steps),
            )
            cosine.step()
    heads.eval()
    return Model(heads, float(np.mean(losses[-max(1, settings.steps // 10) :])))


def emotion_logits(heads: Heads, features: Tensor) -> Tensor:
    """Return logits (B, C) of pooled features (B, D): `Heads.emotion_logits` for one frame each."""
    return head_logits(heads, heads.gated(features))


def head_logits(heads: Heads, gated: Tensor) -> Tensor:
    """Return logits (B, C) of features (B, D) that are behind the gate."""
    lengths = torch.ones(len(gated), dtype=torch.int32)
    logits: Tensor = heads.model(heads.projector(gated.unsqueeze(1)), lengths)[0]
    return logits


def speaker_loss(
    heads: Heads, features: Tensor, speaker: Tensor, coefficient: float, adversary: str
) -> Tensor:
    """Return the speaker loss of pooled features (B, D): `Heads.speaker` for one frame each."""
    assert heads.speaker_head is not None
    gated = heads.gated(features)
    return ADVERSARIES[adversary](heads.speaker_head.layers, gated, speaker, coefficient).loss


def make_heads(data: Data, settings: Settings, strategy: Strategy) -> Heads:
    """Return gate and heads of the sizes that the settings say."""
    return Heads(
        data.emotional.shape[1],
        num_emotions=4,
        num_speakers=int(data.speaker.max()) + 1,
        strategy=strategy,
        projector_dim=settings.gate_width,
        select="NonLinearProjection",
        select_options={"dropout": settings.dropout},
        gate={"width": settings.gate_width, "residual": settings.residual},
        speaker_head={"hidden": (settings.speaker_hidden,), "batch_norm": True},
    )


def _groups(heads: Heads) -> Groups:
    return Groups(
        upstream=[],
        gate=list(heads.gate.parameters()) if heads.gate else [],
        emotion_head=[*heads.projector.parameters(), *heads.model.parameters()],
        speaker_head=list(heads.speaker_head.parameters()) if heads.speaker_head else [],
    )


def _optimizer(settings: Settings) -> OptimizerConfig:
    return OptimizerConfig(
        torch_optim_name="AdamW",
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        fused=True,
        groups=GroupsConfig(speaker_head=GroupConfig(lr=settings.speaker_lr, weight_decay=0.0)),
    )
