"""Fine-tuning the demo's upstream in memory: TAP, and plain fine-tuning as its control.

Beside `frozen.py`. The convolutional front end stays frozen, as s3prl has it, so its output is
computed once; the transformer trains under the product's heads and update.

Legend: B utterances, T frames, H dimensions of a frame.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled.frozen import emotion_logits, speaker_loss
from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.upstream import load_encoder, mean_and_deviation
from spknorm.demo.synthesis import FloatArray
from spknorm.metrics import classes_of
from spknorm.model import Heads
from spknorm.schema import (
    Adversary,
    GroupConfig,
    GroupsConfig,
    MethodConfig,
    OptimizerConfig,
    Strategy,
)
from spknorm.schema import Update as Reading
from spknorm.updates import Groups, Update, strength

_BLOCK = 160


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How the upstream is fine-tuned.

    Attributes:
        steps: Optimiser steps.
        lr: Of AdamW for the upstream, with a cosine to 0.
        head_lr: Of the emotion head.
        speaker_lr: Of the speaker head.
        weight_decay: Of the emotion head.
        emotion_batch: Utterances per step.
        speaker_batch: Utterances per step.
        update: Reading of lambda under TAP: reversal, literal or adaptive.
        speaker_lambda: Coefficient of the reversed gradient, or of the confusion loss, under TAP;
            with another update, the step of its ascent.
        speaker_steps: Speaker batches per step; the ascent uses the last.
        warmup: First part of the steps in which the speaker head trains and nothing ascends.
        ramp: Part of the steps over which lambda grows from 0.
    """

    steps: int = 200
    lr: float = 5e-4
    head_lr: float = 3e-3
    speaker_lr: float = 1e-2
    weight_decay: float = 0.5
    emotion_batch: int = 16
    speaker_batch: int = 24
    update: Reading = "reversal"
    speaker_lambda: float = 0.3
    speaker_steps: int = 1
    warmup: float = 0.0
    ramp: float = 0.2


class Frames(NamedTuple):
    """What the front end gives, for the rows that a model is trained on.

    Attributes:
        emotional: (N, T, H).
        emotion: (N,).
        neutral: (M, T, H).
        speaker: (M,).
    """

    emotional: Tensor
    emotion: Integers
    neutral: Tensor
    speaker: Integers


class TunedModel(NamedTuple):
    """A fine-tuned transformer with its heads, in evaluation mode."""

    encoder: nn.Module
    heads: Heads
    speaker_loss: float

    @torch.no_grad()
    def represent(self, frames: Tensor) -> Floats:
        """Return the pooled features (N, 2 H) that the heads see of (N, T, H)."""
        parts = [_pooled(self.encoder, block) for block in torch.split(frames, _BLOCK)]
        pooled: Floats = torch.cat(parts).numpy()
        return pooled

    @torch.no_grad()
    def predict(self, frames: Tensor) -> Integers:
        """Return the emotion (N,) of (N, T, H)."""
        pooled = torch.from_numpy(self.represent(frames))
        predicted: Integers = classes_of(emotion_logits(self.heads, pooled))
        return predicted


@torch.no_grad()
def front_end(upstream: Any, waves: Iterable[FloatArray]) -> Tensor:
    """Return the output (N, T, H) of the frozen convolutions, normalised, for waves (L,)."""
    model = upstream.model
    rows = torch.stack([torch.from_numpy(wave).float() for wave in waves])
    parts = [
        model.layer_norm(model.forward_features(block).transpose(1, 2))
        for block in torch.split(rows, _BLOCK)
    ]
    return torch.cat(parts)


