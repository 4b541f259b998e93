"""JSON -> records (frozen dataclasses) by their type hints: every error names the file and the key.

First in this folder. A key that is missing or null takes its field's default; a key that no field
names is left alone, so that files of later versions can be read.
"""

import dataclasses
import functools
import math
import sys
import types
import typing
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from spknorm.errors import ConfigError, MissingError
from spknorm.files import read_json

T = TypeVar("T")
_MAX_COUNT = 2**53
_MAX_DEPTH = 50
_BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Between(NamedTuple):
    """Bounds of a number, both allowed."""

    low: float
    high: float


Share = Annotated[float, Between(0.0, 1.0)]
Confusion = Annotated[tuple[tuple[int, ...], ...], "confusion"]
"""(C, C) counts: row = true class, column = predicted class; `classes` is an earlier field."""
Layer = Annotated[str, "layer"]
"""head, last, weighted, or the number of a hidden state, which becomes a text."""


def error(path: Path, key: str, problem: str) -> ConfigError:
    """Return (not raise) the error that names file, key ("" is the whole file) and problem."""
    return ConfigError(f"{path}: " + (f"`{key}` {problem}." if key else f"{problem}."))


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`, its texts made printable.

    Raises:
        ConfigError: Not JSON, or not an object; the message names the file.
        MissingError: There is no such file.
    """
    try:
        value = read_json(path)
    except FileNotFoundError as missing:
        raise MissingError(f"There is no file {path}.") from missing
    except (ValueError, OSError) as broken:
        if isinstance(broken, ConfigError):
            raise
        raise ConfigError(f"{path} cannot be read as JSON: {broken}") from broken
    if not isinstance(value, dict):
        raise error(path, "", f"must be an object, but is {_kind(value)}")
    found: dict[str, Any] = printable(value)
    return found


def check_schema(value: Mapping[str, Any], expected: str, path: Path) -> None:
    """Check that a file says what it is.

    Raises:
        ConfigError: It is something else, or does not say.
    """
    schema = value.get("schema")
    if schema is None:
        raise error(path, "schema", "is missing")
    if schema != expected:
        shown = f"`{schema}`" if isinstance(schema, str) else _kind(schema)
        raise error(path, "schema", f"must be {expected}, but is {shown}")


def build(record: type[T], value: Any, path: Path, where: str = "") -> T:
    """Return an object of JSON as a record.

    Its hints are of str, bool, int, float, Mapping, tuples of texts or of records, other records,
    Literal, `Share`, `Confusion`, Mapping[str, Confusion], `Layer`, each perhaps `| None`. `where`
    is the place of `value` in its file, as a dotted key.

    Raises:
        ConfigError: A key is missing, of the wrong type or out of range.
    """
    if not isinstance(value, dict):
        raise error(path, where, f"must be an object, but is {_kind(value)}")
    found: dict[str, Any] = {}
    for name, hint, has_default in _fields(typing.cast(Any, record)):
        item, key = value.get(name), f"{where}.{name}" if where else name
        if item is not None:
            found[name] = _convert(hint, item, path, key, len(found.get("classes", ())))
        elif not has_default:
            raise error(path, key, "is missing")
    return record(**found)


def printable(value: Any, depth: int = 0) -> Any:
    """Return `value` with every text (keys, too) free of characters that cannot be written.

    Lone surrogates, control characters and direction overrides become U+FFFD.
    """
    if isinstance(value, str):
        plain = value.isascii() and value.isprintable()
        return value if plain else "".join(map(_printable_character, value))
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {printable(key): printable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item, depth + 1) for item in value]
    return value


@functools.cache
def _fields(record: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Return (name, hint without None, whether there is a default) of a record's fields."""
    hints = typing.get_type_hints(record, include_extras=True)
    return tuple(
        (
            field.name,
            next(one for one in _options(hints[field.name]) if one is not types.NoneType),
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING,
        )
        for field in dataclasses.fields(record)
    )


def _options(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if is_union else (hint,)


def _convert(hint: Any, value: Any, path: Path, key: str, num_classes: int) -> Any:
    if hint == Confusion:
        return _counts(value, num_classes, path, key)
    if hint == Layer:
        if not isinstance(value, str) and not _is_whole(value):
            raise error(path, key, "must be head, weighted or the number of a layer")
        return str(value)
    bounds = Between(-math.inf, math.inf)
    if typing.get_origin(hint) is Annotated:
        hint, bounds = typing.get_args(hint)
    if hint is float:
        return _number(value, bounds, path, key)
    if hint in _SCALARS:
        fits, name = _SCALARS[hint]
        if not fits(value):
            raise error(path, key, f"must be {name}, but is {_kind(value)}")
        return value
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, path, key)
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in inside:
            raise error(path, key, f"must be one of {', '.join(inside)}, but is `{value}`")
        return value
    if origin is tuple and inside[0] is str:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise error(path, key, "must be a list of texts")
        return tuple(value)
    if origin is tuple:
        if not isinstance(value, list):
            raise error(path, key, f"must be a list, but is {_kind(value)}")
        return tuple(build(inside[0], one, path, f"{key}[{i}]") for i, one in enumerate(value))
    assert issubclass(origin, Mapping), hint
    if not isinstance(value, dict):
        raise error(path, key, f"must be an object, but is {_kind(value)}")
    if inside[1] is Any:
        return value
    items = sorted(value.items())
    return {
        name: _convert(inside[1], one, path, f"{key}.{name}", num_classes) for name, one in items
    }


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_COUNT


_SCALARS: dict[Any, tuple[Any, str]] = {
    str: (lambda value: isinstance(value, str), "a text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_whole, "a whole number"),
}


def _number(value: Any, bounds: Between, path: Path, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise error(path, key, f"must be a number, but is {_kind(value)}")
    number = float(value) if abs(value) < sys.float_info.max else math.inf
    if not math.isfinite(number):
        raise error(path, key, "must be a finite number")
    if not bounds.low <= number <= bounds.high:
        between = f"between {bounds.low:g} and {bounds.high:g}"
        raise error(path, key, f"must lie {between}, but is {number:g}")
    return number


def _counts(value: Any, size: int, path: Path, key: str) -> tuple[tuple[int, ...], ...]:
    rows: list[Any] = value if isinstance(value, list) else [None]
    if len(rows) != size or not all(isinstance(row, list) and len(row) == size for row in rows):
        raise error(path, key, f"must be a {size} x {size} list of counts")
    for cell in (cell for row in rows for cell in row):
        if isinstance(cell, bool) or not isinstance(cell, int) or not 0 <= cell < 2**31:
            raise error(path, key, "must hold counts (whole numbers from 0)")
    return tuple(tuple(row) for row in rows)


def _printable_character(character: str) -> str:
    if character in "\n\t":
        return " "
    if character in _BIDI_CONTROLS or unicodedata.category(character) in ("Cc", "Cs"):
        return "\ufffd"
    return character


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
