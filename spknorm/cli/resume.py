"""`-e` and `-a`: the settings of an earlier experiment, and the checkpoint to continue from."""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spknorm.cli import overrides
from spknorm.cli.settings import is_our_engine
from spknorm.config.weights import MARKS, check_weights
from spknorm.errors import CheckpointError, MissingError

logger = logging.getLogger(__name__)

_FROM_COMMAND_LINE = (
    "mode",
    "evaluate_split",
    "override",
    "backend",
    "local_rank",
    "past_exp",
    "device",
)
"""What s3prl takes from the command line even when it continues."""


def look_for_checkpoint(args: argparse.Namespace) -> None:
    """Set `args.past_exp` to the experiment folder if `-a` was given and it has checkpoints."""
    wanted = args.auto_resume and args.past_exp is None and args.expdir is not None
    if wanted and any(Path(args.expdir).glob("states-*.ckpt")):
        args.past_exp = args.expdir


def resume(
    args: argparse.Namespace, changes: overrides.Overrides, config: dict[str, Any] | None
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return arguments and configuration to continue `args.past_exp` with.

    As in s3prl the checkpoint's settings beat all but `-o`. Where `-a` found the checkpoint of an
    experiment that was asked for anew, our engine gets the new settings and compares them itself:
    `config` is what was asked for, else None.

    Raises:
        MissingError: There is no such file or folder.
        CheckpointError: No usable checkpoint in it, or the upstream's own file is another now.
    """
    file = Path(args.past_exp)
    if not file.exists():
        raise MissingError(f"`-e {file}`: there is no such checkpoint or experiment folder.")
    from spknorm.runs import checkpoint

    file, state = checkpoint.latest(file) if file.is_dir() else (file, checkpoint.read(file))
    saved, old = state.get("Args"), state.get("Config")
    if not isinstance(saved, argparse.Namespace) or not isinstance(old, dict):
        raise CheckpointError(
            f"{file} is no checkpoint of an experiment: it has no arguments and configuration. "
            "(-i loads weights alone, -k gives an upstream its checkpoint.)"
        )
    check_weights(saved)
    if config is not None and is_our_engine(args, config):
        begun = {key: vars(saved)[key] for key in MARKS if key in vars(saved)}
        return argparse.Namespace(**{**vars(args), "init_ckpt": str(file), **begun}), config
    kept = {key: getattr(args, key) for key in _FROM_COMMAND_LINE}
    merged = argparse.Namespace(**{**vars(args), **vars(saved), **kept})
    merged.expdir = str(file.parent)  # the folder may have been moved since
    merged.init_ckpt = str(file)
    overrides.apply_to_args(changes, merged)
    overrides.apply_to_config(changes, old)
    if config is not None and (keys := differing(old, config)):
        logger.warning(
            "The checkpoint's configuration is kept, so these settings have no effect: %s. "
            "Give them with -o, or start anew with another -n.",
            ", ".join(keys),
        )
    return merged, old


def differing(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "config") -> list[str]:
    """Return the paths of the settings in which two configurations differ."""
    keys = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            keys += differing(before, after, f"{path}.{key}")
        elif before != after:
            keys.append(f"{path}.{key}")
    return keys
