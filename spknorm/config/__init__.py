"""YAML -> the frozen dataclasses of `schema.py`, once: every key known, typed and checked.

`parse` takes the mapping that s3prl would read from a `config.yaml`, before anything is loaded;
`to_mapping` gives it back with every default filled in.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from spknorm.config.combinations import check_combinations, shown
from spknorm.config.options import check_choices
from spknorm.config.yaml_values import load_yaml
from spknorm.errors import ConfigError, did_you_mean
from spknorm.schema import TaskConfig
from spknorm.schema.marks import OneOf, Range

__all__ = ["build", "flatten", "load_yaml", "merge", "parse", "to_mapping"]

T = TypeVar("T")


def parse(mapping: Mapping[str, Any]) -> TaskConfig:
    """Return the checked configuration; of equal mappings, in one process, the same.

    s3prl hands the mapping on, so command line, runner and expert all ask for what it says.

    Raises:
        ConfigError: Unknown key (named with the nearest valid one), wrong type, value out of
            range, or settings that exclude each other; the message names the key's path.
    """
    given = _content(mapping)
    if given not in _PARSED:
        config = build(TaskConfig, mapping, path="config")
        check_combinations(config)
        check_choices(config)
        _PARSED[given] = config
    return _PARSED[given]


def to_mapping(config: Any) -> Any:
    """Return plain dicts, lists and scalars: what `parse` takes, with every default filled in."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_mapping(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_mapping(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_mapping(value) for value in config]
    return config


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested settings as (dotted key, value), in their order."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, section by section, both unaltered."""
    merged = {key: to_mapping(value) for key, value in base.items()}
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else to_mapping(value)  # type: ignore[arg-type]
    return merged


def build(kind: type[T], mapping: Any, *, path: str) -> T:
    """Return a frozen dataclass of `kind` filled from a mapping, every key known and typed.

    Messages call it `path`.

    Raises:
        ConfigError: Unknown key or wrong type; the message names the key's path.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"`{path}` must be a mapping, but is {shown(mapping)}.")
    hints = typing.get_type_hints(kind, include_extras=True)
    for key in mapping:
        if key not in hints:
            hint = did_you_mean(key, hints)
            raise ConfigError(
                f"`{path}.{key}` is not a known setting.{hint} "
                f"Known here: {', '.join(sorted(hints))}."
            )
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass
        has_default = {one.default, one.default_factory} != {dataclasses.MISSING}
        if one.name not in mapping and not has_default:
            raise ConfigError(f"`{path}.{one.name}` is missing.")
    items = {key: _convert(hints[key], item, f"{path}.{key}") for key, item in mapping.items()}
    return kind(**items)


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _marked(options[0], options[1:], value, path)
    if origin in (types.UnionType, typing.Union):
        return _one_of(options, value, path)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, path=path)
    if origin is Literal:
        if value is None or value is False:  # as YAML reads `off` and `none`
            words = ("none",) if value is None else ("off", "none")
            value = next((word for word in words if word in options), value)
        elif value is True and "off" in options and len(options) == 2:
            value = next(word for word in options if word != "off")
        if not isinstance(value, str) or value not in options:
            raise ConfigError(
                f"`{path}` must be one of {', '.join(options)}, but is {shown(value)}."
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"`{path}` must be a list, but is {shown(value)}.")
        return tuple(_convert(options[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"`{path}` must be a mapping, but is {shown(value)}.")
        return dict(value)
    return _scalar(hint, value, path)


def _marked(hint: Any, marks: Sequence[Any], value: Any, path: str) -> Any:
    """Return a value that its field's marks allow."""
    converted = _convert(hint, value, path)
    optional = ", or null" if type(None) in typing.get_args(hint) else ""
    for mark in (mark for mark in marks if isinstance(mark, OneOf)):
        if converted not in mark.names():
            known = ", ".join(mark.names())
            raise ConfigError(f"`{path}` must be one of {known}, but is {shown(value)}.")
    for allowed in (mark for mark in marks if isinstance(mark, Range)):
        several = isinstance(converted, tuple)
        for number in converted if several else [converted]:
            if not isinstance(number, str | None) and number not in allowed:
                what = f"a list of numbers {allowed}" if several else f"{allowed}{optional}"
                raise ConfigError(
                    f"`{path}` must be {what}, but is {shown(value if several else converted)}."
                )
    return converted


def _one_of(options: Sequence[Any], value: Any, path: str) -> Any:
    """Return a value of one of several types: null, a word, or the other one."""
    is_mapping = isinstance(value, Mapping)
    if type(None) in options and (value is None or str(value).lower() in ("none", "null")):
        return None
    choices = [option for option in options if option is not type(None)]
    mapping = [o for o in choices if typing.get_origin(o) is Mapping and is_mapping]
    words = [o for o in choices if typing.get_origin(o) is Literal]
    if any(value in typing.get_args(word) for word in words if isinstance(value, str)):
        return value
    other = (mapping or [o for o in choices if o not in words])[0]
    try:
        return _convert(other, value, path)
    except ConfigError as error:
        kind = _KINDS.get(typing.get_origin(other) or other)
        if not words or kind is None or is_mapping:
            raise
        named = ", ".join(name for word in words for name in typing.get_args(word))
        raise ConfigError(f"`{path}` must be {named} or {kind}, but is {shown(value)}.") from error


def _content(mapping: Any) -> str:
    """Return what a mapping says as a text; s3prl leaves sections that are null out."""
    if isinstance(mapping, Mapping):
        mapping = {**_NULL_IS_NOTHING, **mapping}
        mapping = sorted(mapping.items(), key=lambda pair: str(pair[0]))
    return repr(mapping)


def _scalar(hint: type, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isnan(number):
            return number
    elif hint is bool and str(value).lower() in _WORDS:
        return _WORDS[str(value).lower()]
    elif hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 3e4
    elif (hint is int and isinstance(value, int) and not isinstance(value, bool)) or (
        hint is str and isinstance(value, str)
    ):
        return value
    raise ConfigError(f"`{path}` must be {_KINDS[hint]}, but is {shown(value)}.")


_KINDS: dict[Any, str] = {
    float: "a number", int: "a whole number", bool: "true or false", str: "text",
    Mapping: "a mapping", tuple: "a list",
}  # fmt: skip
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PARSED: dict[str, TaskConfig] = {}
_NULL_IS_NOTHING = {"scheduler": None, "specaug": None}
