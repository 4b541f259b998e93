"""Tables that lie beside recordings: found below a corpus' folder, read line by line, errors named.

Before the readers that need them; manifest.py has a reader of its own, for what people write.
"""

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.audio.faults import printable
from spknorm.errors import DataError, MissingError
from spknorm.files import POINTER, is_pointer, read_file

_DEPTH = 3  # so many folders below the root are looked into
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_WORKBOOKS = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # of today and of before 2007


class Line(NamedTuple):
    """A line of a table: its number in the file, and its cells by column."""

    number: int
    cells: dict[str, str]


def find(root: Path, pattern: str) -> list[Path]:
    """Return the files below a folder whose names fit, the nearest first, then by name."""
    found: list[tuple[int, str]] = []
    for folder, folders, names in os.walk(root, followlinks=True):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if depth >= _DEPTH:
            folders.clear()
        found += [
            (depth, f"{folder}/{name}")
            for name in names
            if not name.startswith(".") and re.fullmatch(pattern, name, re.IGNORECASE)
        ]
    return [Path(name) for _, name in sorted(found)]


def find_one(root: Path, pattern: str, *, of: str, expected: str) -> Path:
    """Return the nearest file that fits.

    Raises:
        MissingError: There is none; the message says `of` which corpus and what was `expected`.
    """
    if not (found := find(root, pattern)):
        raise MissingError(f"{root} is not {of}: expected {expected} in it.")
    return found[0]


def lines_of(
    file: Path, columns: Sequence[str] = (), *, delimiter: str | None = None
) -> Iterator[Line]:
    """Yield the lines of a table with a header, read by `text_of`; blank ones are passed over.

    Some columns may be needed. Without a delimiter it is a tab if the header has one, else a
    semicolon, else a comma.

    Raises:
        DataError: It cannot be read, lacks one of the columns, or has it twice.
    """
    text = text_of(file)
    first = text.partition("\n")[0]
    if delimiter is None:
        delimiter = next((one for one in "\t;" if one in first), ",")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        if lacking := [name for name in columns if name not in header]:
            raise DataError(
                f"{printable(file)} lacks the columns {', '.join(lacking)}; it has "
                f"{', '.join(header) or 'none'}."
            )
        if twice := [name for name in columns if header.count(name) > 1]:
            raise DataError(f"{printable(file)} has two columns `{twice[0]}`: rename one of them.")
        for row in reader:
            cells = {name: (cell or "").strip() for name, cell in row.items() if name is not None}
            if any(isinstance(cell, str) and cell for cell in cells.values()):
                yield Line(reader.line_num, cells)
    except csv.Error as error:
        raise DataError(f"{printable(file)}, line {reader.line_num}: not CSV ({error}).") from error


def objects_of(file: Path, hook: Any = None) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the number of each line of JSON that is not blank, and its object or what is wrong.

    A `hook` is of pairs, such as `whole_object`; the text is that of `text_of`.
    """
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        if line.strip():
            try:
                value = json.loads(line, object_pairs_hook=hook)
            except ValueError as error:
                yield number, f"not JSON ({error})"
            else:
                yield number, value if isinstance(value, dict) else "expected a JSON object"


def text_of(file: Path, name: str = "", *, strict: bool = False) -> str:
    """Return the text of a file in UTF-8 or, with its mark, in UTF-16.

    Messages call it `name`. What is neither is Windows' Latin, unless this is `strict`.

    Raises:
        DataError: It cannot be read, or is no text; its cause is the system's error, if there is.
    """
    name = name or printable(file)
    try:
        content = read_file(file)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}.") from error
    if is_pointer(content):
        raise DataError(f"{name} {POINTER}.")
    if content.startswith(_WORKBOOKS):
        raise DataError(f"{name} is a workbook, not CSV: save it as `CSV UTF-8`.")
    is_wide = content.startswith(_UTF_16)
    if b"\0" in content and not is_wide:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise DataError(
            f"{name} has zero bytes in it, the first in line {line}: it is no text, or UTF-16 "
            "without its mark. Save it as UTF-8 (`CSV UTF-8` in Excel)."
        )
    try:
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if not strict:
            return content.decode("cp1252", errors="replace")
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name} is not UTF-8: line {line} has the byte 0x{content[error.start]:02x}. Save it "
            "as UTF-8 (`CSV UTF-8` in Excel)."
        ) from error


def is_absent(cell: str) -> bool:
    """Tell whether a cell holds nothing, or what pandas and Python write for a missing value."""
    text = cell.strip()
    return not text or text.lower() in ("nan", "<na>", "nat") or text == "None"


def whole_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object of its pairs, for `object_pairs_hook`.

    Raises:
        ValueError: A key stands twice, and one of the two would be dropped.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key `{twice}` stands twice, and one of the two would be dropped")
    return found


def number(text: str, what: str) -> float:
    """Return a number; its decimal mark may be a comma, as spreadsheets of some languages have it.

    Raises:
        ValueError: It is none, or not finite.
    """
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = float("nan")
    if value - value != 0:
        raise ValueError(f"{what} must be a number, but is `{text}`")
    return value


def ranked(votes: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return votes by falling weight, then by word."""
    weights = ((word, float(weight)) for word, weight in votes.items())
    return tuple(sorted(weights, key=lambda pair: (-pair[1], pair[0])))
