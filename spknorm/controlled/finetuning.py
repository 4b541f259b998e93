"""Fine-tuning the demo's upstream in memory: plain, under TAP, and behind a closed-form eraser.

Beside `frozen.py`, whose model is where fine-tuning starts: its emotion head is trained on the
upstream as it comes before the upstream moves (Kumar et al. 2022, arXiv 2202.10054), so that
fine-tuning can be told from a head that has to find its way. The transformer trains
under the product's heads and update; the convolutions below it are frozen (`view.py`).

Legend: B utterances, T frames, H dimensions of a frame, D = 2 H of a pooled utterance.
"""

import copy
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled import frozen
from spknorm.controlled.frozen import emotion_logits, speaker_loss
from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.upstream import load_encoder
from spknorm.controlled.view import View
from spknorm.method.model import Heads, SpeakerHead
from spknorm.method.updates import Groups, Update, strength
from spknorm.probe.erasure import erase, fit_leace
from spknorm.schema import (
    Adversary,
    GroupConfig,
    GroupsConfig,
    MethodConfig,
    OptimizerConfig,
    Strategy,
)
from spknorm.schema import Update as Reading
from spknorm.statistics.metrics import classes_of

_HEAD_BATCH = 96


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
        update: Reading of lambda under TAP.
        ascent_direction: raw or preconditioned; of the reading `relative`.
        speaker_lambda: Of that reading; with `adaptive`, the rate of the ascent.
        speaker_steps: Speaker batches per step; the ascent uses the last.
        speaker_pretrain_steps: Of the speaker head on the upstream as it comes.
        ramp: Part of the steps over which lambda grows from 0.
        rank: Directions that an eraser between upstream and heads takes out; 0: no eraser.
        refit_steps: Steps after which the eraser is fitted anew, on the whole speaker corpus.
    """

    steps: int = 100
    lr: float = 5e-4
    head_lr: float = 1e-3
    speaker_lr: float = 1e-2
    weight_decay: float = 0.5
    emotion_batch: int = 32
    speaker_batch: int = 32
    update: Reading = "relative"
    ascent_direction: Literal["raw", "preconditioned"] = "preconditioned"
    speaker_lambda: float = 4.0
    speaker_steps: int = 1
    speaker_pretrain_steps: int = 600
    ramp: float = 0.2
    rank: int = 0
    refit_steps: int = 20


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
    """A transformer with its heads, in evaluation mode.

    Attributes:
        view: What the heads see.
        heads: Emotion head, and speaker head under TAP.
        speaker_loss: Of the last tenth of the steps; NaN without an adversary.
    """

    view: View
    heads: Heads
    speaker_loss: float

    def represent(self, frames: Tensor) -> Floats:
        """Return what the heads see (N, D) of (N, T, H)."""
        return self.view.of_all(frames)

    @torch.no_grad()
    def predict(self, frames: Tensor) -> Integers:
        """Return the emotion (N,) of (N, T, H)."""
        seen = torch.from_numpy(self.represent(frames))
        predicted: Integers = classes_of(emotion_logits(self.heads, seen))
        return predicted


def begin(frames: Frames, settings: frozen.Settings, *, rank: int = 0, seed: int) -> TunedModel:
    """Train the emotion head on the upstream as it comes: strategy none, frozen.

    Args:
        frames: What to train on.
        settings: How; those of the frozen models.
        rank: Directions that an eraser takes out before; 0: no eraser.
        seed: Of weights and batches.
    """
    view = View(load_encoder().eval())  # no dropout: a fifth of the time for a rate of .05
    emotional, neutral = view.of_all(frames.emotional), view.of_all(frames.neutral)
    known = np.concatenate([emotional, neutral])
    mean, std = known.mean(0), known.std(0) + 1e-6
    view.scale = torch.from_numpy(mean), torch.from_numpy(std)
    emotional, neutral = (emotional - mean) / std, (neutral - mean) / std
    if rank:
        view.eraser = fit_leace(neutral, frames.speaker, rank=rank)
        emotional, neutral = erase(emotional, view.eraser), erase(neutral, view.eraser)
    data = frozen.Data(emotional, frames.emotion, neutral, frames.speaker)
    model = frozen.train(data, settings, strategy="none", seed=seed)
    return TunedModel(view, model.heads, float("nan"))


def fine_tune(
    frames: Frames,
    settings: FineTuning,
    *,
    start: TunedModel,
    strategy: Strategy,
    adversary: Adversary = "ascent",
    seed: int,
) -> TunedModel:
    """Fine-tune the transformer and the heads of `start`, which stays as it is.

    Args:
        frames: What to train on.
        settings: How.
        start: Of the same frames; with an eraser of `settings.rank` directions if that is not 0.
        strategy: `none` or `TAP`.
        adversary: A key of `ADVERSARIES`.
        seed: Of weights and batches.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # layerdrop draws from numpy, whatever its rate
        view, heads = _copied(start, frames, strategy)
        method = MethodConfig(
            strategy=strategy,
            update=settings.update,
            adversary=adversary,
            speaker_lambda=settings.speaker_lambda,
            ascent_direction=settings.ascent_direction,
            ascent_lr=settings.speaker_lambda if settings.update == "adaptive" else None,
            schedule="linear",
            ramp=settings.ramp,
        )
        groups = _groups(view.encoder, heads)
        update = Update(groups, method=method, optimizer=_optimizer(settings), clipping=1.0)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(update.emotion, settings.steps)
        losses = [float("nan")]

        def draw(size: int, labels: Integers) -> tuple[Tensor, Tensor]:
            rows = torch.randint(len(labels), (size,), generator=generator)
            return rows, torch.from_numpy(labels)[rows]

        def emotion_pass() -> None:
            rows, labels = draw(settings.emotion_batch, frames.emotion)
            logits = emotion_logits(heads, view(frames.emotional[rows]))
            torch.autograd.backward(functional.cross_entropy(logits, labels))

        def speaker_pass(reversed_by: float) -> None:
            rows, labels = draw(settings.speaker_batch, frames.speaker)
            with torch.set_grad_enabled(reversed_by > 0):
                seen = view(frames.neutral[rows])
            loss = speaker_loss(heads, seen, labels, reversed_by, adversary)
            torch.autograd.backward(loss)
            losses.append(float(loss.detach()))

        if strategy == "TAP":
            known = torch.from_numpy(view.of_all(frames.neutral))

            def on_known(_: float) -> None:
                rows, labels = draw(_HEAD_BATCH, frames.speaker)
                torch.autograd.backward(speaker_loss(heads, known[rows], labels, 0.0, "ascent"))

            for _ in range(settings.speaker_pretrain_steps):
                update.train_speaker_head(on_known)
        for step in range(settings.steps):
            if settings.rank and step % settings.refit_steps == 0:
                view.erase(frames.neutral, frames.speaker, settings.rank)
            further = settings.speaker_steps - 1 if strategy == "TAP" else 0
            update.step(
                emotion_pass,
                speaker_pass,
                strength(method, step=step, total_steps=settings.steps),
                head_passes=[speaker_pass] * further,
            )
            cosine.step()
        if settings.rank:
            view.erase(frames.neutral, frames.speaker, settings.rank)
    heads.eval()
    return TunedModel(view, heads, float(np.mean(losses[-max(1, settings.steps // 10) :])))


def _copied(start: TunedModel, frames: Frames, strategy: Strategy) -> tuple[View, Heads]:
    """Return a copy of view and emotion head, with a speaker head where the strategy wants one."""
    view = copy.copy(start.view)
    view.encoder = copy.deepcopy(start.view.encoder)
    heads = copy.deepcopy(start.heads).train()
    heads.strategy = strategy
    if strategy == "TAP":
        num_speakers = int(frames.speaker.max()) + 1
        heads.speaker_head = SpeakerHead(
            2 * frames.neutral.shape[-1], num_speakers, hidden=(64,), batch_norm=True
        )
    return view, heads


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
