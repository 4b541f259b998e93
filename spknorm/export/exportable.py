"""What an experiment folder holds for export: its dev-best upstream, gate and emotion head.

Reads dev-best.ckpt (s3prl's keys), result.json and probe.json; writes nothing.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spknorm import config as configuration
from spknorm.errors import CheckpointError, ConfigError
from spknorm.export.transformers_folder import Classifier
from spknorm.export.upstream_file import GateState, UpstreamFile, read_upstream_file
from spknorm.files import read_json, sha256_of
from spknorm.runs import trained as runs
from spknorm.runs.trained import Trained
from spknorm.statistics.targets import Dimensions


class Exportable(NamedTuple):
    """What of a run an export holds.

    Attributes:
        upstream: With the trained weights, or the original ones where it was frozen.
        classifier: The emotion head, where transformers can express it.
        reason: Why it cannot; empty with a classifier.
        result: result.json; empty if there is none.
        probe: probe.json of the audit; empty if there is none.
    """

    upstream: UpstreamFile
    classifier: Classifier | None
    reason: str
    result: Mapping[str, Any]
    probe: Mapping[str, Any]


def read_exportable(expdir: Path) -> Exportable:
    """Return what the dev-best checkpoint of `expdir` holds.

    Raises:
        MissingError: No such folder, no dev-best.ckpt in it, or no original upstream.
        CheckpointError: A checkpoint that is damaged or made by something else.
        ConfigError: An upstream of a family that is not exported, or nothing to export.
    """
    trained = runs.load(Path(expdir))
    erasure = trained.settings.downstream_expert.spknorm.erasure
    if erasure != "none":
        raise ConfigError(
            f"{expdir} is a baseline with erasure {erasure}: its upstream is the original one, and "
            "its head reads features that no export can hold."
        )
    name = trained.args.upstream
    if trained.source is None or trained.source.is_dir():
        raise ConfigError(
            f"The upstream {name} is {trained.family.title}; only HuBERT is exported. "
            "`spknorm predict` and `spknorm audit` take the folder as it is, and its dev-best.ckpt "
            "serves s3prl with -i."
        )
    original = read_upstream_file(trained.source)
    if original.gate is not None:
        raise ConfigError(
            f"{expdir} was trained on {trained.source}, which has a gate already; "
            "an export has no place for a second one. Use the experiment folder itself."
        )
    gate = _gate_of(trained)
    provenance = {
        "upstream": name,
        "upstream_sha256": sha256_of(trained.source),
        "upstream_trained": not trained.frozen,
        "best_step": trained.best_step,
        "result": {key: value for key, value in trained.result.items() if key != "config"},
        "config": configuration.to_mapping(trained.settings),
    }
    model: Any = trained.upstream.model
    upstream = original._replace(model_weight=model.state_dict(), gate=gate, provenance=provenance)
    classifier, reason = _classifier_of(trained, gated=gate is not None)
    probe = _json_of(trained.folder / "probe.json")
    return Exportable(upstream, classifier, reason, trained.result, probe)


def _gate_of(trained: Trained) -> GateState | None:
    gate_module = trained.heads.gate
    if gate_module is None:
        return None
    weights = dict(gate_module.state_dict())
    model = trained.settings.downstream_expert.modelrc
    dim = int(next(iter(weights.values())).shape[-1])
    gate = GateState({"dim": dim, **configuration.to_mapping(model.gate)}, weights)
    args = vars(trained.args)
    selection, layer = args["upstream_feature_selection"], args.get("upstream_layer_selection")
    if selection == "hidden_states" and layer is not None:
        return gate._replace(layer=int(layer))
    if selection == "hidden_states":
        normalize = bool(args.get("upstream_feature_normalize"))
        return gate._replace(mixture=trained.featurizer.weights.detach(), normalize=normalize)
    if numbered := re.fullmatch(r"hidden_state_(\d+)", selection):
        return gate._replace(layer=int(numbered[1]))
    if selection == "last_hidden_state":
        return gate
    raise ConfigError(f"An export has no place for a gate on the upstream's `{selection}` (-s).")


def _classifier_of(trained: Trained, *, gated: bool) -> tuple[Classifier | None, str]:
    """Return the emotion head as transformers' classifier, or the reason why it is none."""
    args, head = vars(trained.args), trained.heads.state_dict()
    model = trained.settings.downstream_expert.modelrc
    linear = {"model.post_net.linear.weight", "model.post_net.linear.bias"}
    selected = args.get("upstream_feature_selection")
    layer_weights = trained.featurizer.state_dict().get("weights")
    if gated:
        return None, "between upstream and head stands SNP's non-linear gate"
    if model.select != "UtteranceLevel":
        return None, f"its head is {model.select}"
    if model.UtteranceLevel.get("pooling", "MeanPooling") != "MeanPooling":
        return None, f"its head pools with {model.UtteranceLevel['pooling']}"
    if {name for name in head if name.startswith("model.")} != linear:
        return None, "its head has hidden layers"
    if args.get("upstream_layer_selection") is not None:
        return None, "its head reads a single layer below the last"
    if layer_weights is not None and args.get("upstream_feature_normalize"):
        return None, "its head reads a sum of normalised layers"
    if layer_weights is None and selected not in ("last_hidden_state", "hidden_states"):
        return None, f"its head reads {selected}"
    weight, bias = head["model.post_net.linear.weight"], head["model.post_net.linear.bias"]
    regression = isinstance(trained.target, Dimensions)
    if isinstance(trained.target, Dimensions):  # its outputs are then on the corpus' own scale
        weight, bias = weight * trained.target.half, bias * trained.target.half
        bias = bias + trained.target.centre
    return (
        Classifier(
            projector=(head["projector.weight"], head["projector.bias"]),
            output=(weight, bias),
            labels=trained.emotions,
            layer_weights=layer_weights,
            is_regression=regression,
        ),
        "",
    )


def _json_of(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{path} is not a JSON object.")
    return value
