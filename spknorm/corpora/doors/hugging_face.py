"""Hugging Face data sets on disk -> utterances: Arrow or Parquet, or a folder with metadata.csv."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from spknorm.audio.faults import refuse
from spknorm.corpora.doors.cells import Place, utterance
from spknorm.corpora.embedded import Row, files_of, rows_of, sound_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import lines_of, text_of, whole_object
from spknorm.errors import DataError

_SOUNDS = ("audio", "wav", "sound", "file", "path")


def fits(path: Path) -> bool:
    """Whether this is such a folder, or one of its files."""
    if path.is_file():
        return path.suffix in (".arrow", ".parquet")
    return path.is_dir() and (bool(files_of(path)) or bool(_lists(path)))


def read(place: Place) -> list[Utterance]:
    """Return the utterances, split by split.

    Raises:
        DataError: A row cannot be used; at most 20 are named.
        MissingError: pyarrow is not installed.
    """
    folder = place.path if place.path.is_dir() else place.path.parent
    rows = _of_lists(place) if not files_of(folder) else _of_tables(place, folder)
    problems: list[str] = []
    records: list[Utterance] = []
    for where, one in rows:
        if isinstance(one, str):
            problems.append(f"{where}: {one}")
        else:
            records.append(one)
    refuse(problems, f"rows in {folder} cannot be used")
    if not records:
        raise DataError(f"{folder} lists no utterance.")
    return records


def _of_tables(place: Place, folder: Path) -> Iterator[tuple[str, Utterance | str]]:
    for row in rows_of(folder):
        where = f"row {row.place} of {row.part}"
        sound = next((name for name in _SOUNDS if row.cells.get(name)), None)
        if sound is None:
            yield where, f"it has none of the columns {', '.join(_SOUNDS)}"
            continue
        cells = {
            column: str(value)
            for column, value in row.cells.items()
            if column != sound and isinstance(value, str | int | float) and value != ""
        }
        name = next((cells.pop(one) for one in ("id", "file_id", "utt_id") if one in cells), None)
        try:
            path = sound_of(row, sound, folder)
            if not _is_embedded(row, sound):
                path = place.guard(str(path))
            one = utterance(
                name or f"{row.part}-{row.place:06d}", path, {"split": row.part, **cells}
            )
        except (ValueError, DataError) as error:
            yield where, str(error)
            continue
        yield where, one


def _is_embedded(row: Row, column: str) -> bool:
    value = row.cells[column]
    return isinstance(value, Mapping) and bool(value.get("bytes"))


def _lists(folder: Path) -> list[Path]:
    found = [*folder.glob("metadata.*"), *folder.glob("*/metadata.*")]
    return sorted(one for one in found if one.suffix in (".csv", ".jsonl"))


def _objects(text: str) -> Iterator[tuple[int, Mapping[str, str] | str]]:
    """Yield the number of each line of JSON, and its cells or what is wrong with it."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=whole_object)
        except ValueError as error:
            yield number, f"not JSON ({error})"
            continue
        if not isinstance(value, dict):
            yield number, "expected a JSON object"
            continue
        yield number, {key: str(cell) for key, cell in value.items() if cell is not None}


def _of_lists(place: Place) -> Iterator[tuple[str, Utterance | str]]:
    for file in _lists(place.path):
        below = file.parent.relative_to(place.path)
        rows: Iterable[tuple[int, Mapping[str, str] | str]]
        if file.suffix == ".csv":
            rows = [(line.number, line.cells) for line in lines_of(file, ("file_name",))]
        else:
            rows = _objects(text_of(file))
        for number, cells in rows:
            where = f"{file.name}, line {number}"
            if isinstance(cells, str):
                yield where, cells
                continue
            name = cells.get("file_name", "")
            further = {column: cell for column, cell in cells.items() if column != "file_name"}
            try:
                path = place.guard(str(below / name))
                yield where, utterance(str(below / name), path, {"split": below.name, **further})
            except ValueError as error:
                yield where, str(error)
