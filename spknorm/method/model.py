"""What stands on the upstream: the gate, the emotion head g_er and the speaker-ID head g_id.

Features come as s3prl's Featurizer gives them, a list of (T_i, H) tensors, one per utterance.

Legend: B utterances, T frames, H upstream dimension, C emotions (or dimensions), K speakers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.config import to_mapping
from spknorm.method.adversaries import ADVERSARIES, Prediction, excess_of
from spknorm.method.emotion_heads import ACTIVATIONS, make_emotion_head
from spknorm.method.objectives import Objective, class_objective, concordance_objective
from spknorm.method.pooling import means, padded
from spknorm.schema import ExpertConfig


class Gate(nn.Module):
    """SNP's speaker-normalisation projector: a non-linear layer between upstream and heads.

    It works frame by frame. Size and activation are not in the paper. With `residual` the gate
    starts as the identity, so that strategy SNP starts exactly where strategy none does; without,
    which is the default, it kept less of the speaker in our measurements (docs/controlled.md).

    Args:
        dim: H, kept by the gate so that whatever read the upstream can read the gate.
        width: Hidden units, H if None.
        depth: Hidden layers, at least 1.
        activation: A key of `spknorm.method.emotion_heads.ACTIVATIONS`.
        residual: Add the input to the output.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int | None = None,
        depth: int = 1,
        activation: str = "ReLU",
        residual: bool = False,
    ) -> None:
        super().__init__()
        width = width or dim
        layers: list[nn.Module] = []
        for index in range(depth):
            layers += [nn.Linear(width if index else dim, width), ACTIVATIONS[activation]()]
        last = nn.Linear(width, dim)
        if residual:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.residual = residual

    def forward(self, features: Tensor) -> Tensor:
        """Return gated features of the same shape, (..., H) -> (..., H)."""
        gated: Tensor = self.layers(features)
        return features + gated if self.residual else gated


