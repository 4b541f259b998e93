"""Plain values -> frozen dataclasses, by the hints and marks of their fields.

People write settings, programs write results; `by_hand` says which. Every error names the key's
path. Used by `parse` and, for the files that runs leave, by spknorm.runs.checked.
"""

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from spknorm.errors import ConfigError, did_you_mean
from spknorm.schema.marks import OneOf, Parser, Range

T = TypeVar("T")


def build(kind: type[T], mapping: Any, *, path: str, by_hand: bool = True) -> T:
    """Return a frozen dataclass of `kind` filled from a mapping, every value of its field's type.

    By hand, every key has to be known, and a value may be said in other words: on, off, none,
    "1e-3", 3e4. Else keys that no field names are left alone, so that files of later versions can
    be read, and null is what is not there.

    Args:
        kind: Its hints are of str, bool, int, float, Any, Literal, tuple[X, ...], Mapping[str, X],
            dataclasses, unions of these, None among them, and `Annotated` with marks of schema/.
        mapping: What was read.
        path: What messages call it; empty: its keys stand alone.
        by_hand: A person wrote it.

    Raises:
        ConfigError: Unknown or missing key, wrong type, out of range; the message names the path.
    """
    return _Builder(by_hand).build(kind, mapping, path)


def shown(value: Any) -> str:
    """Return a value and its type for a message, cut where it is long."""
    text = repr(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}` ({type(value).__name__})"


def wrong(path: str, what: str, value: Any) -> ConfigError:
    """Return (not raise) the error that a value at a path is not `what` it must be."""
    return ConfigError(f"`{path}` must be {what}, but is {shown(value)}.")


class _Builder(NamedTuple):
    by_hand: bool

    def build(self, kind: type[T], mapping: Any, path: str) -> T:
        if not isinstance(mapping, Mapping):
            raise wrong(path, "a mapping", mapping)
        fields, found = _fields(typing.cast(Any, kind)), {}
        for key in mapping if self.by_hand else ():
            if key not in fields:
                raise ConfigError(
                    f"`{_below(path, key)}` is not a known setting.{did_you_mean(key, fields)} "
                    f"Known here: {', '.join(sorted(fields))}."
                )
        for name, (hint, has_default) in fields.items():
            value = mapping.get(name)
            if value is not None or (self.by_hand and name in mapping):
                found[name] = self._convert(hint, value, _below(path, name))
            elif not has_default:
                raise ConfigError(f"`{_below(path, name)}` is missing.")
        return kind(**found)

    def _convert(self, hint: Any, value: Any, path: str) -> Any:
        if hint in _KINDS:
            return self._scalar(hint, value, path)
        if hint is Any:
            return value
        if dataclasses.is_dataclass(hint):
            return self.build(typing.cast(type, hint), value, path)
        origin, options = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            return self._marked(options[0], options[1:], value, path)
        if origin in (types.UnionType, typing.Union):
            return self._one_of(options, value, path)
        if origin is Literal:
            found = _choice(options, value) if self.by_hand else value
            if not isinstance(found, str) or found not in options:
                raise wrong(path, f"one of {', '.join(options)}", found)
            return found
        if origin is tuple:
            if not isinstance(value, (list, tuple)):
                raise wrong(path, "a list", value)
            return tuple(
                self._convert(options[0], item, f"{path}[{i}]") for i, item in enumerate(value)
            )
        assert issubclass(origin, Mapping), hint
        if not isinstance(value, Mapping):
            raise wrong(path, "a mapping", value)
        return {
            key: self._convert(options[1], item, _below(path, key)) for key, item in value.items()
        }

    def _marked(self, hint: Any, marks: Sequence[Any], value: Any, path: str) -> Any:
        """Return a value that its field's marks allow."""
        for mark in marks:
            if isinstance(mark, Parser):
                if (found := mark.parse(value)) is None:
                    raise wrong(path, mark.what, value)
                return found
        converted = self._convert(hint, value, path)
        optional = ", or null" if type(None) in typing.get_args(hint) else ""
        for mark in marks:
            if isinstance(mark, OneOf) and converted not in mark.names():
                raise wrong(path, f"one of {', '.join(mark.names())}", value)
            if isinstance(mark, Range):
                several = isinstance(converted, tuple)
                for number in converted if several else [converted]:
                    if not isinstance(number, str | None) and number not in mark:
                        what = f"a list of numbers {mark}" if several else f"{mark}{optional}"
                        raise wrong(path, what, value if several else converted)
        return converted

    def _one_of(self, options: Sequence[Any], value: Any, path: str) -> Any:
        """Return a value of one of several types: null, one of some words, or another."""
        said = str(value).lower() if self.by_hand else ""
        if type(None) in options and (value is None or said in ("none", "null")):
            return None
        choices = [option for option in options if option is not type(None)]
        if len(choices) == 1:
            return self._convert(choices[0], value, path)
        (literal,) = (one for one in choices if typing.get_origin(one) is Literal)
        (other,) = (one for one in choices if one is not literal)
        words = typing.get_args(literal)
        if isinstance(value, str) and value in words:
            return value
        try:
            return self._convert(other, value, path)
        except ConfigError as error:
            kind = _KINDS[typing.get_origin(other) or other]
            raise wrong(path, f"{', '.join(words)} or {kind}", value) from error

    def _scalar(self, kind: type, value: Any, path: str) -> Any:
        meant = _meant(kind, value) if self.by_hand else value
        if not _fits(kind, meant):
            infinite = kind is float and isinstance(meant, float)
            raise wrong(path, "a finite number" if infinite else _KINDS[kind], value)
        return float(meant) if kind is float else meant


def _choice(options: Sequence[str], value: Any) -> Any:
    """Return which of some words is meant by what YAML reads as `off` and `none`."""
    if value is None or value is False:
        words = ("none",) if value is None else ("off", "none")
        return next((word for word in words if word in options), value)
    if value is True and "off" in options and len(options) == 2:
        return next(word for word in options if word != "off")
    return value


def _meant(kind: type, value: Any) -> Any:
    """Return the number or truth value that is meant, where one is: 3e4, "1e-3", "on"."""
    if kind is bool:
        return _WORDS.get(str(value).lower(), value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _fits(kind: type, value: Any) -> bool:
    if kind in (str, bool):
        return isinstance(value, kind)
    if isinstance(value, bool):
        return False
    if kind is int:
        return isinstance(value, int) and abs(value) <= _MOST
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the hint of each field of a dataclass, and whether it has a default."""
    hints, none = typing.get_type_hints(kind, include_extras=True), dataclasses.MISSING
    return {
        field.name: (hints[field.name], {field.default, field.default_factory} != {none})
        for field in dataclasses.fields(kind)
    }


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


_MOST = 2**53
"""The largest whole number: beyond it a float skips some."""
_KINDS: dict[Any, str] = {
    float: "a number", int: "a whole number", bool: "true or false", str: "text",
    Mapping: "a mapping", tuple: "a list",
}  # fmt: skip
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
