"""The settings of a new experiment: its configuration, and the defaults that depend on it."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spknorm import registry
from spknorm.cli import corpora_of_stock_tasks, overrides
from spknorm.config import load_yaml, merge, parse
from spknorm.errors import ConfigError
from spknorm.schema.training import OptimizerConfig

OUR_TASK = "emotion_spknorm"


def new_config(args: argparse.Namespace, changes: overrides.Overrides) -> dict[str, Any]:
    """Return the configuration of a new experiment, with `-o` applied.

    For our tasks the file given by -c says only what differs from the task's own; for s3prl's it
    is the whole configuration, as in s3prl. `args.config` is set to the file's path.

    Raises:
        ConfigError, MissingError: No task, no upstream, no such file, a corpus that is not there.
    """
    for option, value in (("-d", args.downstream), ("-u", args.upstream)):
        if not value:
            raise ConfigError(
                f"`{option}` is missing: a new experiment needs a task and an upstream, such as "
                f"-d {OUR_TASK} -u hubert_base. (-e continues an earlier one.)"
            )
    is_ours = args.downstream in registry.tasks()
    if args.config is None:
        args.config = str(registry.config_path(args.downstream))
    config = load_yaml(Path(args.config))
    if is_ours and has_several_runs(config):
        raise ConfigError(
            f"{args.config} is an experiment of several runs: start it with `spknorm bench "
            f"{args.config}` (--dry-run shows the commands of its runs)."
        )
    if is_ours:
        config = merge(load_yaml(registry.config_path(args.downstream)), config)
    overrides.apply_to_config(changes, config)
    if is_ours and isinstance(config.get("optimizer"), dict):  # s3prl hands even null to torch
        known = {field.name for field in dataclasses.fields(OptimizerConfig)}
        given = config["optimizer"].items()
        config["optimizer"] = {k: v for k, v in given if v is not None or k not in known}
    if args.skip_bad:
        if not is_ours:
            raise ConfigError("`--skip-bad` has no effect on s3prl's own tasks: leave it out.")
        config = merge(config, {"downstream_expert": {"datarc": {"skip_bad": True}}})
    if not is_ours:
        corpora_of_stock_tasks.find_corpora(args.downstream, config)
    return config


def has_several_runs(content: Mapping[str, Any]) -> bool:
    """Whether a file is an experiment of `spknorm bench`, and not the settings of one run."""
    return not {"upstreams", "variants", "extends"}.isdisjoint(content)


def fill_in(args: argparse.Namespace, config: Mapping[str, Any]) -> None:
    """Replace what the command line leaves open by defaults that depend on the configuration.

    Raises:
        ConfigError: Options that exclude each other, or a configuration that cannot be used.
    """
    ours = args.downstream == OUR_TASK
    if args.frozen and args.upstream_trainable:
        raise ConfigError("`-f` and `--frozen` exclude each other: leave one out.")
    if args.upstream_trainable is None:
        args.upstream_trainable = ours and not args.frozen
    if args.upstream_feature_selection is None:
        last = ours and args.upstream_layer_selection is None
        args.upstream_feature_selection = "last_hidden_state" if last else "hidden_states"
    if args.expname is None:
        args.expname = _experiment_name(args, config)
    if args.expdir is None:
        args.expdir = f"result/downstream/{args.expname}"


def fold_of(args: argparse.Namespace, config: Mapping[str, Any]) -> str | None:
    """Return the test fold (or other variant), as the task will choose it.

    Raises:
        ConfigError: `-v` and the configuration name different ones.
    """
    if args.downstream not in (OUR_TASK, "emotion"):
        variant: str | None = args.downstream_variant
        return variant
    expert = config.get("downstream_expert") or {}
    fold = (expert.get("datarc") or {}).get("test_fold")
    if fold and args.downstream_variant and fold != args.downstream_variant:
        raise ConfigError(
            f"`-v {args.downstream_variant}` has no effect, since the configuration says "
            f"`test_fold: {fold}`: remove one of the two."
        )
    return str(fold or args.downstream_variant or "fold1")


def is_our_engine(args: argparse.Namespace, config: Mapping[str, Any]) -> bool:
    """Whether spknorm.runner runs the experiment, and not s3prl's own Runner."""
    engine = (config.get("runner") or {}).get("engine", "spknorm")
    return bool(args.downstream == OUR_TASK and engine == "spknorm")


def _experiment_name(args: argparse.Namespace, config: Mapping[str, Any]) -> str:
    parts = [args.downstream, args.upstream.replace("/", "__")]
    if args.downstream == OUR_TASK:
        parts.append(parse(config).downstream_expert.spknorm.strategy)
        if not args.upstream_trainable:
            parts.append("frozen")
    if fold := fold_of(args, config):
        parts.append(fold)
    return "-".join(parts)
