"""What an experiment folder holds for export: its dev-best upstream, gate and emotion head.

Reads dev-best.ckpt (s3prl's keys), result.json and probe.json; writes nothing.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from spknorm import checkpoint
from spknorm import config as configuration
from spknorm.corpora.records import EMOTIONS
from spknorm.errors import CheckpointError, ConfigError, MissingError
from spknorm.export.transformers_folder import Classifier
from spknorm.export.upstream_file import GateState, UpstreamFile, read_upstream_file
from spknorm.files import read_json, sha256_of

_GATE = "heads.gate."


class Trained(NamedTuple):
    """What training left in a folder.

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


def read_trained(expdir: Path) -> Trained:
    """Return what the dev-best checkpoint of `expdir` holds.

    Raises:
        MissingError: No such folder, no dev-best.ckpt in it, or no original upstream.
        CheckpointError: A checkpoint that is damaged or made by something else.
        ConfigError: An upstream that is not of HuBERT's kind.
    """
    expdir = Path(expdir)
    state = read_checkpoint(expdir)
    args, config = vars(state["Args"]), state["Config"]
    source = original_checkpoint(args["upstream"], args.get("upstream_ckpt"))
    original = read_upstream_file(source)
    if original.gate is not None:
        raise ConfigError(
            f"{expdir} was trained on {source}, which has a gate already; "
            "an export has no place for a second one. Use the experiment folder itself."
        )
    weights = _trained_weights(state, original)
    gate = _gate_of(state)
    result = _json_of(expdir / "result.json")
    provenance = {
        "upstream": args["upstream"],
        "upstream_sha256": sha256_of(source),
        "upstream_trained": "Upstream" in state,
        "best_step": int(state["Step"]),
        "result": {key: value for key, value in result.items() if key != "config"},
        "config": configuration.to_mapping(config),
    }
    upstream = original._replace(model_weight=weights, gate=gate, provenance=provenance)
    classifier, reason = _classifier_of(state, result, gated=gate is not None)
    return Trained(upstream, classifier, reason, result, _json_of(expdir / "probe.json"))


def read_checkpoint(expdir: Path) -> dict[str, Any]:
    """Return dev-best.ckpt of an experiment folder of this project's emotion task.

    Raises:
        MissingError: No such folder or no dev-best.ckpt in it.
        CheckpointError: It is damaged, or of another task.
    """
    path = Path(expdir) / checkpoint.BEST
    if not path.is_file():
        raise MissingError(
            f"{expdir} has no {checkpoint.BEST}. Name the folder of a finished experiment, "
            "the one with result.json in it."
        )
    state = checkpoint.read(path)
    if not any(name.startswith("heads.") for name in state["Downstream"]):
        raise CheckpointError(
            f"{path} is of the task {vars(state['Args']).get('downstream')}, "
            "but export, predict and audit read emotion_spknorm."
        )
    return state


def original_checkpoint(name: str, ckpt: str | None) -> Path:
    """Return the file that the upstream `name` of s3prl's hub was loaded from.

    Raises:
        ConfigError: No such upstream, or one that is not HuBERT's.
    """
    from s3prl import hub

    from spknorm.registry import register

    register()
    if not hasattr(hub, name):
        raise ConfigError(f"s3prl's hub has no upstream {name}.")
    with _loaded_files() as files:
        getattr(hub, name)(ckpt=ckpt, refresh=False)
    if not files:
        raise ConfigError(
            f"The upstream {name} is not of HuBERT's kind; only those are exported. "
            "Its dev-best.ckpt serves s3prl with -i."
        )
    return Path(files[-1])


