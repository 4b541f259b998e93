"""fairseq's own checkpoints, in the form that s3prl converts to.

Between torch.load and an upstream of s3prl. Nothing of fairseq, omegaconf or numpy is imported for
them or run: wherever such a file holds their objects, a stand-in takes the values and does nothing.
"""

import argparse
import contextlib
import pickle
import re
from collections.abc import Mapping
from typing import Any

from spknorm.upstreams.weights.names import is_state_dict

KINDS = {"hubert": "hubert", "wav2vec2": "wav2vec2", "data2vec_audio": "data2vec"}
"""Name of an architecture of fairseq -> the upstream of s3prl, NAME_local, that has it."""
_SAYS_ALL = "encoder_layers"


_INERT = re.compile(
    r"(fairseq|omegaconf|numpy|typing|enum|pathlib)\.[\w.]+|operator\.getitem"
    r"|(builtins|__builtin__)\.(dict|list|tuple|str|int|float|bool|bytes|object|type)"
)
"""Names of what fairseq's settings, dictionaries and meters are pickled as."""
_MOST_NAMES = 200


class Inert:
    """What an object in a file of fairseq's is read as: values, no code."""

    def __new__(cls, *_: Any) -> "Inert":
        """Take whatever the object was made of."""
        return super().__new__(cls)

    def __init__(self, *given: Any) -> None:
        self.given = given

    def __setstate__(self, state: Any) -> None:
        """Take its attributes, if it had any."""
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


def load(file: Any, **options: Any) -> Any:
    """Do what torch.load does with weights alone; a checkpoint of fairseq may hold its objects.

    Raises:
        Exception: torch.load's; what is no checkpoint of fairseq may hold no objects at all.
    """
    import torch

    names: set[str] = set()
    refusal: pickle.UnpicklingError | None = None
    while True:
        try:
            with torch.serialization.safe_globals([(Inert, name) for name in names]):
                content = torch.load(file, **{**options, "weights_only": True})
            break
        except pickle.UnpicklingError as error:
            refusal = refusal or error
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            new = set() if named is None else {named[1], *_others(file)} - names
            if not new or len(names) > _MOST_NAMES or not all(map(_INERT.fullmatch, new)):
                raise refusal from None
            names |= new
            if hasattr(file, "seek"):
                file.seek(0)
    if refusal is not None and kind_of(content) is None:
        raise refusal
    return content


def _others(file: Any) -> set[str]:
    """Return all objects that a file holds, where torch tells them at once."""
    import torch

    with contextlib.suppress(Exception):  # a legacy file, or an open one
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    return set()


def _plain(node: Any) -> Any:
    """Return the values of omegaconf's nodes, and of enumerations."""
    if isinstance(node, Inert):
        inside = vars(node)
        for name in ("_content", "_val"):
            if name in inside:
                return _plain(inside[name])
        return _plain(node.given[0]) if len(inside.get("given", ())) == 1 else None
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, (list, tuple)) else node


def kind_of(content: Any) -> str | None:
    """Return which upstream of s3prl has the model of a checkpoint of fairseq; None of others."""
    settings = _settings(content)
    if settings is None:
        return None
    model, _ = settings
    name = str(model.get("_name") or model.get("arch") or "")
    return next((kind for start, kind in KINDS.items() if name.startswith(start)), None)


def converted(content: Any) -> Any:
    """Return a checkpoint of fairseq as s3prl.upstream.*.convert would write it; others as is.

    The symbols of a HuBERT's dictionaries only say how many there are: where they are not in the
    file, its weights tell.
    """
    kind, settings = kind_of(content), _settings(content)
    if kind is None or settings is None:
        return content
    model, task = settings
    weights = content["model"]
    found = {"task_cfg": task, "model_cfg": model, "model_weight": weights}
    if kind == "data2vec":
        found["model_weight"] = {**weights, "_ema": weights.get("_ema", {})}
    if kind == "hubert":
        state = content.get("task_state") or {}
        symbols = [list(one.symbols) for one in state.get("dictionaries") or ()]
        rows = weights.get("label_embs_concat")
        found["dictionaries_symbols"] = symbols or [[str(n) for n in range(len(rows))]]
    return found


def _settings(content: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return those of model and task, where a checkpoint of fairseq has them as plain values."""
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        return None
    if not is_state_dict(content["model"]):
        return None
    sections, together = _plain(content.get("cfg")), content.get("args")
    if isinstance(sections, Mapping):
        model, task = sections.get("model"), sections.get("task")
    elif isinstance(together, argparse.Namespace):  # before fairseq had sections
        model = task = _plain(vars(together))
    else:
        return None
    if not isinstance(model, Mapping) or not isinstance(task, Mapping) or _SAYS_ALL not in model:
        return None
    return dict(model), dict(task)