def fine_tune(
    frames: Frames,
    settings: FineTuning,
    *,
    strategy: Strategy,
    adversary: Adversary = "ascent",
    seed: int,
) -> TunedModel:
    """Fine-tune the transformer of the demo's upstream.

    Args:
        frames: What to train on.
        settings: How.
        strategy: `none` or `TAP`.
        adversary: A key of `ADVERSARIES`.
        seed: Of weights and batches.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # layerdrop draws from numpy, whatever its rate
        encoder = load_encoder().eval()  # no dropout: a fifth of the time for a rate of .05
        heads = _make_heads(frames, strategy)
        method = MethodConfig(
            strategy=strategy,
            update=settings.update,
            adversary=adversary,
            speaker_lambda=settings.speaker_lambda,
            ascent_lr=settings.speaker_lambda if settings.update == "adaptive" else None,
            schedule="linear",
            ramp=settings.ramp,
            speaker_warmup_steps=round(settings.warmup * settings.steps),
        )
        update = Update(
            _groups(encoder, heads), method=method, optimizer=_optimizer(settings), clipping=1.0
        )
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(update.emotion, settings.steps)
        losses = [float("nan")]

        def draw(size: int, labels: Integers) -> tuple[Tensor, Tensor]:
            rows = torch.randint(len(labels), (size,), generator=generator)
            return rows, torch.from_numpy(labels)[rows]

        def emotion_pass() -> None:
            rows, labels = draw(settings.emotion_batch, frames.emotion)
            logits = emotion_logits(heads, _pooled(encoder, frames.emotional[rows]))
            torch.autograd.backward(functional.cross_entropy(logits, labels))

        def speaker_pass(reversed_by: float) -> None:
            rows, labels = draw(settings.speaker_batch, frames.speaker)
            with torch.set_grad_enabled(reversed_by > 0):
                pooled = _pooled(encoder, frames.neutral[rows])
            loss = speaker_loss(heads, pooled, labels, reversed_by, adversary)
            torch.autograd.backward(loss)
            losses.append(float(loss.detach()))

        for step in range(settings.steps):
            if strategy == "TAP":
                for _ in range(settings.speaker_steps - 1):
                    update.train_speaker_head(speaker_pass)
            update.step(
                emotion_pass,
                speaker_pass,
                strength(method, step=step, total_steps=settings.steps),
            )
            cosine.step()
    heads.eval()
    return TunedModel(encoder, heads, float(np.mean(losses[-max(1, settings.steps // 10) :])))


def _pooled(encoder: Any, frames: Tensor) -> Tensor:
    """Return (B, 2 H): the pooled sum of all hidden states, which are those of s3prl's expert."""
    first: list[Tensor] = []
    hook = encoder.layers[0].register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
    try:
        last, layers = encoder(frames.clone(), padding_mask=None)
    finally:
        hook.remove()
    hidden = [first[0].transpose(0, 1)]  # (T, B, H) -> (B, T, H)
    hidden += [layer[0].transpose(0, 1) for layer in layers[:-1]] + [last]
    normalised = [functional.layer_norm(one, one.shape[-1:]) for one in hidden]
    return mean_and_deviation(torch.stack(normalised).mean(0))


def _make_heads(frames: Frames, strategy: Strategy) -> Heads:
    return Heads(
        2 * frames.emotional.shape[-1],
        num_emotions=4,
        num_speakers=int(frames.speaker.max()) + 1,
        strategy=strategy,
        projector_dim=64,
        select="NonLinearProjection",
        select_options={"dropout": 0.5},
        speaker_head={"hidden": (64,), "batch_norm": True},
    )


def _groups(encoder: nn.Module, heads: Heads) -> Groups:
    return Groups(
        upstream=list(encoder.parameters()),
        gate=[],
        emotion_head=[*heads.projector.parameters(), *heads.model.parameters()],
        speaker_head=list(heads.speaker_head.parameters()) if heads.speaker_head else [],
    )


def _optimizer(settings: FineTuning) -> OptimizerConfig:
    return OptimizerConfig(
        torch_optim_name="AdamW",
        lr=settings.lr,
        fused=True,
        groups=GroupsConfig(
            emotion_head=GroupConfig(lr=settings.head_lr, weight_decay=settings.weight_decay),
            speaker_head=GroupConfig(lr=settings.speaker_lr),
        ),
    )