def sections(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a checkpoint's configuration that spknorm.config knows."""
    known = ("runner", "optimizer", "scheduler", "specaug", "upstream", "downstream_expert")
    return {key: config[key] for key in known if isinstance(config.get(key), Mapping)}


@contextlib.contextmanager
def _loaded_files() -> Iterator[list[str]]:
    """Collect the files that s3prl's HuBERT expert reads: only it knows where a name leads."""
    from s3prl.upstream.hubert import expert

    files: list[str] = []
    load = expert.load_converted_model

    def noting(ckpt: str) -> Any:
        files.append(ckpt)
        return load(ckpt)

    expert.load_converted_model = noting
    try:
        yield files
    finally:
        expert.load_converted_model = load


def _trained_weights(state: Mapping[str, Any], original: UpstreamFile) -> dict[str, Tensor]:
    if "Upstream" not in state:  # frozen: s3prl leaves it out
        return original.model_weight
    trained = {
        name.removeprefix("model."): value
        for name, value in state["Upstream"].items()
        if name.startswith("model.")
    }
    if set(trained) != set(original.model_weight):
        odd = sorted(set(trained) ^ set(original.model_weight))
        raise CheckpointError(
            "The trained upstream and its original differ in the names of their weights: "
            f"{', '.join(odd[:4])}."
        )
    return trained


def _gate_of(state: Mapping[str, Any]) -> GateState | None:
    head = state["Downstream"]
    weights = {
        name.removeprefix(_GATE): value for name, value in head.items() if name.startswith(_GATE)
    }
    if not weights:
        return None
    model = configuration.parse(sections(state["Config"])).downstream_expert.modelrc
    dim = int(next(iter(weights.values())).shape[-1])
    gate = GateState({"dim": dim, **configuration.to_mapping(model.gate)}, weights)
    args = vars(state["Args"])
    selection, layer = args["upstream_feature_selection"], args.get("upstream_layer_selection")
    if selection == "hidden_states" and layer is not None:
        return gate._replace(layer=int(layer))
    if selection == "hidden_states":
        normalize = bool(args.get("upstream_feature_normalize"))
        return gate._replace(mixture=state["Featurizer"]["weights"], normalize=normalize)
    if numbered := re.fullmatch(r"hidden_state_(\d+)", selection):
        return gate._replace(layer=int(numbered[1]))
    if selection == "last_hidden_state":
        return gate
    raise ConfigError(f"An export has no place for a gate on the upstream's `{selection}` (-s).")


def _classifier_of(
    state: Mapping[str, Any], result: Mapping[str, Any], *, gated: bool
) -> tuple[Classifier | None, str]:
    """Return the emotion head as transformers' classifier, or the reason why it is none."""
    task, args = configuration.parse(sections(state["Config"])), vars(state["Args"])
    model = task.downstream_expert.modelrc
    head = state["Downstream"]
    linear = {"heads.model.post_net.linear.weight", "heads.model.post_net.linear.bias"}
    selected = args.get("upstream_feature_selection")
    layer_weights = state.get("Featurizer", {}).get("weights")
    if gated:
        return None, "between upstream and head stands SNP's non-linear gate"
    if model.select != "UtteranceLevel":
        return None, f"its head is {model.select}"
    if model.UtteranceLevel.get("pooling", "MeanPooling") != "MeanPooling":
        return None, f"its head pools with {model.UtteranceLevel['pooling']}"
    if {name for name in head if name.startswith("heads.model.")} != linear:
        return None, "its head has hidden layers"
    if args.get("upstream_layer_selection") is not None:
        return None, "its head reads a single layer below the last"
    if layer_weights is not None and args.get("upstream_feature_normalize"):
        return None, "its head reads a sum of normalised layers"
    if layer_weights is None and selected not in ("last_hidden_state", "hidden_states"):
        return None, f"its head reads {selected}"
    return (
        Classifier(
            projector=(head["heads.projector.weight"], head["heads.projector.bias"]),
            output=(
                head["heads.model.post_net.linear.weight"],
                head["heads.model.post_net.linear.bias"],
            ),
            labels=class_names(result, head["heads.model.post_net.linear.bias"].shape[0]),
            layer_weights=layer_weights,
        ),
        "",
    )


def class_names(result: Mapping[str, Any], num_classes: int) -> tuple[str, ...]:
    """Return the emotions by index: those of result.json, else IEMOCAP's four."""
    names = (result.get("test") or {}).get("classes") or EMOTIONS
    if len(names) != num_classes:
        names = [f"class_{index}" for index in range(num_classes)]
    return tuple(names)


def _json_of(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{path} is not a JSON object.")
    return value
