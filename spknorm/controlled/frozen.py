"""One model on frozen features: the product's gate, heads, losses and update, on pooled rows.

After `pool.py`. A pooled utterance is one frame, so gate and heads see (B, 1, D); the speaker
corpus passes as the frames of a single item, which spares the loop over utterances and changes no
number.

Legend: B utterances, D pooled dimension, K speakers, C emotions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spknorm import schema
from spknorm.controlled.pool import Features, Floats, Integers
from spknorm.controlled.upstream import View
from spknorm.method.adversaries import ADVERSARIES, Prediction, excess_of
from spknorm.method.model import Heads
from spknorm.method.updates import Groups, Update, strength
from spknorm.statistics.metrics import classes_of

NUM_EMOTIONS = 4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model on frozen features is trained; batches are utterances per step.

    Attributes:
        lr: Of AdamW for gate and emotion head, with a cosine to 0, as `weight_decay`.
        dropout: In the emotion head.
        speaker_hidden: Width of the speaker head's hidden layer, as `gate_width` of the gate's.
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


class Data(NamedTuple, Generic[Features]):
    """What one model is trained on: features of N utterances with their emotions, and others.

    Attributes:
        neutral: Features of M utterances, the training part of the speaker corpus.
        speaker: (M,) its speakers, from 0.
        who: (N,) speakers of the training utterances, where a method asks for them.
    """

    emotional: Features
    emotion: Integers
    neutral: Features
    speaker: Integers
    who: Integers = np.empty(0, dtype=np.int64)


class Model(NamedTuple):
    """A trained model: gate and heads, in evaluation mode.

    Attributes:
        speaker_loss: Of the last tenth of the steps; None without an adversary.
        view: What the heads see of a fine-tuned upstream's frames; None: features are pooled.
    """

    heads: Heads
    speaker_loss: float | None = None
    view: View | None = None

    @torch.no_grad()
    def represent(self, features: Any) -> Floats:
        """Return what the emotion head sees (N, D) of features."""
        seen = features if self.view is None else self.view.of_all(features)
        represented: Floats = self.heads.gated(torch.from_numpy(seen)).numpy()
        return represented

    @torch.no_grad()
    def predict(self, features: Any) -> Integers:
        """Return the emotion (N,) of features."""
        return classes_of(head_logits(self.heads, torch.from_numpy(self.represent(features))))


def train(
    data: Data[Floats],
    settings: Settings,
    *,
    strategy: schema.Strategy = "none",
    adversary: schema.Adversary = "ascent",
    seed: int,
) -> Model:
    """Train gate and heads on frozen features.

    The strategy is `none`, or `SNP` (with a lambda of 0: the gate alone, without normalisation).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = make_heads(data, settings, strategy)
        by_ascent = adversary == "ascent"
        method = schema.MethodConfig(
            strategy=strategy,
            update="reversal",
            adversary=adversary,
            speaker_lambda=settings.speaker_lambda if by_ascent else settings.confusion_lambda,
            schedule="linear",
            ramp=settings.ramp,
        )
        head = schema.GroupConfig(lr=settings.speaker_lr, weight_decay=0.0)
        optimizer = schema.OptimizerConfig(
            torch_optim_name="AdamW",
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            fused=True,
            groups=schema.GroupsConfig(speaker_head=head),
        )
        update = Update(groups_of(heads), method=method, optimizer=optimizer)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(update.emotion, settings.steps)
        emotional, neutral = torch.from_numpy(data.emotional), torch.from_numpy(data.neutral)
        rows = Data(emotional, data.emotion, neutral, data.speaker)
        generator = torch.Generator().manual_seed(seed)
        passes = PooledPasses(heads, rows, settings, adversary, generator)
        for step in range(settings.steps):
            by = strength(method, step=step, total_steps=settings.steps)
            update.step(passes.emotion, passes.speaker, by)
            cosine.step()
    heads.eval()
    return Model(heads, passes.last_loss())


