"""One run of a grid: its settings, its name and the command that makes it. First in this folder."""

import ast
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spknorm import config
from spknorm.errors import ConfigError

TASK = "emotion_spknorm"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run.

    Attributes:
        name: Upstream, variant, protocol, fold and seed; also the name of its folder.
        variant: The part of the name that the rows of a table differ in.
        upstream: Of s3prl.hub.
        upstream_ckpt: File or URL for a `*_local` upstream.
        upstream_config: File for an upstream that needs one.
        frozen: Whether the upstream stays as it is.
        selection: s3prl's -s; None leaves the task's default.
        layer: s3prl's -l.
        fold: The test fold.
        seed: Of the run.
        changes: What differs from the task's config.yaml, in its sections.
    """

    name: str
    variant: str
    upstream: str
    upstream_ckpt: str | None
    upstream_config: str | None
    frozen: bool
    selection: str | None
    layer: int | None
    fold: str
    seed: int
    changes: Mapping[str, Any]

    def command(self, folder: Path) -> list[str]:
        """Return the command line of the run; `-a` continues what `folder` holds of it."""
        options = ["-d", TASK, "-u", self.upstream, "-v", self.fold, "--seed", str(self.seed)]
        for flag, value in (
            ("-k", self.upstream_ckpt),
            ("-g", self.upstream_config),
            ("-s", self.selection),
            ("-l", self.layer),
        ):
            options += [] if value is None else [flag, str(value)]
        options.append("--frozen" if self.frozen else "-f")
        override = ",,".join(f"config.{key}={literal(value)}" for key, value in self.leaves())
        options += ["-o", override] if override else []
        program = [sys.executable, "-m", "spknorm.run_downstream"]
        return [*program, "-m", "train", *options, "-p", str(folder), "-a"]

    def leaves(self) -> list[tuple[str, Any]]:
        """Return what differs as (dotted key, value) pairs."""
        return list(_leaves(self.changes))

    def difference_from(self, result: Mapping[str, Any]) -> str | None:
        """Say what a result.json was made with that this cell is not; None if it is the same.

        Args:
            result: The content of a result.json; whatever is missing in it counts as different.
        """
        args, made_with = result.get("args"), result.get("config")
        if not isinstance(args, Mapping) or not isinstance(made_with, Mapping):
            return "it holds neither args nor config"
        expected: dict[str, Any] = {
            "upstream": self.upstream,
            "seed": self.seed,
            "fold": self.fold,
            "frozen": self.frozen,
        }
        found = {name: result.get(name) for name in expected}
        for name, value in (
            ("upstream_ckpt", self.upstream_ckpt),
            ("upstream_model_config", self.upstream_config),
            ("upstream_feature_selection", self.selection),
            ("upstream_layer_selection", self.layer),
        ):
            if value is not None or name in ("upstream_ckpt", "upstream_layer_selection"):
                expected[name], found[name] = value, args.get(name)
        normal = config.to_mapping(config.parse(self.changes))
        for key, _ in self.leaves():
            expected[key], found[key] = _value_at(normal, key), _value_at(made_with, key)
        for key, value in expected.items():
            if not _equal(found[key], value):
                return f"{key} was {found[key]!r}, now it is {value!r}"
        return None


def literal(value: Any) -> str:
    """Return a value as `-o` reads it back.

    Raises:
        ConfigError: A text with `,,` in it, which separates the pieces of `-o`.
    """
    if isinstance(value, str) and not _is_literal(value):
        text = value
    else:
        text = repr(list(value) if isinstance(value, tuple) else value)
    if ",," in text:
        raise ConfigError(f"`{text}` cannot be a setting: `,,` separates settings.")
    return text


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text != text.strip() or "=" in text
    return True


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value_at(section: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(section, Mapping) or name not in section:
            return None
        section = section[name]
    return section


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, (int, float)):
        return math.isclose(found, expected, rel_tol=1e-9)
    if isinstance(expected, (list, tuple)):
        return isinstance(found, (list, tuple)) and list(found) == list(expected)
    return bool(found == expected)
