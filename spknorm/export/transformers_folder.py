"""A normalised upstream as a transformers folder: config.json, model.safetensors, preprocessor.

`HubertModel.from_pretrained(folder)` gives s3prl's hidden states, layer by layer. The emotion
classifier goes along as HubertForSequenceClassification where that class can express its head.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spknorm.compat.expressions import read_conv_layers
from spknorm.errors import CheckpointError, ConfigError
from spknorm.export.upstream_file import UpstreamFile
from spknorm.files import write_atomic

SAMPLE_RATE = 16_000

_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_fast": "gelu_pytorch_tanh",
    "gelu_accurate": "gelu_pytorch_tanh",
    "tanh": "tanh",
    "linear": "linear",
}
_LAYER_NAMES = {
    "self_attn.k_proj": "attention.k_proj",
    "self_attn.v_proj": "attention.v_proj",
    "self_attn.q_proj": "attention.q_proj",
    "self_attn.out_proj": "attention.out_proj",
    "self_attn_layer_norm": "layer_norm",
    "fc1": "feed_forward.intermediate_dense",
    "fc2": "feed_forward.output_dense",
    "final_layer_norm": "final_layer_norm",
}
_PRETRAINING_ONLY = ("label_embs_concat", "final_proj.", "target_glu.")


class Classifier(NamedTuple):
    """A linear emotion head: projector, mean over time, linear.

    Attributes:
        projector: Weight (P, H) and bias (P,).
        output: Weight (C, P) and bias (C,).
        labels: Names of the C classes, or dimensions.
        is_regression: Whether the outputs are values of dimensions.
        layer_weights: (layers + 1,) before their softmax; None for the last hidden state alone.
    """

    projector: tuple[Tensor, Tensor]
    output: tuple[Tensor, Tensor]
    labels: Sequence[str]
    layer_weights: Tensor | None = None
    is_regression: bool = False


def write_transformers_folder(
    folder: Path, upstream: UpstreamFile, *, classifier: Classifier | None = None
) -> None:
    """Write a HubertModel, or with `classifier` a HubertForSequenceClassification that holds it.

    Raises:
        ConfigError: A shape that transformers' HuBERT does not have; the message says which.
        CheckpointError: Weights that do not fit their own description.
    """
    from transformers import HubertForSequenceClassification, HubertModel

    config = hubert_config(upstream)
    weights = hubert_weights(upstream)
    if classifier is None:
        model: Any = HubertModel(config)
    else:
        config.num_labels = len(classifier.labels)
        config.id2label = dict(enumerate(classifier.labels))
        config.label2id = {name: index for index, name in enumerate(classifier.labels)}
        if classifier.is_regression:
            config.problem_type = "regression"
        config.classifier_proj_size = classifier.projector[0].shape[0]
        config.use_weighted_layer_sum = classifier.layer_weights is not None
        model = HubertForSequenceClassification(config)
        weights = {f"hubert.{name}": value for name, value in weights.items()}
        for name in ("projector", "classifier"):
            pair = classifier.projector if name == "projector" else classifier.output
            weights |= {f"{name}.weight": pair[0], f"{name}.bias": pair[1]}
        if classifier.layer_weights is not None:
            weights["layer_weights"] = classifier.layer_weights
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"The weights do not fit a transformers HuBERT: {error}") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    write_atomic(
        folder / "preprocessor_config.json", json.dumps(_preprocessor(upstream), indent=2) + "\n"
    )


def hubert_config(upstream: UpstreamFile) -> Any:
    """Return the transformers HubertConfig of an upstream.

    Raises:
        ConfigError: Conformer layers or an activation that transformers' HuBERT does not have.
    """
    from transformers import HubertConfig

    cfg = _with_defaults(upstream.model_cfg)
    if cfg["layer_type"] != "transformer":
        raise ConfigError(
            f"transformers' HuBERT has no {cfg['layer_type']} layers; "
            "export --format s3prl keeps them."
        )
    if cfg["activation_fn"] not in _ACTIVATIONS:
        raise ConfigError(
            f"transformers' HuBERT has no activation {cfg['activation_fn']}; "
            "export --format s3prl keeps it."
        )
    layers = read_conv_layers(cfg["conv_feature_layers"])
    return HubertConfig(
        hidden_size=cfg["encoder_embed_dim"],
        num_hidden_layers=cfg["encoder_layers"],
        num_attention_heads=cfg["encoder_attention_heads"],
        intermediate_size=cfg["encoder_ffn_embed_dim"],
        hidden_act=_ACTIVATIONS[cfg["activation_fn"]],
        hidden_dropout=cfg["dropout"],
        activation_dropout=cfg["activation_dropout"],
        attention_dropout=cfg["attention_dropout"],
        feat_proj_dropout=cfg["dropout_input"],
        layerdrop=0.0,  # as in s3prl's HuBERT expert
        feat_extract_norm="group" if cfg["extractor_mode"] == "default" else "layer",
        feat_extract_activation="gelu",
        conv_dim=[dim for dim, _, _ in layers],
        conv_kernel=[kernel for _, kernel, _ in layers],
        conv_stride=[stride for _, _, stride in layers],
        conv_bias=cfg["conv_bias"],
        num_conv_pos_embeddings=cfg["conv_pos"],
        num_conv_pos_embedding_groups=cfg["conv_pos_groups"],
        do_stable_layer_norm=cfg["layer_norm_first"],
        apply_spec_augment=False,  # s3prl fine-tunes without masks; mask_emb is kept
        # The last of `hidden_states` is the encoder's output, as in s3prl, pre-norm or not.
        tie_last_hidden_states=True,
    )


def hubert_weights(upstream: UpstreamFile) -> dict[str, Tensor]:
    """Return the weights under transformers' names; what only pre-training needs is left out.

    Raises:
        CheckpointError: A weight whose place in transformers' HuBERT is not known.
    """
    cfg = _with_defaults(upstream.model_cfg)
    weights: dict[str, Tensor] = {}
    for name, value in upstream.model_weight.items():
        if not name.startswith(_PRETRAINING_ONLY):
            weights[_renamed(name, layer_norm=cfg["extractor_mode"] == "layer_norm")] = value
    if "feature_projection.projection.weight" not in weights:
        # s3prl leaves the projection out where both sides have one size; here it is the identity.
        size = cfg["encoder_embed_dim"]
        weights["feature_projection.projection.weight"] = torch.eye(size)
        weights["feature_projection.projection.bias"] = torch.zeros(size)
    return weights


def _renamed(name: str, *, layer_norm: bool) -> str:
    parts = name.split(".")
    match parts:
        case ["mask_emb"]:
            return "masked_spec_embed"
        case ["feature_extractor", "conv_layers", index, "0", kind]:
            return f"feature_extractor.conv_layers.{index}.conv.{kind}"
        case ["feature_extractor", "conv_layers", index, "2", "1", kind] if layer_norm:
            return f"feature_extractor.conv_layers.{index}.layer_norm.{kind}"
        case ["feature_extractor", "conv_layers", "0", "2", kind] if not layer_norm:
            return f"feature_extractor.conv_layers.0.layer_norm.{kind}"
        case ["layer_norm", kind]:
            return f"feature_projection.layer_norm.{kind}"
        case ["post_extract_proj", kind]:
            return f"feature_projection.projection.{kind}"
        case ["encoder", "pos_conv", "0", "bias"]:
            return "encoder.pos_conv_embed.conv.bias"
        case ["encoder", "pos_conv", "0", *rest] if ".".join(rest) in _WEIGHT_NORM:
            return f"encoder.pos_conv_embed.conv.{_WEIGHT_NORM['.'.join(rest)]}"
        case ["encoder", "layer_norm", kind]:
            return f"encoder.layer_norm.{kind}"
        case ["encoder", "layers", index, *rest] if ".".join(rest[:-1]) in _LAYER_NAMES:
            return f"encoder.layers.{index}.{_LAYER_NAMES['.'.join(rest[:-1])]}.{rest[-1]}"
    raise CheckpointError(f"The weight `{name}` has no place in transformers' HuBERT.")


_WEIGHT_NORM = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
    "parametrizations.weight.original0": "parametrizations.weight.original0",
    "parametrizations.weight.original1": "parametrizations.weight.original1",
}


def _with_defaults(model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with s3prl's defaults for what the checkpoint does not say."""
    import dataclasses

    from s3prl.upstream.hubert.hubert_model import HubertConfig

    filled = {
        field.name: field.default
        for field in dataclasses.fields(HubertConfig)
        if field.default is not dataclasses.MISSING
    }
    filled |= model_cfg
    return {key: str(value) if _is_text_enum(value) else value for key, value in filled.items()}


def _is_text_enum(value: Any) -> bool:
    return isinstance(value, str) and type(value) is not str


def _preprocessor(upstream: UpstreamFile) -> dict[str, Any]:
    group_norm = _with_defaults(upstream.model_cfg)["extractor_mode"] == "default"
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": bool(upstream.task_cfg.get("normalize", False)),
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": not group_norm,  # a group norm over time sees padding anyway
        "sampling_rate": SAMPLE_RATE,
    }
