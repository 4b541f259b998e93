"""What stands on the upstream: the gate, the emotion head g_er and the speaker-ID head g_id.

Features come as s3prl's Featurizer gives them, a list of (T_i, H) tensors, one per utterance.

Legend: B utterances, T frames, H upstream dimension, C emotions, K speakers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from spknorm.adversaries import ADVERSARIES, Prediction
from spknorm.errors import ConfigError

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Tanh": nn.Tanh,
    "SiLU": nn.SiLU,
    "LeakyReLU": nn.LeakyReLU,
}


class Gate(nn.Module):
    """SNP's speaker-normalisation projector: a non-linear layer between upstream and heads.

    It works frame by frame. Size and activation are not in the paper. With `residual` the gate
    starts as the identity, so that strategy SNP starts exactly where strategy none does; without,
    which is the default, it kept less of the speaker in our measurements (docs/controlled.md).

    Args:
        dim: H, kept by the gate so that whatever read the upstream can read the gate.
        width: Hidden units, H if None.
        depth: Hidden layers, at least 1.
        activation: A key of `ACTIVATIONS`.
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


class MaskedAttentivePooling(nn.Module):
    """s3prl's AttentivePooling with padding really masked.

    s3prl adds its 0/1 mask to the logits, so padding keeps up to its full weight
    (s3prl/downstream/model.py, AttentivePoolingModule). Parameters have s3prl's names.
    """

    def __init__(self, sap_layer: nn.Module) -> None:
        super().__init__()
        self.sap_layer = sap_layer

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Pool (B, T, H) with lengths (B,) to (B, H)."""
        layer: Any = self.sap_layer
        logits = layer.W(layer.act_fn(layer.W_a(features))).squeeze(-1)  # (B, T, H) -> (B, T)
        frames = torch.arange(features.shape[1], device=features.device)
        padding = frames.unsqueeze(0) >= lengths.to(features.device).unsqueeze(1)
        weights = logits.masked_fill(padding, float("-inf")).softmax(dim=-1)
        pooled = (features * weights.unsqueeze(-1)).sum(dim=1)  # (B, T, H) -> (B, H)
        return pooled, torch.ones(len(pooled), dtype=torch.long)


class NonLinearProjection(nn.Module):
    """The paper's head as described: a non-linear projection over the temporal dimension.

    (B, T, P) -> ReLU, dropout -> mean over the valid frames -> linear, where P is the projector's
    dimension. Its exact form is not in the paper.
    """

    def __init__(self, input_dim: int, output_dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(input_dim, output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        """Return logits (B, C) of projected features (B, T, P) with lengths (B,)."""
        hidden = self.dropout(functional.relu(features))
        return self.linear(mean_over_time(hidden, lengths)), None


class SpeakerHead(nn.Module):
    """g_id: mean over time, hidden layers, one logit per speaker.

    Args:
        dim: H.
        num_speakers: K.
        hidden: Widths of the hidden layers; empty for a linear head.
        batch_norm: Normalise the pooled features over the batch first.
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
        layers: list[nn.Module] = [nn.BatchNorm1d(dim)] if batch_norm else []
        for width in hidden:
            layers += [nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout)]
            dim = width
        self.layers = nn.Sequential(*layers, nn.Linear(dim, num_speakers))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits (B, K) of B features of shape (T_i, H)."""
        logits: Tensor = self.layers(torch.stack([frames.mean(dim=0) for frames in features]))
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
        select: A key of `EMOTION_HEADS`.
        select_options: s3prl's options of that head (`pooling`, ...).
        gate: Options of `Gate`.
        speaker_head: Options of `SpeakerHead`.
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
    ) -> None:
        super().__init__()
        self.strategy = strategy
        self.projector = nn.Linear(upstream_dim, projector_dim)
        self.model = EMOTION_HEADS[select](projector_dim, num_emotions, select_options or {})
        self.gate = Gate(upstream_dim, **(gate or {})) if strategy == "SNP" else None
        self.speaker_head = None
        if strategy != "none":
            self.speaker_head = SpeakerHead(upstream_dim, num_speakers, **(speaker_head or {}))
        self._speaker_loss = ADVERSARIES[adversary]

    def emotion(self, features: Sequence[Tensor], labels: Tensor) -> Prediction:
        """Emotion loss l_er of equations (1), (2) and logits (B, C) of B features (T_i, H)."""
        logits = self.emotion_logits(features)
        return Prediction(functional.cross_entropy(logits, labels), logits)

    def emotion_logits(self, features: Sequence[Tensor]) -> Tensor:
        """Return emotion logits (B, C) of B features (T_i, H)."""
        lengths = torch.tensor([len(frames) for frames in features], dtype=torch.int32)
        padded = pad_sequence(self._gated(features), batch_first=True)  # (B, T, H)
        logits: Tensor = self.model(self.projector(padded), lengths.to(padded.device))[0]
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
        assert self.speaker_head is not None, "strategy none has no speaker head"
        if self.gate is not None:
            features = self._gated([frames.detach() for frames in features])
        return self._speaker_loss(self.speaker_head, features, labels, coefficient)

    def gated(self, features: Tensor) -> Tensor:
        """Return what the heads see, (..., H) -> (..., H): gated under SNP, else the features."""
        return features if self.gate is None else self.gate(features)

    def _gated(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Gate B tensors (T_i, H) end to end: one product instead of B, and no padding in it."""
        if self.gate is None:
            return list(features)
        lengths = [len(frames) for frames in features]
        return list(torch.split(self.gate(torch.cat(list(features))), lengths))


