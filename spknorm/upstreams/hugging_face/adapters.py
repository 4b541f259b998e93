"""Low-rank adapters as peft saves them, added to the weights that they were trained on."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from spknorm.errors import CheckpointError

_A, _B = ".lora_A.weight", ".lora_B.weight"
_PREFIX = "base_model.model."


def merged(
    base: Mapping[str, Tensor],
    adapters: Mapping[str, Tensor],
    options: Mapping[str, Any],
    folder: Path,
) -> dict[str, Tensor]:
    """Return the base's weights with the adapters added: W + scale B A.

    What was trained whole beside them (biases, modules_to_save) takes the base's place; heads,
    which the base does not have, are left out.

    `options` are those of adapter_config.json; names of the base may have anything before them.

    Raises:
        CheckpointError: Adapters of another kind, or for weights that the base does not have.
    """
    kind = "DoRA" if options.get("use_dora") else options.get("peft_type")
    if kind == "LORA" and any(value.ndim != 2 for name, value in adapters.items() if _A in name):
        kind = "LoRA of a convolution or an embedding"
    if kind != "LORA":
        raise CheckpointError(
            f"{folder} holds adapters of the kind {kind}, but only LoRA's of linear layers are "
            "merged here: merge them with peft (merge_and_unload, save_pretrained) and name that "
            "folder."
        )
    weights = dict(base)
    for name, down in adapters.items():
        if not name.endswith(_A):
            plain = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
            if "lora_" not in name and (whole := _target(weights, plain)) is not None:
                weights[whole] = down
            continue
        module = name.removesuffix(_A).removeprefix(_PREFIX)
        target = _target(weights, f"{module}.weight")
        if target is None:
            raise CheckpointError(
                f"{folder} has an adapter for {module}, which its base model "
                f"{options.get('base_model_name_or_path')} does not have."
            )
        rank = down.shape[0]
        alpha = _alpha(options, module)
        scale = alpha / (math.sqrt(rank) if options.get("use_rslora") else rank)
        up = adapters[name.removesuffix(_A) + _B]
        weights[target] = weights[target].float() + scale * (up.float() @ down.float())
    return weights


def _target(weights: Mapping[str, Tensor], wanted: str) -> str | None:
    """Return the base's name of a weight; either side may have the model's prefix."""
    parts = wanted.split(".")
    for start in range(len(parts) - 1):
        end = ".".join(parts[start:])
        found = [name for name in weights if name == end or name.endswith(f".{end}")]
        if len(found) == 1:
            return found[0]
    return None


def _alpha(options: Mapping[str, Any], module: str) -> float:
    for ending, value in (options.get("alpha_pattern") or {}).items():
        if module == ending or module.endswith(f".{ending}"):
            return float(value)
    return float(options["lora_alpha"])
