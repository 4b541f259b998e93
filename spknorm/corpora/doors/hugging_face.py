"""Hugging Face data sets on disk -> utterances: Arrow or Parquet, or a folder with metadata.csv."""

from collections.abc import Mapping
from pathlib import Path

from spknorm.corpora.doors.cells import Listed, Rows
from spknorm.corpora.embedded import files_of, rows_of, sound_of
from spknorm.corpora.tables import lines_of, objects_of, whole_object
from spknorm.errors import DataError

_SOUNDS = ("audio", "wav", "sound", "file", "path")


def fits(path: Path) -> bool:
    """Whether this is such a folder, or one of its files."""
    if path.is_file():
        return path.suffix in (".arrow", ".parquet")
    return path.is_dir() and (bool(files_of(path)) or bool(_lists(path)))


def rows(folder: Path) -> Rows:
    """Yield the utterances, split by split.

    Raises:
        MissingError: pyarrow is not installed.
        DataError: A file cannot be read.
    """
    if not files_of(folder):
        yield from _of_lists(folder)
        return
    for row in rows_of(folder):
        where = f"row {row.place} of {row.part}"
        if (sound := next((name for name in _SOUNDS if row.cells.get(name)), None)) is None:
            yield f"{where}: it has none of the columns {', '.join(_SOUNDS)}"
            continue
        cells = {
            column: str(value)
            for column, value in row.cells.items()
            if column != sound and isinstance(value, str | int | float) and value != ""
        }
        name = next((cells.pop(one) for one in ("id", "file_id", "utt_id") if one in cells), None)
        try:
            path = sound_of(row, sound, folder)
        except DataError as error:
            yield f"{where}: {error}"
            continue
        inside = row.cells[sound]
        is_embedded = isinstance(inside, Mapping) and bool(inside.get("bytes"))
        name = name or f"{row.part}-{row.place:06d}"
        listed = path if is_embedded else str(path)
        yield Listed(where, name, listed, {"split": row.part, **cells})


def _lists(folder: Path) -> list[Path]:
    found = [*folder.glob("metadata.*"), *folder.glob("*/metadata.*")]
    return sorted(one for one in found if one.suffix in (".csv", ".jsonl"))


def _of_lists(folder: Path) -> Rows:
    for file in _lists(folder):
        below = file.parent.relative_to(folder)
        is_csv = file.suffix == ".csv"
        lines = lines_of(file, ("file_name",)) if is_csv else objects_of(file, whole_object)
        for number, row in lines:
            where = f"{file.name}, line {number}"
            if isinstance(row, str):
                yield f"{where}: {row}"
                continue
            cells = {column: str(cell) for column, cell in row.items() if cell is not None}
            name = str(below / cells.pop("file_name", ""))
            yield Listed(where, name, name, {"split": below.name, **cells})