def mean_over_time(features: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean (B, H) over the valid frames of (B, T, H) with lengths (B,)."""
    frames = torch.arange(features.shape[1], device=features.device)
    valid = (frames.unsqueeze(0) < lengths.unsqueeze(1)).unsqueeze(-1)
    return (features * valid).sum(dim=1) / lengths.unsqueeze(1)


def _utterance_level(input_dim: int, output_dim: int, options: Mapping[str, Any]) -> nn.Module:
    from s3prl.downstream import model as s3prl_heads

    pooling = options.get("pooling", "MeanPooling")
    if pooling not in POOLINGS:
        raise ConfigError(
            "`config.downstream_expert.modelrc.UtteranceLevel.pooling` must be one of "
            f"{', '.join(POOLINGS)}, but is `{pooling}`."
        )
    _check_nets(options)
    head = s3prl_heads.UtteranceLevel(input_dim, output_dim, **options)
    if pooling == "AttentivePooling":
        head.pooling = MaskedAttentivePooling(head.pooling.sap_layer)
    return head  # type: ignore[no-any-return]


def _deep_model(input_dim: int, output_dim: int, options: Mapping[str, Any]) -> nn.Module:
    from s3prl.downstream.emotion.model import DeepModel

    if options.get("model_type") not in DEEP_MODELS:
        raise ConfigError(
            "`config.downstream_expert.modelrc.DeepModel.model_type` must be one of "
            f"{', '.join(DEEP_MODELS)}, but is `{options.get('model_type')}`."
        )
    return DeepModel(input_dim, output_dim, **options)  # type: ignore[no-any-return]


def _non_linear_projection(
    input_dim: int, output_dim: int, options: Mapping[str, Any]
) -> nn.Module:
    unknown = set(options) - {"dropout"}
    if unknown:
        raise ConfigError(
            "`config.downstream_expert.modelrc.NonLinearProjection` knows `dropout` alone, "
            f"but has {', '.join(sorted(unknown))}."
        )
    return NonLinearProjection(input_dim, output_dim, **options)


def _check_nets(options: Mapping[str, Any]) -> None:
    """s3prl evaluates the names in pre_net and post_net as code: let known names alone through."""
    activations = [options.get("activation", "ReLU")]
    for key in ("pre_net", "post_net"):
        net = options.get(key)
        if net is None:
            continue
        if not isinstance(net, Mapping) or net.get("select") != "FrameLevel":
            raise ConfigError(
                f"`config.downstream_expert.modelrc.UtteranceLevel.{key}` must be a mapping with "
                f"`select: FrameLevel`, but is `{net}`."
            )
        activations.append(net.get("FrameLevel", {}).get("activation", "ReLU"))
    for activation in activations:
        if activation not in ACTIVATIONS:
            raise ConfigError(
                "`config.downstream_expert.modelrc.UtteranceLevel`: an activation must be one of "
                f"{', '.join(ACTIVATIONS)}, but is `{activation}`."
            )


POOLINGS = ("MeanPooling", "AttentivePooling")
DEEP_MODELS = ("CNNSelfAttention", "FCN", "DeepNet")
EMOTION_HEADS: dict[str, Callable[[int, int, Mapping[str, Any]], nn.Module]] = {
    "UtteranceLevel": _utterance_level,
    "DeepModel": _deep_model,
    "NonLinearProjection": _non_linear_projection,
}
