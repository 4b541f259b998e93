"""audformat's database folder -> utterances: db.yaml and db.<table>.csv (or .parquet).

A filewise table has a column `file`, a segmented one `start` and `end`, too; their columns hold
schemes (emotion, speaker, ...), whose labels may know more (a speaker's gender), and a table may
belong to a split. All tables are put together.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spknorm.corpora.doors.cells import Listed, Rows
from spknorm.corpora.doors.nkululeko import excerpt_name, seconds
from spknorm.corpora.tables import lines_of, text_of
from spknorm.errors import DataError, MissingError

_KINDS = ("filewise", "segmented")


def fits(path: Path) -> bool:
    """Whether this is such a folder."""
    return (path / "db.yaml").is_file()


def rows(folder: Path) -> Rows:
    """Yield the parts of files if there are any with an emotion, else the files.

    Raises:
        DataError: db.yaml or a table cannot be read.
        MissingError: A table is in db.yaml and nowhere else.
    """
    try:
        header = yaml.safe_load(text_of(folder / "db.yaml"))
    except yaml.YAMLError as error:
        raise DataError(f"{folder / 'db.yaml'} cannot be read: {error}.") from error
    if not isinstance(header, Mapping) or not isinstance(header.get("tables"), Mapping):
        raise DataError(f"{folder / 'db.yaml'} is not audformat's: it has no `tables`.")
    schemes = header.get("schemes") or {}
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for name, table in sorted(header["tables"].items()):
        if table.get("type") not in _KINDS:
            continue
        split = table.get("split_id")
        for number, cells in _lines(folder, name):
            try:
                times = [seconds(cells.pop(column, "")) for column in ("start", "end")]
            except ValueError as error:
                yield f"db.{name}, line {number}: {error}"
                continue
            start = "" if times[0] == "0" and not times[1] else times[0]
            row = found.setdefault((cells.pop("file"), start, times[1]), {})
            own = {column: cell for column, cell in cells.items() if cell and column not in row}
            for column, cell in own.items():
                row |= {column: cell, **_more(schemes, table, column, cell)}
            if split and "split" not in row:
                row["split"] = str(split)
    for (file, start, end), row in found.items():  # parts inherit what is known of the whole
        whole = found.get((file, "", "")) if start or end else None
        for column, cell in (whole or {}).items():
            row.setdefault(column, cell)
    labelled = {key: row for key, row in found.items() if "emotion" in row} or found
    for (file, start, end), row in labelled.items():
        cells = {**row, "start": start, "end": end}
        yield Listed(f"`{file}`", excerpt_name(file, cells), file, cells)


def _lines(folder: Path, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    file = folder / f"db.{name}.csv"
    if file.is_file():
        for line in lines_of(file, ("file",), delimiter=","):
            yield line.number, dict(line.cells)
        return
    if not file.with_suffix(".parquet").is_file():
        raise MissingError(f"{folder} has neither db.{name}.csv nor db.{name}.parquet.")
    import pandas as pd

    table = pd.read_parquet(file.with_suffix(".parquet")).reset_index()
    for number, row in enumerate(table.astype(str).to_dict("records"), start=1):
        yield number, {str(column): "" if cell in ("NaT", "None", "nan", "<NA>") else cell
                       for column, cell in row.items()}  # fmt: skip


def _more(
    schemes: Mapping[str, Any], table: Mapping[str, Any], column: str, cell: str
) -> dict[str, str]:
    """Return what a scheme knows of a label, such as the gender of a speaker."""
    scheme = ((table.get("columns") or {}).get(column) or {}).get("scheme_id", column)
    labels = (schemes.get(scheme) or {}).get("labels")
    number = int(cell) if cell.isascii() and cell.isdigit() else cell
    known = labels.get(cell, labels.get(number)) if isinstance(labels, Mapping) else None
    if not isinstance(known, Mapping):
        return {}
    return {str(key): str(value) for key, value in known.items() if value is not None}
