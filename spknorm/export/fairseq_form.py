"""Models in fairseq's form, as s3prl has them, in transformers' words: configuration and weights.

HuBERT, wav2vec 2.0, WavLM, UniSpeech-SAT and data2vec have the same build there under other names.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spknorm.compat.expressions import read_conv_layers
from spknorm.errors import CheckpointError, ConfigError

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
    "self_attn.grep_linear": "attention.gru_rel_pos_linear",
    "self_attn.relative_attention_bias": "attention.rel_attn_embed",
    "self_attn_layer_norm": "layer_norm",
    "fc1": "feed_forward.intermediate_dense",
    "fc2": "feed_forward.output_dense",
    "final_layer_norm": "final_layer_norm",
}
_CONV, _POSITIONS = r"(feature_extractor\.conv_layers\.\w+)", "encoder.pos_conv_embed"
_PLACES = {
    "mask_emb": "masked_spec_embed",
    rf"{_CONV}\.0\.(\w+)": r"\1.conv.\2",
    rf"{_CONV}\.2\.(?:1\.)?(\w+)": r"\1.layer_norm.\2",  # of each layer, or of the first alone
    r"layer_norm\.(\w+)": r"feature_projection.layer_norm.\1",
    r"post_extract_proj\.(\w+)": r"feature_projection.projection.\1",
    r"encoder\.pos_conv\.(\w+)\.0\.(\w+)": rf"{_POSITIONS}.layers.\1.conv.\2",  # data2vec's
    r"encoder\.pos_conv\.0\.weight_g": f"{_POSITIONS}.conv.parametrizations.weight.original0",
    r"encoder\.pos_conv\.0\.weight_v": f"{_POSITIONS}.conv.parametrizations.weight.original1",
    r"encoder\.pos_conv\.0\.(bias|parametrizations\..*)": rf"{_POSITIONS}.conv.\1",
    r"encoder\.layer_norm\.(\w+)": r"encoder.layer_norm.\1",
    r"(encoder\.layers\.\w+)\.self_attn\.grep_a": r"\1.attention.gru_rel_pos_const",
} | {
    rf"(encoder\.layers\.\w+)\.{re.escape(own)}\.(\w+)": rf"\1.{theirs}.\2"
    for own, theirs in _LAYER_NAMES.items()
}
"""Where transformers has a weight, by a pattern of its name in fairseq."""
_PRETRAINING_ONLY = (
    "label_embs_concat",
    "final_proj.",
    "target_glu.",
    "quantizer.",
    "project_q.",
    "_ema",
    "output_layer.",
)


def config_of(model_type: str, model_cfg: Mapping[str, Any]) -> Any:
    """Return the transformers configuration of a model.

    Raises:
        ConfigError: A build that transformers' model does not have; the message says which.
    """
    from transformers import AutoConfig

    cfg = with_defaults(model_cfg)
    _check(model_type, cfg)
    layers = read_conv_layers(cfg["conv_feature_layers"])
    own: dict[str, Any] = {}
    if model_type == "data2vec-audio":
        depth = cfg["pos_conv_depth"]
        own["conv_pos_kernel_size"] = max(3, cfg["conv_pos"] // depth)
        cfg["conv_pos"] = depth
    if _is_distilled(cfg):
        own["feat_proj_layer_norm"] = False
    if model_type == "wavlm":
        own |= {"num_buckets": cfg["num_buckets"], "max_bucket_distance": cfg["max_distance"]}
    return AutoConfig.for_model(
        model_type,
        hidden_size=cfg["encoder_embed_dim"],
        num_hidden_layers=cfg["encoder_layers"],
        num_attention_heads=cfg["encoder_attention_heads"],
        intermediate_size=cfg["encoder_ffn_embed_dim"],
        hidden_act=_ACTIVATIONS[cfg["activation_fn"]],
        hidden_dropout=cfg["dropout"],
        activation_dropout=cfg["activation_dropout"],
        attention_dropout=cfg["attention_dropout"],
        feat_proj_dropout=cfg["dropout_input"],
        layerdrop=0.0,  # as in s3prl's experts
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
        **own,
    )


def weights_of(
    model_type: str, model_cfg: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights under transformers' names; what only pre-training needs is left out.

    Raises:
        CheckpointError: A weight whose place in transformers' model is not known.
    """
    cfg = with_defaults(model_cfg)
    renamed = {
        _renamed(model_type, name): value
        for name, value in weights.items()
        if not name.startswith(_PRETRAINING_ONLY)
    }
    size = cfg["encoder_embed_dim"]
    if "feature_projection.projection.weight" not in renamed:
        # s3prl leaves the projection out where both sides have one size; here it is the identity.
        renamed["feature_projection.projection.weight"] = torch.eye(size)
        renamed["feature_projection.projection.bias"] = torch.zeros(size)
    if model_type == "wavlm" and not cfg.get("relative_position_embedding"):
        renamed |= _no_bias(cfg)
    return renamed


