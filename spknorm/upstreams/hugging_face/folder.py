"""A folder of transformers, or a name of its hub: where the files are, and all weights in them.

Weights are read by name and put into the model that config.json describes, so that it does not
matter which class of transformers, or which trainer, wrote them.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from spknorm.errors import CheckpointError, MissingError
from spknorm.upstreams.hugging_face.adapters import merged
from spknorm.upstreams.hugging_face.names import cached, check_place
from spknorm.upstreams.hugging_face.settings import quantised_weights
from spknorm.upstreams.weights import (
    explain,
    load_weights,
    no_weights,
    plain_name,
    tensors_in,
    unwrap_names,
)

_FILES = ("*.json", "*.safetensors")
_OLDER_FILES = ("pytorch_model*.bin",)
_STEMS = "model", "pytorch_model"
_SCALES = re.compile(
    r"\.(weight_scale\w*|weight_zero_point|scale_weight|SCB|qweight|weight\.(absmax|quant_\S+))$"
)
"""Names of what quantised weights are multiplied by, or of themselves packed."""
_ONLY_FOR_PRETRAINING = "masked_spec_embed"


class MissingWeightsError(CheckpointError):
    """Weights of a model are missing in a folder, or have other names there."""


def locate(source: str) -> Path:
    """Return the folder of a model: the one named, its copy in the cache, or one downloaded now.

    Raises:
        MissingError: It is nowhere.
        CheckpointError: It is a file, not a folder.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise CheckpointError(
            f"-u hf:{source} names a file, but a model of transformers is a folder: "
            f"name {path.parent}, if config.json is in it."
        )
    import huggingface_hub

    check_place(source, f"hf:{source}")
    begun, kept = "", cached(source)
    if kept is not None and _is_whole(kept):
        return kept
    if kept is not None:
        begun = f" whole ({kept} lacks files, as after a download that was stopped)"
    try:
        folder = Path(huggingface_hub.snapshot_download(source, allow_patterns=list(_FILES)))
        if not list(folder.glob("*.safetensors")):
            huggingface_hub.snapshot_download(source, allow_patterns=list(_OLDER_FILES))
        if begun and not _is_whole(folder):  # without a network, the same as before
            raise FileNotFoundError(folder)
    except Exception as error:  # requests, httpx and the hub each have their own kinds
        raise MissingError(
            f"The upstream `hf:{source}` is neither a folder here nor in the Hugging Face cache "
            f"{huggingface_hub.constants.HF_HUB_CACHE}{begun}, and could not be downloaded "
            f"({type(error).__name__}). Name a folder, or set HF_HOME to a cache that has it."
        ) from error
    return folder


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return all weights in a folder: one file or shards, safetensors or torch's; peft's merged.

    Raises:
        CheckpointError: A part is missing.
        MissingError: The model that a folder of peft's goes on is nowhere.
    """
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        options = _json(adapter)
        base = read_weights(_base(folder, options))
        return merged(base, _tensors(folder, "adapter_model"), options, folder)
    return _tensors(folder, *_STEMS)


def config_folder(folder: Path) -> Path:
    """Return the folder with the config.json of a model: of peft's folder, that of its base."""
    adapter = folder / "adapter_config.json"
    if (folder / "config.json").is_file() or not adapter.is_file():
        return folder
    return _base(folder, _json(adapter))


def _base(folder: Path, options: Mapping[str, Any]) -> Path:
    """Return the folder of the model that a folder of peft's goes on."""
    name = options.get("base_model_name_or_path")
    if not name:
        raise CheckpointError(
            f"{folder} holds adapters whose adapter_config.json names no base_model_name_or_path: "
            "write there what they were trained on."
        )
    try:
        return locate(str(name))
    except MissingError as error:
        raise MissingError(
            f"{folder} holds adapters of {name}, which adapter_config.json names as their base. "
            f"{error}"
        ) from error