class BatchNorm(nn.BatchNorm1d):
    """torch's, but a training batch of one utterance, which has no spread, is an error no more.

    Such a batch (the piece of a speaker batch that is left over, a process' share of a short one)
    is normalised as in evaluation, by the running statistics, and leaves these as they are; its
    gradient reaches the layers below and weight and bias as ever. So the rows of a batch never
    decide whether a run goes on, and two rows or more are normalised exactly as torch does it.
    """

    def forward(self, pooled: Tensor) -> Tensor:
        """Return normalised means over time of the same shape, (B, H) -> (B, H)."""
        if len(pooled) != 1:
            return super().forward(pooled)
        return functional.batch_norm(
            pooled, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class SpeakerHead(nn.Module):
    """g_id: mean over time, hidden layers, one logit per speaker.

    Args:
        dim: H.
        num_speakers: K.
        hidden: Widths of the hidden layers; empty for a linear head.
        batch_norm: Normalise the pooled features over the batch first; see `BatchNorm`.
        dropout: After each hidden layer.
    """

    def __init__(
        self,
        dim: int,
        num_speakers: int,
        *,
        hidden: Sequence[int] = (256,),
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [BatchNorm(dim)] if batch_norm else []
        for width in hidden:
            layers += [nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout)]
            dim = width
        self.layers = nn.Sequential(*layers, nn.Linear(dim, num_speakers))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits (B, K) of B features of shape (T_i, H)."""
        return self.classify(means(features))

    def classify(self, pooled: Tensor) -> Tensor:
        """Return logits (B, K) of means over time (B, H)."""
        logits: Tensor = self.layers(pooled)
        return logits


class Heads(nn.Module):
    """Gate (strategy SNP), emotion head and speaker head with their two losses.

    The emotion head is s3prl's own: `projector` and `model` of s3prl/downstream/emotion/expert.py.

    Args:
        upstream_dim: H.
        num_emotions: C.
        num_speakers: K; 0 with strategy none.
        strategy: none, SNP or TAP.
        adversary: A key of `ADVERSARIES`: what the shared part is driven to.
        projector_dim: Of s3prl's linear projector.
        select: A key of `spknorm.config.options.HEADS`.
        select_options: s3prl's options of that head (`pooling`, ...).
        gate: Options of `Gate`.
        speaker_head: Options of `SpeakerHead`.
        objective: The emotion loss; None: cross-entropy.
    """

    def __init__(
        self,
        upstream_dim: int,
        *,
        num_emotions: int,
        num_speakers: int,
        strategy: str,
        adversary: str = "ascent",
        projector_dim: int = 256,
        select: str = "UtteranceLevel",
        select_options: Mapping[str, Any] | None = None,
        gate: Mapping[str, Any] | None = None,
        speaker_head: Mapping[str, Any] | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.strategy = strategy
        self._emotion_loss = objective or class_objective()
        self.projector = nn.Linear(upstream_dim, projector_dim)
        self.model = make_emotion_head(select, projector_dim, num_emotions, select_options or {})
        self.gate = Gate(upstream_dim, **(gate or {})) if strategy == "SNP" else None
        self.speaker_head = None
        if strategy != "none":
            self.speaker_head = SpeakerHead(upstream_dim, num_speakers, **(speaker_head or {}))
        self._adversary = adversary

    def emotion(self, features: Sequence[Tensor], labels: Tensor) -> Prediction:
        """Emotion loss l_er of equations (1), (2) and logits (B, C) of B features (T_i, H).

        Labels are (B,) class indices, or (B, C) votes or dimensions; see `objectives.py`.
        """
        return self.emotion_of(self.emotion_logits(features), labels)

    def emotion_of(self, logits: Tensor, labels: Tensor) -> Prediction:
        """Return what `emotion` returns, of logits (B, C)."""
        return Prediction(self._emotion_loss(logits, labels), logits)

    def emotion_logits(self, features: Sequence[Tensor]) -> Tensor:
        """Return emotion logits (B, C) of B features (T_i, H)."""
        together, lengths = padded(self._gated(features))  # (B, T, H)
        logits: Tensor = self.model(self.projector(together), lengths)[0]
        return logits

    def speaker(
        self, features: Sequence[Tensor], labels: Tensor, *, coefficient: float
    ) -> Prediction:
        """Speaker loss l_id and logits (B, K), differentiable as stage 2 wants it.

        Its gradient reaches the speaker head as it is (eq. 4), and the part that the strategy
        shares between the heads, the gate under SNP or the upstream under TAP, through the
        adversary, times `coefficient` (eq. 3). Under SNP the upstream's features are cut off.

        Args:
            features: B tensors (T_i, H).
            labels: (B,) speaker indices.
            coefficient: 0 or more.
        """
        return self.speaker_of(self.pooled(features), labels, coefficient=coefficient)

    def excess_of(self, logits: Tensor) -> Tensor:
        """Return what the adversary's objective has over its least at speaker logits (B, K), ()."""
        return excess_of(self._adversary, logits)

    @property
    def emotion_loss_adds_up(self) -> bool:
        """Whether the emotion losses of parts of a batch add up to that of the whole."""
        return self._emotion_loss is not concordance_objective

    @property
    def speaker_loss_adds_up(self) -> bool:
        """Likewise of the speaker loss: not behind statistics over the batch."""
        parts = [] if self.speaker_head is None else list(self.speaker_head.modules())
        return not any(isinstance(part, BatchNorm) for part in parts)

    def pooled(self, features: Sequence[Tensor]) -> Tensor:
        """Return what the speaker head reads of B features (T_i, H) in stage 2, (B, H).

        Utterances may come in pieces: only `speaker_of` needs a batch as a whole.
        """
        if self.gate is not None:
            features = self._gated([frames.detach() for frames in features])
        return means(features)

    def speaker_of(self, pooled: Tensor, labels: Tensor, *, coefficient: float) -> Prediction:
        """Return what `speaker` returns, of means over time (B, H)."""
        assert self.speaker_head is not None, "strategy none has no speaker head"
        return ADVERSARIES[self._adversary](self.speaker_head.layers, pooled, labels, coefficient)

    def speaker_logits(self, features: Sequence[Tensor]) -> Tensor:
        """Return speaker logits (B, K) of B features (T_i, H)."""
        assert self.speaker_head is not None, "strategy none has no speaker head"
        logits: Tensor = self.speaker_head(self._gated(features))
        return logits

    def gated(self, features: Tensor) -> Tensor:
        """Return what the heads see, (..., H) -> (..., H): gated under SNP, else the features."""
        return features if self.gate is None else self.gate(features)

    def _gated(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Gate B tensors (T_i, H) end to end: one product instead of B, and no padding in it."""
        if self.gate is None:
            return list(features)
        lengths = [len(frames) for frames in features]
        return list(torch.split(self.gate(torch.cat(list(features))), lengths))


def make_heads(
    config: ExpertConfig,
    upstream_dim: int,
    *,
    num_emotions: int,
    num_speakers: int,
    objective: Objective | None = None,
) -> Heads:
    """Return gate and heads as `downstream_expert` asks for them; see `Heads`."""
    options = to_mapping(config.modelrc)
    return Heads(
        upstream_dim,
        num_emotions=num_emotions,
        num_speakers=num_speakers,
        strategy=config.spknorm.strategy,
        adversary=config.spknorm.adversary,
        projector_dim=config.modelrc.projector_dim,
        select=config.modelrc.select,
        select_options=options[config.modelrc.select],
        gate=options["gate"],
        speaker_head=options["speaker_head"],
        objective=objective,
    )
