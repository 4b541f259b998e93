"""Why a folder of transformers' files builds no model, and what to do: the ends of sentences."""

import json
from pathlib import Path

from spknorm.upstreams.weights.kinds import describe, first_line

_DESCRIPTIONS = ("config.json", "preprocessor_config.json", "adapter_config.json")
_CONVERT = (
    "convert it where that is installed (from_pretrained with from_tf or from_flax, an older "
    "transformers), or take another copy of the model"
)
_PARTS = "put its parts together (zero_to_fp32.py, which lies beside it)"
_STOPPED = "a download that was stopped: get it again"
_IN_PLACE = {
    "tf_model*.h5": f"of TensorFlow: {_CONVERT}",
    "flax_model*.msgpack": f"of Flax: {_CONVERT}",
    "*.onnx": f"of ONNX: {_CONVERT}",
    "*.gguf": f"of GGUF: {_CONVERT}",
    "global_step*": f"DeepSpeed's: {_PARTS}",
    "pytorch_model_fsdp*": "FSDP's in parts: put them together (accelerate merge-weights)",
    **dict.fromkeys(("*.incomplete", "*.partial", "*.part", "*.crdownload", "*.aria2"), _STOPPED),
}
"""What a folder may have in place of weights: of other libraries, in parts, not at its end."""


def explain_folder(folder: Path, error: BaseException, upstream: str) -> str:
    """Return why a folder does not build a model of transformers, as `kinds.describe` does."""
    if not upstream.startswith(("hf_", "hf:")):
        return describe(folder)
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        return no_description(folder)
    described = [folder / name for name in _DESCRIPTIONS if (folder / name).is_file()]
    indices = sorted(folder.glob("*.index.json"))
    for path in (*described, *indices):
        if found := _wrong_json(path, within="weight_map" if path in indices else ""):
            return f"has {_named(path)} that {found}"
    weights = sorted(folder.glob("*.safetensors"))
    older = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("adapter_model.bin")])
    if not weights and not older:
        return no_weights(folder)
    for path in (*weights, *older):
        if found := _wrong_weights(path):
            return f"has {_named(path)} that {found}"
    return f"does not fit this upstream ({first_line(error)})"


def no_description(folder: Path) -> str:
    """Return what a folder without config.json has in place of it."""
    missing = "has no config.json"
    if link := _lost_link(folder, "config.json"):
        return f"{missing}; {link}"
    steps = [path.parent.name for path in folder.glob("checkpoint-*/config.json")]
    if steps:
        last = max(steps, key=_number)
        return f"{missing}, but {last} in it has one, as Trainer saves them: name that folder"
    within = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if within:
        names, last = within[:-1], within[-1]
        have = f"{', '.join(names)} and {last} in it have one" if names else f"{last} in it has one"
        return f"{missing}, but {have}: name {'one of these' if names else 'that folder'}"
    return f"{missing}, so that it is no folder of transformers"


def no_weights(folder: Path, safe: str = "model", older: str = "pytorch_model") -> str:
    """Return what a folder without weights of torch has in place of them."""
    missing = f"has no {safe}.safetensors or {older}.bin"
    if link := _lost_link(folder, f"{safe}*.safetensors") or _lost_link(folder, f"{older}*.bin"):
        return f"{missing}; {link}"
    for pattern, what in _IN_PLACE.items():
        if found := sorted(folder.glob(pattern)):
            return f"{missing}; {found[0].name} is {what}"
    if found := sorted([*folder.glob("*-of-*.safetensors"), *folder.glob("*-of-*.bin")]):
        end = found[0].suffix.removeprefix(".")
        index = f"{safe if end == 'safetensors' else older}.{end}.index.json"
        return f"{missing}; {found[0].name} is a part, but {index} is missing: get it again"
    if found := sorted(folder.glob("adapter_model.*")):
        return f"{missing}; {found[0].name} holds adapters, but adapter_config.json is missing"
    if found := sorted(folder.glob("*.safetensors")):
        return f"{missing}; if {found[0].name} holds its weights, call it {safe}.safetensors"
    return missing


def _lost_link(folder: Path, pattern: str) -> str:
    """Return what is wrong where a file is a link to nothing, as in a copy of a hub's cache."""
    links = sorted(path for path in folder.iterdir() if path.match(pattern) and path.is_symlink())
    lost = [path for path in links if not path.exists()]
    if not lost:
        return ""
    return (
        f"{lost[0].name} is a link to {lost[0].readlink()}, which is not there: copy the folder "
        "with what its links name (cp -rL)"
    )


def _wrong_json(path: Path, *, within: str = "") -> str:
    """Return what is wrong with a JSON object, which has the key `within`."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError):
        found = describe(path)
        return "is no JSON: get it again" if found in ("", "is no file of torch") else found
    if not isinstance(content, dict):
        return "is no JSON object: get it again"
    if within and not isinstance(content.get(within), dict):
        return f"has no {within}: get it again"
    return ""


def _wrong_weights(path: Path) -> str:
    found = describe(path)
    if path.suffix != ".safetensors" or found.startswith(("is empty", "is a pointer", "is a web")):
        return found
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, path.stat().st_size)))
            ends = [e["data_offsets"][1] for key, e in header.items() if key != "__metadata__"]
            whole = path.stat().st_size == 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            whole = False
    stopped = "is cut short, as a download or copy does that was stopped: get it again"
    return "" if whole else stopped


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def _named(path: Path) -> str:
    return f"{'an' if path.name.startswith('a') else 'a'} {path.name}"