@dataclass
class PooledPasses:
    """The emotion and the speaker pass of a step, on random utterances.

    Settings are those of frozen or of fine-tuned models; the heads see `view` of the features.
    `losses` are the speaker's; `last` is the emotion loss () and the speaker logits (B, K).
    """

    heads: Heads
    data: Data[Tensor]
    settings: Any
    adversary: schema.Adversary
    generator: torch.Generator
    view: Callable[[Tensor], Tensor] = lambda features: features
    losses: list[float] = field(default_factory=list)
    last: dict[str, Tensor] = field(default_factory=dict)

    def emotion(self) -> None:
        """Compute the gradients of the emotion loss."""
        rows, labels = self._draw(self.settings.emotion_batch, self.data.emotion)
        gated = self.heads.gated(self.view(self.data.emotional[rows]))
        logits = head_logits(self.heads, gated)
        loss = functional.cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        self.last["emotion"] = loss.detach()

    def speaker(self, reversed_by: float) -> None:
        """Compute the gradients of the speaker loss, which reach the upstream if reversed."""
        rows, labels = self._draw(self.settings.speaker_batch, self.data.speaker)
        with torch.set_grad_enabled(reversed_by > 0):
            seen = self.view(self.data.neutral[rows])
        found = predict_speaker(self.heads, seen, labels, reversed_by, self.adversary)
        torch.autograd.backward(found.loss)
        self.losses.append(float(found.loss.detach()))
        self.last["speaker"] = found.logits.detach()

    def falling(self) -> Sequence[Tensor]:
        """Return what `relative_to: loss` goes by, of the last two passes."""
        return self.last["emotion"], excess_of(self.adversary, self.last["speaker"])

    def _draw(self, size: int, labels: Integers) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(labels), (size,), generator=self.generator)
        return rows, torch.from_numpy(labels)[rows]

    def last_loss(self) -> float | None:
        """Return the mean speaker loss of the last tenth of the steps; None without any."""
        tenth = max(1, self.settings.steps // 10)
        return float(np.mean(self.losses[-tenth:])) if self.losses else None


def head_logits(heads: Heads, gated: Tensor) -> Tensor:
    """Return logits (B, C) of features (B, D) behind the gate: `Heads`' of one frame each."""
    lengths = torch.ones(len(gated), dtype=torch.int32)
    logits: Tensor = heads.model(heads.projector(gated.unsqueeze(1)), lengths)[0]
    return logits


def predict_speaker(
    heads: Heads, features: Tensor, speaker: Tensor, coefficient: float, adversary: str
) -> Prediction:
    """Return loss and logits of pooled features (B, D): `Heads.speaker` for one frame each."""
    assert heads.speaker_head is not None
    gated = heads.gated(features)
    return ADVERSARIES[adversary](heads.speaker_head.layers, gated, speaker, coefficient)


def make_heads(data: Data[Floats], settings: Settings, strategy: schema.Strategy) -> Heads:
    """Return gate and heads of the sizes that the settings say."""
    return Heads(
        data.emotional.shape[1],
        num_emotions=NUM_EMOTIONS,
        num_speakers=int(data.speaker.max()) + 1,
        strategy=strategy,
        projector_dim=settings.gate_width,
        select="NonLinearProjection",
        select_options={"dropout": settings.dropout},
        gate={"width": settings.gate_width, "residual": settings.residual},
        speaker_head={"hidden": (settings.speaker_hidden,), "batch_norm": True},
    )


def groups_of(heads: Heads, upstream: View | None = None) -> Groups:
    """Return who is trained by which optimiser."""
    return Groups(
        upstream=[] if upstream is None else list(upstream.encoder.parameters()),
        gate=list(heads.gate.parameters()) if heads.gate else [],
        emotion_head=[*heads.projector.parameters(), *heads.model.parameters()],
        speaker_head=list(heads.speaker_head.parameters()) if heads.speaker_head else [],
    )
