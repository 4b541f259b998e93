"""config.json of a model of transformers: what it describes, built without its weights.

Code that comes with a folder is never run; a model that transformers itself does not know is
refused.
"""

from pathlib import Path
from typing import Any

import torch

from spknorm.errors import CheckpointError, ConfigError
from spknorm.upstreams.weights import first_line, no_description

_OFF = {"layerdrop": 0.0, "encoder_layerdrop": 0.0, "add_adapter": False}
_OF_A_RUN = {
    "_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "dtype",
    "gradient_checkpointing", "output_attentions", "output_hidden_states", "return_dict",
    "torch_dtype", "torchscript",
    "id2label", "label2id", "num_labels", "problem_type",
}  # fmt: skip
"""How a model was run where it was saved, and what its head said: nothing of the model itself."""


def read_settings(folder: Path, *, source: str) -> Any:
    """Return the configuration in a folder: nothing masked, no layer dropped, in float32.

    Raises:
        CheckpointError: There is no config.json, or the weights are quantised.
        ConfigError: A model that transformers does not know.
    """
    from transformers import AutoConfig, PretrainedConfig, __version__

    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} {no_description(folder)}.")
    content, _ = PretrainedConfig.get_config_dict(folder)
    if quantised := content.get("quantization_config"):
        how = quantised.get("quant_method", "some") if isinstance(quantised, dict) else quantised
        raise quantised_weights(folder, how)
    kind = content.pop("model_type", None)
    try:
        config = AutoConfig.for_model(kind, **_of_the_model(content))
    except (ValueError, KeyError) as error:
        if "auto_map" in content:
            raise ConfigError(
                f"{source} is a model whose code comes with it (auto_map in config.json), which "
                "is not run here: name a model of a kind that transformers has."
            ) from error
        if kind is None:
            raise CheckpointError(
                f"{folder} has a config.json without a model_type: it is of no model."
            ) from error
        raise ConfigError(
            f"{source} is of the model type `{kind}`, which transformers {__version__} does not "
            f"know or cannot read ({first_line(error)}): name a model of a kind that it has."
        ) from error
    for name, value in _OFF.items():
        if hasattr(config, name):
            setattr(config, name, value)
    config.apply_spec_augment = False
    config.dtype = torch.float32
    return config


def quantised_weights(source: object, why: str) -> CheckpointError:
    """Return (not raise) the error of weights that are quantised; `why` says how that shows."""
    return CheckpointError(
        f"{source} holds weights that are quantised ({why}), which cannot be trained: name the "
        "folder of the model that they were made of."
    )


def _of_the_model(content: dict[str, Any]) -> dict[str, Any]:
    """Return a description, and those within it, without what is `_OF_A_RUN`."""
    within = {key: value for key, value in content.items() if key not in _OF_A_RUN}
    return {
        key: _of_the_model(value) if key.endswith("_config") and isinstance(value, dict) else value
        for key, value in within.items()
    }


def empty_model(config: Any, *, source: str) -> Any:
    """Return the model that a configuration describes, or its encoder, without its weights.

    Raises:
        CheckpointError: Its numbers do not fit together.
        ConfigError: It has none of its own.
    """
    from transformers import MODEL_MAPPING, AutoModel
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    if config.model_type == "whisper":  # without the decoder, which may be the larger half
        return WhisperEncoder(config)
    try:
        model = AutoModel.from_config(config, trust_remote_code=False)
    except ValueError as error:
        if type(config) in MODEL_MAPPING:
            raise CheckpointError(
                f"{source} has a config.json that builds no {config.model_type} "
                f"({first_line(error)}): take another copy."
            ) from error
        raise ConfigError(
            f"{source} is a {config.model_type}, which has no model of its own."
        ) from error
    if config.is_encoder_decoder:
        return model.get_encoder()
    inner = getattr(config, "encoder_config", None)  # a head and what it stands on
    return model if inner is None else AutoModel.from_config(inner, trust_remote_code=False)
