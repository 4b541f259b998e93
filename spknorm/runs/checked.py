"""The files that runs leave, JSON -> records: every error names the file and the key.

First in this folder; spknorm.config.typed makes the records.
"""

import unicodedata
from pathlib import Path
from typing import Annotated, Any, TypeVar

from spknorm.config import typed
from spknorm.errors import ConfigError, MissingError
from spknorm.files import read_json
from spknorm.schema.marks import SHARE, Parser

T = TypeVar("T")
_MAX_DEPTH = 50
_BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _counts(value: Any) -> tuple[tuple[int, ...], ...] | None:
    rows: list[Any] = value if isinstance(value, list) else [None]
    if not all(isinstance(row, list) and len(row) == len(rows) for row in rows):
        return None
    if not all(type(cell) is int and 0 <= cell < 2**31 for row in rows for cell in row):
        return None
    return tuple(map(tuple, rows))


def _layer(value: Any) -> str | None:
    return value if isinstance(value, str) else str(value) if type(value) is int else None


Share = Annotated[float, SHARE]
Confusion = Annotated[
    tuple[tuple[int, ...], ...],
    Parser(_counts, "a C x C list of counts (whole numbers from 0)"),
]
"""(C, C) counts: row = true class, column = predicted class."""
Layer = Annotated[str, Parser(_layer, "head, weighted or the number of a layer")]
"""head, last, weighted, or the number of a hidden state, which becomes a text."""


def read_object(path: Path, schema: str) -> dict[str, Any]:
    """Return the JSON object in `path`, which has to say that it is of `schema`.

    Its texts are made printable.

    Raises:
        ConfigError: Not JSON, not an object, or of something else; the message names the file.
        MissingError: There is no such file.
    """
    try:
        value = read_json(path)
    except FileNotFoundError as missing:
        raise MissingError(f"There is no file {path}.") from missing
    except OSError as broken:
        raise ConfigError(f"{path} cannot be read as JSON: {broken}") from broken
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold an object, but holds {typed.shown(value)}.")
    found: dict[str, Any] = printable(value)
    if found.get("schema") != schema:
        raise ConfigError(f"{path}: {typed.wrong('schema', schema, found.get('schema'))}")
    return found


def build(record: type[T], value: Any, path: Path) -> T:
    """Return an object of JSON as a record; see `spknorm.config.typed`.

    Raises:
        ConfigError: A key is missing, of the wrong type or out of range; the message names `path`.
    """
    try:
        return typed.build(record, value, path="", by_hand=False)
    except ConfigError as problem:
        raise ConfigError(f"{path}: {problem}") from problem


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


def _printable_character(character: str) -> str:
    if character in "\n\t":
        return " "
    if character in _BIDI_CONTROLS or unicodedata.category(character) in ("Cc", "Cs"):
        return "\ufffd"
    return character
