"""One run of a grid: its settings, its name and the command that makes it. After `entries.py`."""

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spknorm import config, registry
from spknorm.bench.entries import Upstream
from spknorm.config import effects
from spknorm.errors import ConfigError
from spknorm.schema import TaskConfig

TASK = "emotion_spknorm"
QUICK = {"total_steps": 20, "log_step": 10, "eval_step": 10, "save_step": 10}
"""Settings of `runner` in a quick run: does it all work?"""
_PROGRAM = ("-m", "spknorm", "run-downstream", "-m", "train")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run.

    Attributes:
        name: Upstream, variant, protocol, fold and seed; also the name of its folder.
        group: The name without sizes, draws, folds and seeds: one for all runs of a method.
        variant: The part of the name that the rows of a table differ in.
        frozen: Whether the upstream stays as it is.
        selection: s3prl's -s; None leaves the task's default.
        layer: s3prl's -l.
        changes: What differs from the task's config.yaml, in its sections.
    """

    name: str
    group: str
    variant: str
    upstream: Upstream
    frozen: bool
    selection: str | None
    layer: int | None
    fold: str
    seed: int
    changes: Mapping[str, Any]

    def command(self, folder: Path) -> list[str]:
        """Return the command line of the run; `-a` continues what `folder` holds of it."""
        of = self.upstream
        options = ["-d", TASK, "-u", of.name, "-v", self.fold, "--seed", str(self.seed)]
        named = {"-k": of.ckpt, "-g": of.config, "-s": self.selection, "-l": self.layer}
        for flag, value in named.items():
            options += [] if value is None else [flag, str(value)]
        options.append("--frozen" if self.frozen else "-f")
        return [*run_command(options, config.flatten(self.changes)), "-p", str(folder), "-a"]

    def difference_from(self, result: Mapping[str, Any]) -> str | None:
        """Say what a result.json was made with that this cell is not; None if it is the same.

        What is missing in the result.json counts as different.
        """
        args, made_with = result.get("args"), result.get("config")
        if not isinstance(args, Mapping) or not isinstance(made_with, Mapping):
            return "it holds neither args nor config"
        frozen = result.get("frozen")
        found = {
            **args,
            "downstream": result.get("task"),
            "upstream": result.get("upstream"),
            "upstream_trainable": None if frozen is None else not frozen,
            "downstream_variant": result.get("fold"),
            "seed": result.get("seed"),
        }
        asked = (self.config(), {**found, **self._arguments()})
        for key, (before, now) in effects.differing((made_with, found), asked).items():
            return f"{key.removeprefix('args.')} was {before!r}, now it is {now!r}"
        return None

    def config(self) -> TaskConfig:
        """Return the whole configuration of the run."""
        return config.parse(config.merge(_defaults(), self.changes))

    def _arguments(self) -> dict[str, Any]:
        """Return what the command line names, by s3prl's names."""
        named = {
            "upstream_model_config": self.upstream.config,
            "upstream_feature_selection": self.selection,
        }
        return {
            "downstream": TASK,
            "upstream": self.upstream.name,
            "upstream_ckpt": self.upstream.ckpt,
            "upstream_trainable": not self.frozen,
            "upstream_layer_selection": self.layer,
            "downstream_variant": self.fold,
            "seed": self.seed,
            **{name: value for name, value in named.items() if value is not None},
        }


@functools.cache
def _defaults() -> dict[str, Any]:
    return config.load_yaml(registry.config_path(TASK))


def run_command(options: Iterable[str], changes: Iterable[tuple[str, Any]]) -> list[str]:
    """Return the command line of a run; `changes` are settings, by dotted key, and their values.

    Raises:
        ConfigError: A text with `,,` in it, which separates the pieces of `-o`.
    """
    pieces = []
    for key, value in changes:
        if ",," in (text := config.text_of(value)):
            raise ConfigError(f"`{text}` cannot be a setting: `,,` separates settings.")
        pieces.append(f"config.{key}={text}")
    return [sys.executable, *_PROGRAM, *options, *(["-o", ",,".join(pieces)] if pieces else [])]


def folder_name(name: str) -> str:
    """Return a name as that of a folder."""
    return re.sub(r"[^\w.+-]", "_", name)


def num_methods(cells: Iterable[Cell]) -> int:
    """Return how many upstreams and variants there are, whatever the folds and seeds."""
    return len({(cell.upstream, cell.variant) for cell in cells})
