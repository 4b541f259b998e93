"""What was predicted, row by row, and how it is written: CSV or JSON lines."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.audio import printable
from spknorm.errors import ConfigError
from spknorm.files import atomic_path, check_folder

_COLUMNS = ("path", "start", "end", "emotion", "speaker")
"""Columns of a CSV beside those of classes, the last where somebody is known to speak."""


class Prediction(NamedTuple):
    """What was predicted of one file, or of one window of it.

    Attributes:
        path: The file.
        start: Second at which the window starts.
        end: Second at which it ends.
        emotion: The most probable class; None where dimensions are predicted.
        probabilities: One per class, in the classes' order; they add up to 1.
        speaker: Who speaks, where a list of segments says so; rows without have no such column.
        dimensions: Instead of these, a value per dimension on the corpus' own scale.
    """

    path: Path
    start: float
    end: float
    emotion: str | None
    probabilities: dict[str, float]
    speaker: str | None = None
    dimensions: dict[str, float] = {}  # noqa: RUF012 # never changed


def write_rows(rows: Iterable[Prediction], path: Path | str) -> int:
    """Write rows as they come to a .csv or .jsonl file, whole or not at all; return how many.

    Raises:
        ConfigError: Another suffix.
    """
    path = Path(path)
    check_out(path)
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for row in rows:
            if path.suffix == ".csv":
                file.write(to_csv(row, header=count == 0))
            else:
                file.write(json.dumps(_plain(row)) + "\n")
            count += 1
    return count


def check_out(path: Path) -> None:
    """Check the name of a file of rows, which needs no model.

    Raises:
        ConfigError: Another suffix, or a folder.
        OSError: There can be no folder for it.
    """
    if path.suffix not in (".csv", ".jsonl") or path.is_dir():
        raise ConfigError(f"Predictions are written as .csv or .jsonl, but not as `{path.name}`.")
    check_folder(path.parent)


def to_csv(row: Prediction, *, header: bool = False) -> str:
    """Return the row as a line of CSV, after a line with the columns' names if `header`.

    A class with the name of another column, such as `path`, is `path (class)`.
    """
    values = _plain(row)
    found = values.pop("probabilities", None) or values.pop("dimensions")
    values |= {f"{name} (class)" if name in _COLUMNS else name: one for name, one in found.items()}
    text = io.StringIO()
    writer = csv.DictWriter(text, values, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerow(values)
    return text.getvalue()


def _plain(row: Prediction) -> dict[str, Any]:
    head = {
        "path": printable(row.path),
        "start": round(row.start, 4),
        "end": round(row.end, 4),
    }
    speaker = {} if row.speaker is None else {"speaker": row.speaker}
    if row.dimensions:
        dimensions = {name: round(value, 6) for name, value in row.dimensions.items()}
        return {**head, "dimensions": dimensions, **speaker}
    probabilities = {name: round(value, 9) for name, value in row.probabilities.items()}
    return {**head, "emotion": row.emotion, "probabilities": probabilities, **speaker}
