"""Checked access to a JSON value: every error names the file and the key.

First in the report: `results.py` reads result files through it, whoever wrote them.
"""

import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spknorm.errors import ConfigError, MissingError
from spknorm.files import read_json

_MAX_COUNT = 2**53
_MAX_DEPTH = 50
_BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def read_fields(path: Path) -> "Fields":
    """Return the JSON object in `path`, its texts made printable.

    Raises:
        ConfigError: Not JSON, or not an object; the message names the file.
        MissingError: There is no such file.
    """
    try:
        value = read_json(path)
    except FileNotFoundError as error:
        raise MissingError(f"There is no file {path}.") from error
    except (ValueError, OSError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from error
    return Fields(value, path)


class Fields:
    """One JSON object with the name of its file and its place therein."""

    def __init__(self, value: Any, path: Path, where: str = "") -> None:
        """Wrap `value`, found in `path` under the dotted key `where` ("" is the whole file).

        Raises:
            ConfigError: `value` is not an object.
        """
        self._path = path
        self._where = where
        if not isinstance(value, dict):
            raise self.error("", f"must be an object, but is {_kind(value)}")
        self._value: dict[str, Any] = printable(value) if not where else value

    def error(self, key: str, problem: str) -> ConfigError:
        """Return (not raise) the error that names file, key and problem."""
        full = ".".join(part for part in (self._where, key) if part)
        return ConfigError(f"{self._path}: " + (f"`{full}` {problem}." if full else f"{problem}."))

    def has(self, key: str) -> bool:
        """Tell whether `key` is present and not null."""
        return self._value.get(key) is not None

    def raw(self, key: str) -> Any:
        """Return the value of `key` unchecked, None where it is missing."""
        return self._value.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string."""
        value = self._present(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"must be a text, but is {_kind(value)}")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return a boolean."""
        value = self._present(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, but is {_kind(value)}")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number."""
        value = self._present(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_COUNT:
            raise self.error(key, f"must be a whole number, but is {_kind(value)}")
        return value

    def number(
        self,
        key: str,
        default: float | None = None,
        *,
        low: float = -math.inf,
        high: float = math.inf,
    ) -> float:
        """Return a finite number between `low` and `high`."""
        value = self._present(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, but is {_kind(value)}")
        try:
            value = float(value)
        except OverflowError as error:
            raise self.error(key, "must be a finite number") from error
        if not math.isfinite(value):
            raise self.error(key, "must be a finite number")
        if not low <= value <= high:
            raise self.error(key, f"must lie between {low:g} and {high:g}, but is {value:g}")
        return value

    def optional_number(self, key: str) -> float | None:
        """Return a finite number, or None where the key is missing or null."""
        return self.number(key) if self.has(key) else None

    def optional_integer(self, key: str) -> int | None:
        """Return a whole number, or None where the key is missing or null."""
        return self.integer(key) if self.has(key) else None

    def fields(self, key: str, *, optional: bool = False) -> "Fields":
        """Return the object under `key`; a missing optional one is empty."""
        value = self._present(key, {} if optional else None)
        return Fields(value, self._path, ".".join(part for part in (self._where, key) if part))

    def items(self) -> dict[str, Any]:
        """Return the object itself."""
        return self._value

    def list_of_fields(self, key: str) -> "Iterator[Fields]":
        """Yield the objects of the list under `key`."""
        value = self._present(key, None)
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, but is {_kind(value)}")
        for index, item in enumerate(value):
            where = ".".join(part for part in (self._where, f"{key}[{index}]") if part)
            yield Fields(item, self._path, where)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self._present(key, None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "must be a list of texts")
        return tuple(value)

    def counts(self, key: str, num_classes: int) -> tuple[tuple[int, ...], ...]:
        """Return a (C, C) matrix of counts: row = true class, column = predicted class."""
        value = self._present(key, None)
        square = (
            isinstance(value, list)
            and len(value) == num_classes
            and all(isinstance(row, list) and len(row) == num_classes for row in value)
        )
        if not square:
            raise self.error(key, f"must be a {num_classes} x {num_classes} list of counts")
        for row in value:
            for cell in row:
                if isinstance(cell, bool) or not isinstance(cell, int) or not 0 <= cell < 2**31:
                    raise self.error(key, "must hold counts (whole numbers from 0)")
        return tuple(tuple(row) for row in value)

    def _present(self, key: str, default: Any) -> Any:
        value = self._value.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.error(key, "is missing")
        return value


def printable(value: Any, depth: int = 0) -> Any:
    """Return `value` with every text (keys, too) free of characters that cannot be written.

    Lone surrogates, control characters and direction overrides become U+FFFD.
    """
    if isinstance(value, str):
        return (
            "".join(map(_printable_character, value))
            if not value.isascii()
            or any(character < " " or character == "\x7f" for character in value)
            else value
        )
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {printable(key): printable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item, depth + 1) for item in value]
    return value


def _printable_character(character: str) -> str:
    if character in "\n\t":
        return " "
    if character in _BIDI_CONTROLS or unicodedata.category(character) in ("Cc", "Cs"):
        return "\ufffd"
    return character


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    if value is None:
        return "null"
    return names.get(type(value), "a number")
