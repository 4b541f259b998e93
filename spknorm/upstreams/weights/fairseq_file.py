"""fairseq's own checkpoints whose settings are plain values, in the form that s3prl converts to.

Between torch.load and an upstream of s3prl. Nothing of fairseq is imported or run: of its
dictionaries, the one kind of object that its HuBERTs hold, a stand-in takes the values.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from spknorm.upstreams.weights.names import is_state_dict

KINDS = {"hubert": "hubert", "wav2vec2": "wav2vec2", "data2vec_audio": "data2vec"}
"""Name of an architecture of fairseq -> the upstream of s3prl, NAME_local, that has it."""
_SAYS_ALL = "encoder_layers"


class Dictionary:
    """What a pickled fairseq.data.dictionary.Dictionary is read as: attributes, no code."""

    symbols: list[str]


STAND_INS = [(Dictionary, "fairseq.data.dictionary.Dictionary")]
"""For torch.serialization.safe_globals."""


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
    sections, together = content.get("cfg"), content.get("args")
    if isinstance(sections, Mapping):
        model, task = sections.get("model"), sections.get("task")
    elif isinstance(together, argparse.Namespace):  # before fairseq had sections
        model = task = vars(together)
    else:
        return None
    if not isinstance(model, Mapping) or not isinstance(task, Mapping) or _SAYS_ALL not in model:
        return None
    return dict(model), dict(task)