def fill(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    described: str = "config.json",
) -> None:
    """Put weights into a model in float32; names may have any prefix, and more may be there.

    `described` is the file that says what the model is.

    Raises:
        CheckpointError: Weights of the model are missing, of another shape, or whole numbers.
    """
    plain = {plain_name(name): value for name, value in unwrap_names(weights).items()}
    own = {plain_name(name): value for name, value in model.state_dict().items()}
    prefix = _prefix(plain, own)
    found = {name: plain[prefix + name] for name in own if prefix + name in plain}
    _refuse_other_forms(plain, source)
    missing = [name for name in own if name not in found and name != _ONLY_FOR_PRETRAINING]
    if missing:
        raise MissingWeightsError(
            f"{source} does not hold the weights of a {type(model).__name__}: {len(missing)} are "
            f"missing, such as {', '.join(sorted(missing)[:3])}."
        )
    for name, value in found.items():
        if own[name].is_floating_point() and not value.is_floating_point():
            raise quantised_weights(source, f"{name} is of {value.dtype}")
        if value.shape != own[name].shape:
            raise CheckpointError(
                f"{source} does not hold the weights of a {type(model).__name__} as its "
                f"{described} describes it: {name} is of {tuple(value.shape)}, not of "
                f"{tuple(own[name].shape)}."
            )
        if not value.float().isfinite().all():
            raise CheckpointError(f"{source} holds NaN or infinity in {name}: take another copy.")
    model.load_state_dict({name: value.float() for name, value in found.items()}, strict=False)


def _refuse_other_forms(names: Iterable[str], source: str) -> None:
    """Refuse weights that are nothing without others beside them: their scales, or adapters."""
    for name in names:
        if _SCALES.search(name):
            raise quantised_weights(source, f"{name} is beside them")
        if ".lora_" in name:
            raise CheckpointError(
                f"{source} holds adapters that are not added to their weights ({name}): merge them "
                "with peft (merge_and_unload, save_pretrained) and name that folder."
            )


def _prefix(names: Iterable[str], wanted: Iterable[str]) -> str:
    """Return what stands before the model's own names, by the number of names that it fits."""
    ends: defaultdict[str, list[str]] = defaultdict(list)
    for name in wanted:
        ends[name.rpartition(".")[2]].append(name)
    votes: Counter[str] = Counter()
    for name in names:
        for end in ends.get(name.rpartition(".")[2], ()):
            if name == end or name.endswith(f".{end}"):
                votes[name.removesuffix(end)] += 1
    return votes.most_common(1)[0][0] if votes else ""


def _tensors(folder: Path, *stems: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for path in _files(folder, stems):
        if path.suffix == ".safetensors":
            weights |= load_file(path)
            continue
        found = tensors_in(load_weights(path))
        if not found:
            raise CheckpointError(f"{path} {explain(path)}.")
        weights |= found
    return weights


def _files(folder: Path, stems: tuple[str, ...]) -> list[Path]:
    """Return the files that hold the weights: one, or those that an index says there must be."""
    for suffix in ("safetensors", "bin"):
        for stem in stems:
            if (folder / f"{stem}.{suffix}").is_file():
                return [folder / f"{stem}.{suffix}"]
            index = folder / f"{stem}.{suffix}.index.json"
            if index.is_file():
                shards = sorted(set(_json(index)["weight_map"].values()))
                lost = [name for name in shards if not (folder / name).is_file()]
                if lost:
                    raise CheckpointError(
                        f"{folder} lacks {', '.join(lost[:3])}, which {index.name} names: copy or "
                        "download the folder again."
                    )
                return [folder / name for name in shards]
    raise CheckpointError(f"{folder} {no_weights(folder, stems[0], stems[-1])}.")


def _is_whole(folder: Path) -> bool:
    """Whether a folder of the cache has what says which model it is, and its weights."""
    if (folder / "adapter_config.json").is_file():
        return True
    try:
        return (folder / "config.json").is_file() and bool(_files(folder, _STEMS))
    except CheckpointError:
        return False


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object.")
    return content
