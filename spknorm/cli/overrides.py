"""`-o config.optimizer.lr=1.0e-4,,args.seed=3`: s3prl's syntax, read as YAML's values are."""

import argparse
from typing import Any

from spknorm.cli import arguments
from spknorm.cli.parsing import add_arguments
from spknorm.config.yaml_values import read_value
from spknorm.errors import ConfigError, did_you_mean

Overrides = list[tuple[tuple[str, ...], Any]]
"""Pairs of a path such as `("config", "optimizer", "lr")` and its value."""


def parse_overrides(text: str | None) -> Overrides:
    """Return (path, value) pairs such as `(("config", "optimizer", "lr"), 1e-4)`.

    What a value means is said in `spknorm.config.yaml_values`. Nothing is evaluated.

    Raises:
        ConfigError: A piece is not of the form `config.a.b=value` or `args.x=value`.
    """
    if text is None or text.strip().lower() in ("", "none"):
        return []
    pieces = [piece.strip() for piece in text.split(",,")]
    return [_parse_piece(piece) for piece in pieces if piece]


def apply_to_args(overrides: Overrides, args: argparse.Namespace) -> None:
    """Set the `args.x` of `overrides`; a name that s3prl's command line lacks is a ConfigError."""
    for path, value in overrides:
        if path[0] == "args":
            if path[1] not in vars(args):
                hint = did_you_mean(path[1], vars(args), before="args.")
                raise ConfigError(f"`-o`: there is no argument `args.{path[1]}`.{hint}")
            setattr(args, path[1], _as_argument(path[1], value))


def _as_argument(name: str, value: Any) -> Any:
    """Return `value` as the command line's own option would have it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser, arguments.ARGUMENTS)
    action = next((one for one in parser._actions if one.dest == name), None)
    if action is None or value is None:
        return value
    if action.type is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigError(f"`-o`: `args.{name}` must be a whole number, but is `{value}`.")
    if action.nargs == 0 and not isinstance(value, bool):
        raise ConfigError(f"`-o`: `args.{name}` must be true or false, but is `{value}`.")
    if action.choices is not None and value not in action.choices:
        known = ", ".join(map(str, action.choices))
        raise ConfigError(f"`-o`: `args.{name}` must be one of {known}, but is `{value}`.")
    return value


def apply_to_config(overrides: Overrides, config: dict[str, Any]) -> None:
    """Set the `config.a.b` of `overrides`, making sections that are not there."""
    for path, value in overrides:
        if path[0] == "config":
            section = config
            for depth, name in enumerate(path[1:-1], start=2):
                if section.get(name) is None:
                    section[name] = {}
                section = section[name]
                if not isinstance(section, dict):
                    raise ConfigError(
                        f"`-o`: `{'.'.join(path[:depth])}` is a single value, so that "
                        f"`{'.'.join(path)}` cannot be set."
                    )
            section[path[-1]] = value


def _parse_piece(piece: str) -> tuple[tuple[str, ...], Any]:
    key, equals, text = piece.partition("=")
    path = tuple(name.strip() for name in key.split("."))
    well_formed = len(path) == 2 if path[0] == "args" else path[0] == "config" and len(path) > 1
    if not equals or not well_formed or not all(path):
        raise ConfigError(
            f"`-o`: `{piece}` is not of the form config.a.b=value or args.x=value "
            "(pieces are separated by `,,`)."
        )
    return path, read_value(text.strip())
