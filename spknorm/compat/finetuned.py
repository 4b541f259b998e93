"""Upstreams that stock s3prl has fine-tuned: checkpoints of its experiments, behind -k.

Such a file holds the upstream's weights and the command line, but not the configuration that builds
the model: the upstream is built as the command line says, and given the weights.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spknorm.errors import USER_ERRORS, CheckpointError, MissingError
from spknorm.upstreams.weights import first_line, load_weights, unwrap_names


def or_finetuned(build: Callable[[], Any], hub: Any, name: str, ckpt: str | None) -> Any:
    """Return what `build` makes, or the upstream in the checkpoint of a task of s3prl's.

    Raises:
        MissingError: What it was trained on is gone.
        CheckpointError: An upstream of another kind than `name`, or weights that do not fit it.
        Exception: What `build` raises, where it is no such checkpoint.
    """
    try:
        return build()
    except Exception:
        state = None if ckpt is None else _state(Path(ckpt))
        if state is None:
            raise
    args: argparse.Namespace = state["Args"]
    entry = getattr(hub, args.upstream, None)
    if entry is None or entry.__module__ != getattr(hub, name).__module__:
        raise CheckpointError(
            f"{ckpt} is the checkpoint of an experiment on the upstream {args.upstream}, which is "
            f"of another kind than {name}: choose -u {args.upstream}."
        )
    original = args.upstream_ckpt
    if original and args.upstream.endswith("_local") and not Path(original).exists():
        raise MissingError(
            f"{ckpt} was trained on the upstream checkpoint {original}, which is not there. Put it "
            "back; its configuration is needed to build the model."
        )
    upstream = entry(ckpt=original, model_config=getattr(args, "upstream_model_config", None))
    try:
        upstream.load_state_dict(unwrap_names(state["Upstream"], upstream.state_dict()))
    except RuntimeError as error:
        raise CheckpointError(
            f"{ckpt} does not fit the upstream {args.upstream}"
            f"{f' of {original}' if original else ''}, on which it was trained: {first_line(error)}"
        ) from error
    return upstream


def _state(path: Path) -> Mapping[str, Any] | None:
    """Return the checkpoint of a task of s3prl's whose upstream was trained; None of others."""
    if not path.is_file():
        return None
    try:
        content = load_weights(path, map_location="cpu")
    except USER_ERRORS:
        return None
    if not isinstance(content, Mapping) or not {"Upstream", "Downstream", "Args"} <= set(content):
        return None
    if any(name.startswith("heads.") for name in content["Downstream"]):
        return None  # this project's task: its export holds the gate as well
    return content
