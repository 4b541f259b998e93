"""A finished run, loaded again: its upstream, featurizer, gate and heads at the best dev step.

The one way from an experiment folder back to a model; predict, the audit and export use it. The
parts are put together from dev-best.ckpt as the runner puts them together, without any corpus.

Legend: B utterances of T_i frames, H upstream dimension, C emotions.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spknorm import config as configuration
from spknorm import upstreams
from spknorm.corpora.records import EMOTIONS
from spknorm.errors import CheckpointError, MissingError, is_out_of_memory
from spknorm.files import read_json, require_folder
from spknorm.method.model import Heads, make_heads
from spknorm.runs import checkpoint
from spknorm.runs.state import KEY
from spknorm.schema import TaskConfig
from spknorm.statistics.targets import Target, target_of
from spknorm.upstreams import Family, family_of, tuning
from spknorm.upstreams.weights import first_line, unwrap_names

_FINISHED = "the folder of a finished experiment, the one with result.json in it"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run's model, in evaluation mode.

    Attributes:
        upstream: s3prl's, with the trained weights.
        featurizer: s3prl's Featurizer of it.
        heads: Gate, emotion head and speaker head.
        target: What the emotion head predicts: the C classes, or dimensions on their scale.
        frozen: Whether the upstream kept its original weights.
        best_step: The step whose weights these are.
        result: result.json; empty where there is none.
        source: The file that the upstream was first loaded from, where its family says.
    """

    folder: Path
    args: argparse.Namespace
    settings: TaskConfig
    upstream: nn.Module
    featurizer: Any
    heads: Heads
    target: Target
    frozen: bool
    best_step: int
    result: Mapping[str, Any]
    source: Path | None

    @property
    def emotions(self) -> tuple[str, ...]:
        """Names of the classes, or dimensions, by index."""
        return self.target.names

    @property
    def family(self) -> Family:
        """The upstream's row in the table of families."""
        return family_of(self.upstream)

    def features(self, wavs: list[Tensor]) -> list[Tensor]:
        """Return what the emotion head sees, gated under SNP: B tensors (T_i, H)."""
        return [self.heads.gated(f) for f in self.featurizer(wavs, self.upstream(wavs))]


def load(folder: Path | str, *, device: str = "cpu") -> Trained:
    """Return the model of an experiment folder, with the weights of its best dev step.

    Raises:
        MissingError: No such folder or checkpoint, or no original upstream.
        CheckpointError: Damaged, or made by something else.
        ConfigError: An upstream that s3prl's hub does not have.
    """
    folder = Path(folder)
    state = read_checkpoint(folder)
    args, settings = state["Args"], configuration.parse(configuration.sections(state["Config"]))
    weights = heads_of(state["Downstream"])
    with torch.random.fork_rng(devices=[]):
        built = upstreams.build(args, device=device, folder=folder)
        featurizer = make_featurizer(built.upstream, args, device=device)
        heads = _untrained_heads(weights, settings, featurizer.output_dim).to(device)
    parts: dict[str, tuple[nn.Module, Mapping[str, Tensor]]] = {
        "featurizer": (featurizer, state.get("Featurizer", {})),
        "heads": (heads, weights),
    }
    if "Upstream" in state:
        tuning.adapt(built.upstream, settings.upstream)
        parts = {"upstream": (built.upstream, state["Upstream"]), **parts}
    for module, kept in parts.values():
        try:
            tuning.load_state(module, unwrap_names(kept, tuning.state_of(module)))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(
                f"{folder / checkpoint.BEST} does not fit the upstream {args.upstream}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        module.eval()
    built.upstream.to(device).eval()
    tuning.merge(built.upstream)
    result = object_in(folder / "result.json")
    return Trained(
        folder=folder,
        args=args,
        settings=settings,
        upstream=built.upstream,
        featurizer=featurizer,
        heads=heads,
        target=read_target(state, result, len(_last_bias(weights, "model."))),
        frozen="Upstream" not in state,
        best_step=int(state["Step"]),
        result=result,
        source=built.source,
    )


def make_featurizer(upstream: nn.Module, args: argparse.Namespace, *, device: str = "cpu") -> Any:
    """Return s3prl's Featurizer of an upstream, as the command line asks for it, untrained."""
    from s3prl.upstream.interfaces import Featurizer

    return Featurizer(
        upstream,
        args.upstream_feature_selection,
        device,
        layer_selection=getattr(args, "upstream_layer_selection", None),
        normalize=bool(getattr(args, "upstream_feature_normalize", False)),
    ).to(device)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Return dev-best.ckpt of an experiment folder of this project's emotion task.

    Raises:
        MissingError: No such folder or no dev-best.ckpt in it.
        CheckpointError: It is damaged, or of another task.
    """
    path = Path(folder) / checkpoint.BEST
    if not path.is_file():
        require_folder(Path(folder), _FINISHED)
        raise MissingError(f"{folder} has no {checkpoint.BEST}. Name {_FINISHED}.")
    state = checkpoint.read(path)
    if not any(name.startswith("heads.") for name in state["Downstream"]):
        raise CheckpointError(
            f"{path} is of the task {vars(state['Args']).get('downstream')}, "
            "but export, predict and audit read emotion_spknorm."
        )
    return state


def object_in(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file; empty if there is no such file.

    Raises:
        CheckpointError: It is no JSON object.
    """
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{path} is not a JSON object.")
    return value


def read_target(state: Mapping[str, Any], result: Mapping[str, Any], num_outputs: int) -> Target:
    """Return what a head predicts: by the checkpoint, by result.json, else IEMOCAP's four."""
    kept, dimensions = state.get(KEY, {}), result.get("dimensions") or {}
    written = (result.get("test") or {}).get("classes") or dimensions.get("names")
    names = kept.get("classes") or written or EMOTIONS
    if len(names) != num_outputs:
        names = [f"class_{index}" for index in range(num_outputs)]
    said = [dimensions[key] for key in ("low", "high") if key in dimensions]
    return target_of(names, kept.get("scale") or said or None)


def heads_of(downstream: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the heads' weights in a checkpoint's `Downstream`, under their own names."""
    mark = "heads."
    return {name.removeprefix(mark): v for name, v in downstream.items() if name.startswith(mark)}


def _untrained_heads(weights: Mapping[str, Tensor], settings: TaskConfig, size: int) -> Heads:
    """Return heads of the checkpoint's sizes on an upstream of dimension `size`."""
    try:
        return make_heads(
            settings.downstream_expert,
            size,
            num_emotions=len(_last_bias(weights, "model.")),
            num_speakers=len(_last_bias(weights, "speaker_head.")),
        )
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint's heads cannot be built: {first_line(error)}."
        ) from error


def _last_bias(weights: Mapping[str, Tensor], part: str) -> Any:
    """Return the bias of a part's last linear layer, which has one entry per class."""
    biases = [v for name, v in weights.items() if name.startswith(part) and name.endswith("bias")]
    return biases[-1] if biases else ()
