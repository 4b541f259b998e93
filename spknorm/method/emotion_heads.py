"""The emotion head g_er by its name in `modelrc.select`: s3prl's own, and the paper's as described.

Built from checked options (`options.py`); `model.py` puts it behind s3prl's projector.

Legend: B utterances, T frames, P the projector's dimension, C emotions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.config.options import check_head
from spknorm.method.pooling import MeanPooling, mean_over_time

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Tanh": nn.Tanh,
    "SiLU": nn.SiLU,
    "LeakyReLU": nn.LeakyReLU,
}
_LEAST_FRAMES = {"FCN": 57, "DeepNet": 32}
"""Frames without which strides and kernels of these two leave nothing to pool."""


def make_emotion_head(
    select: str, input_dim: int, output_dim: int, options: Mapping[str, Any]
) -> nn.Module:
    """Return a module that maps features (B, T, P) and lengths (B,) to (logits (B, C), anything).

    Args:
        select: A key of `spknorm.config.options.HEADS`.
        input_dim: P.
        output_dim: C.
        options: Of that head.

    Raises:
        ConfigError: An option is missing, unknown or of a wrong value.
    """
    check_head(select, options)
    return _MAKERS[select](input_dim, output_dim, options)


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


def _utterance_level(input_dim: int, output_dim: int, options: Mapping[str, Any]) -> nn.Module:
    from s3prl.downstream import model as s3prl_heads

    head = s3prl_heads.UtteranceLevel(input_dim, output_dim, **options)
    if options.get("pooling") == "AttentivePooling":
        head.pooling = MaskedAttentivePooling(head.pooling.sap_layer)
    elif isinstance(head.pooling, s3prl_heads.MeanPooling):
        head.pooling = MeanPooling()
    return head  # type: ignore[no-any-return]


def _deep_model(input_dim: int, output_dim: int, options: Mapping[str, Any]) -> nn.Module:
    from s3prl.downstream.emotion.model import DeepModel

    head: nn.Module = DeepModel(input_dim, output_dim, **options)
    least = _LEAST_FRAMES.get(options["model_type"], 1)

    def lengthen(_: nn.Module, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        # With zeros, as s3prl pads a short utterance beside a longer one; alone it would raise.
        features, lengths = inputs
        return functional.pad(features, (0, 0, 0, max(0, least - features.shape[1]))), lengths

    head.register_forward_pre_hook(lengthen)
    return head


def _non_linear_projection(
    input_dim: int, output_dim: int, options: Mapping[str, Any]
) -> nn.Module:
    return NonLinearProjection(input_dim, output_dim, **options)


_MAKERS: dict[str, Callable[[int, int, Mapping[str, Any]], nn.Module]] = {
    "UtteranceLevel": _utterance_level,
    "DeepModel": _deep_model,
    "NonLinearProjection": _non_linear_projection,
}
