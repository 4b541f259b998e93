"""What a file is that holds no weights one can use, and what to do: the ends of sentences."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spknorm.files import POINTER, is_pointer
from spknorm.upstreams.weights.fairseq_file import KINDS, kind_of, load
from spknorm.upstreams.weights.names import is_state_dict

_FAIRSEQ_OBJECTS = ("fairseq", "omegaconf")
_CONVERTED = ("task_cfg", "model_cfg", "model_weight")
_ALIKE = {"wavlm": ("wavlm", "unispeech_sat")} | {name: (name,) for name in KINDS.values()}
"""Kind of a file -> how names of upstreams that read it begin."""
_FOLDER = "is a folder, not a file: name the checkpoint in it"
_FOLDER_OF_TRANSFORMERS = (
    "is a folder of transformers, not a file: choose an upstream that takes one, such as "
    "-u hf_hubert_custom"
)
_OF_EXPERIMENT = ("Downstream", "Args", "Config")


def describe(path: Path | str) -> str:
    """Return what a file is that is no whole checkpoint, and what to do, as the end of a sentence.

    It begins with a verb; empty where the file looks like a whole file of torch.
    """
    path = Path(path)
    try:
        if path.is_dir():
            of_transformers = (path / "config.json").is_file()
            return _FOLDER_OF_TRANSFORMERS if of_transformers else _FOLDER
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if size == 0:
        return "is empty: copy or download it again"
    if is_pointer(start):
        return POINTER
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a checkpoint: download the file itself"
    length = int.from_bytes(start[:8], "little")
    if 0 < length < size and start[8:10] in (b'{"', b"{}"):
        return (
            "is a safetensors file, which goes with a config.json beside it: name their folder "
            "with -k, and an upstream of transformers, such as -u hf_hubert_custom"
        )
    if start.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except Exception:  # zipfile and zlib raise a dozen kinds for a damaged archive
            return (
                f"is cut short: its {size} bytes end before its table of contents, as a download "
                "or copy does that was stopped; get it again (-r downloads again)"
            )
        return "" if damaged is None else f"is damaged (checksum of {damaged}): get it again"
    return "" if start.startswith(b"\x80") else "is no file of torch"


def explain(path: Path | str, error: BaseException | None = None, upstream: str = "") -> str:
    """Return why a file whose content torch read does not build a model, as `describe` does.

    `error` is what building raised; a file of the very kind that `upstream` reads is damaged
    within.
    """
    try:
        content = load(path, map_location="cpu", mmap=True)
    except Exception as unread:  # a legacy file cannot be mapped
        if "mmap" not in str(unread):
            return why_unread(path, unread)
        try:
            content = load(path, map_location="cpu")
        except Exception as other:
            return why_unread(path, other)
    if not isinstance(content, Mapping):
        return f"holds a {type(content).__name__}, not the weights of a model"
    why = "" if error is None else f" ({first_line(error)})"
    found = _explain_content(content) or f"does not fit this upstream{why}"
    kind = re.search(r"-u (\w+)_local( reads)?$", found)
    if kind is not None and upstream.removeprefix("spknorm_").startswith(_ALIKE[kind[1]]):
        return f"{found}, but its weights do not fit its own settings{why}"
    return found


def _explain_content(content: Mapping[Any, Any]) -> str:
    if is_state_dict(content):
        return _weights_alone(content)
    if all(key in content for key in _OF_EXPERIMENT):
        ours = any(str(name).startswith("heads.") for name in content["Downstream"])
        if not ours and "Upstream" not in content and (of := vars(content["Args"])):
            return (
                f"is the checkpoint of an experiment of s3prl's task {of.get('downstream')}, whose "
                f"upstream, {of.get('upstream')}, was not trained: name that upstream itself"
            )
        return (
            "is the checkpoint of an experiment: name it with -i, or export its upstream first "
            "(spknorm export FOLDER) and name that file with -k"
        )
    if "model" in content and ("args" in content or "cfg" in content) and "WavLM" not in content:
        if (fitting := kind_of(content)) is not None:
            return f"is a checkpoint of fairseq, of the kind -u {fitting}_local reads"
        if set(content) <= {"cfg", "model"}:
            return "is a checkpoint as WavLM has them: choose -u wavlm_local"
        return _FAIRSEQ
    if all(key in content for key in _CONVERTED):
        kind = "hubert" if "dictionaries_symbols" in content else "wav2vec2"
        return f"is a checkpoint that s3prl converted, of the kind -u {kind}_local reads"
    for key, inside in content.items():  # as other trainers write them: state_dict, weights, ...
        if isinstance(inside, Mapping) and inside and is_state_dict(inside):
            return _weights_alone(inside, f" under `{key}`")
    return ""


def _weights_alone(weights: Mapping[Any, Any], where: str = "") -> str:
    some = next(iter(weights), "none")
    how = "Weights in transformers' form go with their config.json: name the folder with -k"
    return (
        f"holds weights alone{where} ({len(weights)}, such as `{some}`) and not the configuration "
        f"that builds their model. {how} and -u hf_hubert_custom or hf_wav2vec2_custom"
    )


_FAIRSEQ = (
    "is a checkpoint of fairseq, whose settings are objects that could run code. Convert it once, "
    "where fairseq is installed (python -m s3prl.upstream.hubert.convert FILE --output_dir FOLDER, "
    "or wav2vec2 in place of hubert), or take the converted file that s3prl offers, and name that"
)


def why_unread(path: Path | str, error: BaseException) -> str:
    """Return why torch did not read a file, as `describe` does."""
    if found := describe(path):
        return found
    if isinstance(error, pickle.UnpicklingError):
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        name = named[1] if named else ""
        if name.startswith(_FAIRSEQ_OBJECTS):
            return _FAIRSEQ
        what = f", such as {name}" if name else ""
        return (
            f"is not a checkpoint of plain weights (it holds objects{what}); it was not loaded, "
            "since other content could run code"
        )
    return f"is damaged ({first_line(error)}): get it again"


def first_line(error: BaseException) -> str:
    """Return an error as one short line."""
    lines = f"{type(error).__name__}: {error}".splitlines()
    return (lines[0] if len(lines) < 2 else f"{lines[0]} {lines[1].strip()}")[:200]
