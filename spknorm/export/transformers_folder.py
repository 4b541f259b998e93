"""A normalised upstream as a transformers folder: config.json, model.safetensors, preprocessor.

`AutoModel.from_pretrained(folder)` gives the upstream's hidden states, layer by layer. The emotion
classifier goes along as the family's ...ForSequenceClassification where that class can express its
head. SNP's gate, for which transformers has no place, lies beside them in a file of its own.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spknorm.errors import CheckpointError
from spknorm.export.fairseq_form import config_of, weights_of
from spknorm.export.upstream_file import GATE_FILE, GateState, write_gate
from spknorm.files import system_errors, write_atomic
from spknorm.upstreams.hugging_face.inputs import Waveforms
from spknorm.upstreams.hugging_face.upstream import TransformersUpstream

_WRAPPERS = ("hf_hubert", "hf_wav2vec2")  # s3prl's upstreams around a model of transformers
FAIRSEQ_EPSILON = 1.0e-5  # of layer_norm, which normalises waveforms there


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


class Form(NamedTuple):
    """An upstream in transformers' words.

    Weights have the model's own names; `preprocessor` is preprocessor_config.json.
    """

    config: Any
    weights: Mapping[str, Tensor]
    preprocessor: Mapping[str, Any]


def form_of_fairseq(
    model_type: str, model_cfg: Mapping[str, Any], weights: Mapping[str, Tensor], *, normalize: bool
) -> Form:
    """Return a model of s3prl's in transformers' words.

    Raises:
        ConfigError: A build that transformers' model does not have.
        CheckpointError: A weight that has no place there.
    """
    config = config_of(model_type, model_cfg)
    inputs = Waveforms(normalize=normalize, epsilon=FAIRSEQ_EPSILON)
    # A group norm over time sees padding anyway.
    masked = {"return_attention_mask": config.feat_extract_norm != "group"}
    preprocessor = inputs.preprocessor() | masked
    return Form(config, weights_of(model_type, model_cfg, weights), preprocessor)


def is_of_transformers(upstream: Any) -> bool:
    """Tell whether an upstream's model is transformers' own, ours (`hf:`) or s3prl's wrapper."""
    if isinstance(upstream, TransformersUpstream):
        return True
    modules = (sys.modules.get(f"s3prl.upstream.{name}.expert") for name in _WRAPPERS)
    return any(module and isinstance(upstream, module.UpstreamExpert) for module in modules)


def normalizes(upstream: Any) -> bool:
    """Tell whether a model of transformers is given waveforms of mean 0 and variance 1."""
    if isinstance(upstream, TransformersUpstream):
        return bool(upstream.inputs.normalize)
    return bool(upstream.extracter.do_normalize)


def form_of_model(upstream: Any) -> Form:
    """Return an upstream that is transformers' already, as `is_of_transformers` tells."""
    if isinstance(upstream, TransformersUpstream):
        preprocessor = upstream.inputs.preprocessor()
    else:
        preprocessor = json.loads(upstream.extracter.to_json_string())
    return Form(upstream.model.config, upstream.model.state_dict(), preprocessor)


def write_transformers_folder(
    folder: Path,
    form: Form,
    *,
    classifier: Classifier | None = None,
    gate: GateState | None = None,
) -> None:
    """Write a model, or with `classifier` a ...ForSequenceClassification that holds it.

    Raises:
        CheckpointError: Weights that do not fit their own description.
    """
    from transformers import AutoModel, AutoModelForAudioClassification

    config, weights = form.config, dict(form.weights)
    if config.model_type == "whisper":
        model: Any = _whisper(config, weights)
    elif classifier is None:
        model = AutoModel.from_config(config)
    else:
        config.num_labels = len(classifier.labels)
        config.id2label = dict(enumerate(classifier.labels))
        config.label2id = {name: index for index, name in enumerate(classifier.labels)}
        if classifier.is_regression:
            config.problem_type = "regression"
        config.classifier_proj_size = classifier.projector[0].shape[0]
        config.use_weighted_layer_sum = classifier.layer_weights is not None
        model = AutoModelForAudioClassification.from_config(config)
        weights = {f"{model.base_model_prefix}.{name}": v for name, v in weights.items()}
        for name, pair in (("projector", classifier.projector), ("classifier", classifier.output)):
            weights |= {f"{name}.weight": pair[0], f"{name}.bias": pair[1]}
        if classifier.layer_weights is not None:
            weights["layer_weights"] = classifier.layer_weights
    _load(model, weights)
    folder.mkdir(parents=True, exist_ok=True)
    # It writes in place: a full disk would leave half of a config.json under its name.
    with system_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".") as beside:
        model.save_pretrained(beside)
        for file in Path(beside).iterdir():
            file.replace(folder / file.name)
    preprocessor = json.dumps(dict(form.preprocessor), indent=2)
    write_atomic(folder / "preprocessor_config.json", preprocessor + "\n")
    write_gate(folder / GATE_FILE, gate)


def build_model(form: Form) -> Any:
    """Return transformers' model alone, with the upstream's weights."""
    from transformers import AutoModel

    model = AutoModel.from_config(form.config)
    _load(model, form.weights)
    return model


def _load(model: Any, weights: Mapping[str, Tensor]) -> None:
    named = model.state_dict()
    mask = [name for name in named if name.endswith("masked_spec_embed") and name not in weights]
    try:
        model.load_state_dict({**weights, **{name: named[name] for name in mask}})
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights do not fit a transformers {type(model).__name__}: {error}"
        ) from error


def _whisper(config: Any, weights: dict[str, Tensor]) -> Any:
    """Return a classifier, with which alone transformers reads the encoder without a decoder."""
    from transformers import WhisperForAudioClassification

    model = WhisperForAudioClassification(config)
    own = {f"encoder.{name}": weights.pop(name) for name in list(weights)}
    heads = {name: v for name, v in model.state_dict().items() if not name.startswith("encoder.")}
    weights.update(own | {name: torch.zeros_like(value) for name, value in heads.items()})
    return model