def with_defaults(model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with s3prl's defaults for what the checkpoint does not say."""
    import dataclasses

    from s3prl.upstream.hubert.hubert_model import HubertConfig

    filled = {
        field.name: field.default
        for field in dataclasses.fields(HubertConfig)
        if field.default is not dataclasses.MISSING
    }
    filled |= {"pos_conv_depth": 1, "num_buckets": 320, "max_distance": 1280}
    filled |= model_cfg
    # fairseq's enumerations are texts, too
    return {key: str(one) if isinstance(one, str) else one for key, one in filled.items()}


def _check(model_type: str, cfg: Mapping[str, Any]) -> None:
    relative, activation = cfg.get("relative_position_embedding"), cfg["activation_fn"]
    elsewhere = ("has its norms elsewhere", "them")
    data2vec = model_type == "data2vec-audio"
    norms = cfg["layer_norm_first"] or cfg["extractor_mode"] != "layer_norm"
    for is_wrong, what, it in (
        (cfg["layer_type"] != "transformer", f"has no {cfg['layer_type']} layers", "them"),
        (activation not in _ACTIVATIONS, f"has no activation {activation}", "it"),
        (data2vec and norms, *elsewhere),
        (not data2vec and cfg["pos_conv_depth"] > 1, "has one positional convolution", "it"),
        (_is_distilled(cfg) and cfg["layer_norm_first"], *elsewhere),
        (model_type == "unispeech-sat" and relative, "has no relative positions", "them"),
        (relative and not cfg.get("gru_rel_pos"), "gates its relative positions", "them"),
    ):
        if is_wrong:
            title = _title(model_type)
            raise ConfigError(f"transformers' {title} {what}; export --format s3prl keeps {it}.")


def _is_distilled(cfg: Mapping[str, Any]) -> bool:
    """Whether it is s3prl's distiller's: no norm before the projection, no norm of its states."""
    return "extractor_conv_feature_layers" in cfg


def _title(model_type: str) -> str:
    from transformers import CONFIG_MAPPING

    name: str = CONFIG_MAPPING[model_type].__name__
    return name.removesuffix("Config").replace("Hubert", "HuBERT")


def _no_bias(cfg: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the relative positions of a WavLM that has none: a bias of 0, whatever its gate."""
    heads = cfg["encoder_attention_heads"]
    first = "encoder.layers.0.attention.rel_attn_embed.weight"
    weights = {first: torch.zeros(cfg["num_buckets"], heads)}
    for layer in range(cfg["encoder_layers"]):
        place = f"encoder.layers.{layer}.attention.gru_rel_pos_"
        weights[f"{place}const"] = torch.ones(1, heads, 1, 1)
        weights[f"{place}linear.weight"] = torch.zeros(8, cfg["encoder_embed_dim"] // heads)
        weights[f"{place}linear.bias"] = torch.zeros(8)
    return weights


def _renamed(model_type: str, name: str) -> str:
    for pattern, place in _PLACES.items():
        if found := re.fullmatch(pattern, name):
            return found.expand(place)
    raise CheckpointError(
        f"The weight `{name}` has no place in transformers' {_title(model_type)}."
    )
