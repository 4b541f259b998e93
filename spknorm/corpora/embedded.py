"""Hugging Face `datasets` on disk -> rows: Arrow or Parquet files, with the sound inside or beside.

`save_to_disk` writes data-*.arrow and dataset_info.json, one folder per split; the hub holds
data/<split>-00000-of-00001.parquet. cameo.py and doors/ make utterances of the rows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.audio.faults import printable
from spknorm.errors import DataError, MissingError
from spknorm.files import cache_root, sha256_of, write_atomic

_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?")
_SUFFIXES = {b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3"}
_BATCH = 64


class Row(NamedTuple):
    """A row: the part of the data set that it is in, its place there, and its cells by column."""

    part: str
    place: int
    cells: Mapping[str, Any]


def files_of(folder: Path) -> list[Path]:
    """Return the Arrow and Parquet files of a data set on disk, by name."""
    found = [*folder.rglob("*.parquet"), *folder.rglob("*.arrow")]
    return sorted(
        file
        for file in found
        if not file.name.startswith("cache-")
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def rows_of(folder: Path) -> Iterator[Row]:
    """Yield the rows of a data set, file by file; class labels as their names.

    Raises:
        MissingError: pyarrow is not installed, or there is no such file.
        DataError: A file cannot be read.
    """
    if not (files := files_of(folder)):
        raise MissingError(f"{folder} has no .parquet and no .arrow file.")
    places: dict[str, int] = {}
    for file in files:
        part = _part(file, folder)
        for batch, names in _batches(file):
            for cells in batch.to_pylist():
                for column, words in names.items():
                    code = cells.get(column)
                    if isinstance(code, int) and 0 <= code < len(words):
                        cells[column] = words[code]
                places[part] = places.get(part, 0) + 1
                yield Row(part, places[part], cells)


def sound_of(row: Row, column: str, folder: Path) -> Path:
    """Return the file of a row's sound.

    Sound that lies inside of a table is written once, byte for byte, to $SPKNORM_CACHE: nothing can
    decode a part of it where it is.

    Raises:
        DataError: The row has none.
    """
    value = row.cells.get(column)
    cells = value if isinstance(value, Mapping) else {"path": value}
    content, path = cells.get("bytes"), cells.get("path")
    if content:
        key = sha256_of(content)
        suffix = next((end for mark, end in _SUFFIXES.items() if content.startswith(mark)), ".wav")
        file = cache_root().absolute() / "embedded" / key[:2] / f"{key[:32]}{suffix}"
        if not file.is_file() or file.stat().st_size != len(content):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, content)
        return file
    if not isinstance(path, str) or not path:
        raise DataError(f"Row {row.place} of `{row.part}` in {folder} has no sound in `{column}`.")
    return folder / path


def _part(file: Path, folder: Path) -> str:
    """Return the split: of save_to_disk the folder's name, of the hub that of the file."""
    match = _SHARD.fullmatch(file.stem)
    name = match[1] if match else file.stem
    if name in ("data", "dataset"):
        return file.parent.name if file.parent != folder else "train"
    return name


def _batches(file: Path) -> Iterator[tuple[Any, Mapping[str, list[str]]]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingError(
            f"{printable(file)} is read where pyarrow is installed: `pip install "
            "'spknorm[datasets]'` (or `pip install pyarrow`)."
        ) from error
    try:
        if file.suffix == ".parquet":
            table = pq.ParquetFile(file)
            names = _class_names(table.schema_arrow.metadata, file)
            for batch in table.iter_batches(batch_size=_BATCH):
                yield batch, names
            return
        with pa.memory_map(str(file)) as source:
            try:
                reader = pa.ipc.open_stream(source)
                batches = iter(reader)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(place) for place in range(reader.num_record_batches))
            names = _class_names(reader.schema.metadata, file)
            for batch in batches:
                yield batch, names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{printable(file)} cannot be read: {error}.") from error


def _class_names(metadata: Mapping[bytes, bytes] | None, file: Path) -> dict[str, list[str]]:
    """Return the names of class labels by column, from the schema or dataset_info.json beside."""
    info: Any = {}
    if metadata and b"huggingface" in metadata:
        info = json.loads(metadata[b"huggingface"]).get("info", {})
    elif (beside := file.parent / "dataset_info.json").is_file():
        info = json.loads(beside.read_text(encoding="utf-8"))
    return {
        column: [str(name) for name in feature["names"]]
        for column, feature in (info.get("features") or {}).items()
        if isinstance(feature, Mapping) and isinstance(feature.get("names"), list)
    }
