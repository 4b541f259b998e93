"""The content of the files that s3prl's own entries read, of an upstream that was trained."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.export.upstream_file import CONVERTED, WEIGHTS, gate_in, read_upstream_file
from spknorm.upstreams import Family
from spknorm.upstreams.emotion2vec import CONFIG_FILE, WEIGHTS_FILE
from spknorm.upstreams.fast import parts_of

UPSTREAM_FILE = "normalised.pt"


class StockForm(NamedTuple):
    """A file of s3prl's.

    Attributes:
        entry: s3prl's name with -k.
        content: What the file holds.
        model_cfg: fairseq's configuration, plain values; None for what has no form of fairseq's.
        gated_entry: What reads the file and applies SNP's gate; empty if nothing of s3prl's does.
        name: Of the file.
        beside: Texts of the files that belong to it.
        has_gate: The file that it was trained from had a gate already.
    """

    entry: str
    content: dict[str, Any]
    model_cfg: dict[str, Any] | None
    gated_entry: str = ""
    name: str = UPSTREAM_FILE
    beside: Mapping[str, str] = {}
    has_gate: bool = False

    @property
    def weights(self) -> Mapping[str, Any]:
        """The model's, as the file holds them."""
        found: Mapping[str, Any] = next(self.content[k] for k in WEIGHTS if k in self.content)
        return found


def stock_form(family: Family, upstream: Any, source: Path | None) -> StockForm | None:
    """Return what s3prl's entry of a family reads, ours of a HuBERT; None if there is no such.

    `source` is the file that a HuBERT was built from.

    Raises:
        MissingError, CheckpointError: See `read_upstream_file`.
    """
    name, model = family.expert, upstream.model
    if name == "hubert":
        assert source is not None
        original = read_upstream_file(source)
        content = {key: original[key] for key in CONVERTED} | {"model_weight": model.state_dict()}
        return StockForm(
            "spknorm_hubert_local",
            content,
            content["model_cfg"],
            gated_entry="spknorm_hubert_local",
            has_gate=gate_in(original, source) is not None,
        )
    if name in ("wavlm", "unispeech_sat"):
        cfg = _plain(vars(upstream.cfg))
        content = {"cfg": cfg, "model": model.state_dict()}
        return StockForm(f"{name}_local", content, cfg)
    if name in ("wav2vec2", "data2vec"):
        cfg = _plain(vars(model.cfg))
        weights = dict(model.state_dict())
        if name == "data2vec":
            weights["_ema"] = {}  # s3prl takes the teacher out again
        content = {
            "task_cfg": {"data": "", "normalize": parts_of(upstream).normalizes},
            "model_cfg": cfg,
            "model_weight": weights,
        }
        return StockForm(f"{name}_local", content, cfg)
    if name == "distiller":
        own = _plain(vars(model.model.config))
        own["pred_layer_id"] = list(model.model.pred_layer_id)
        content = {"Config": {"distiller": own}, "Distiller": model.model.state_dict()}
        layers = own["extractor_conv_feature_layers"]
        cfg = {**own, "conv_feature_layers": layers, "conv_bias": False, "dropout_input": 0.0}
        return StockForm("distiller_local", content, cfg, gated_entry="spknorm_distiller_local")
    if name == "emotion2vec":
        return StockForm(
            "emotion2vec",
            {"model": model.state_dict()},
            None,
            gated_entry="emotion2vec",
            name=WEIGHTS_FILE,
            beside={CONFIG_FILE: upstream.files.config.read_text("utf-8")},
        )
    return None


def layer_of_distiller(upstream: Any, args: argparse.Namespace) -> int | None:
    """Return the number of the layer that a run on a distilHuBERT reads; None if it is a head's."""
    parts, selection = parts_of(upstream), args.upstream_feature_selection
    layers = range(1, len(parts.layers) + 1)
    numbers = {**parts.names, "hidden_states": args.upstream_layer_selection}
    number: int | None = numbers.get(selection)
    return number if number in layers else None


def beyond_layers(upstream: Any, args: argparse.Namespace) -> str:
    """Return what a run on a distilHuBERT reads that is no layer, as a reason; empty if nothing."""
    if layer_of_distiller(upstream, args) is not None:
        return ""
    read = args.upstream_feature_selection
    return f"-s {read}, which heads are part of, and transformers' HuBERT has the layers alone"


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    kinds = (bool, int, float, str, type(None))
    plain = {key: value for key, value in settings.items() if isinstance(value, kinds)}
    return {key: str(one) if isinstance(one, str) else one for key, one in plain.items()}
