"""nkululeko's csv -> utterances: `file`, `speaker`, `gender`, `emotion`, with `start` and `end`."""

from pathlib import Path

from spknorm.audio.faults import refuse
from spknorm.corpora.doors.cells import Place, utterance
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import lines_of, text_of
from spknorm.errors import DataError


def fits(path: Path) -> bool:
    """Whether this is a csv file with a column `file` and none that is called `path`."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    header = text_of(path).partition("\n")[0]
    names = [one.strip().strip('"') for one in header.replace(";", ",").split(",")]
    return "file" in names and "path" not in names


def read(place: Place) -> list[Utterance]:
    """Return the utterances in the file's order; start and end may be seconds or `0 days 00:00:01`.

    Raises:
        DataError: A line cannot be used; at most 20 are named.
    """
    records: list[Utterance] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for line in lines_of(place.path, ("file",)):
        try:
            cells = {column: cell for column, cell in line.cells.items() if column != "file"}
            for column in ("start", "end"):
                if cells.get(column):
                    cells[column] = seconds(cells[column])
            name = excerpt_name(line.cells["file"], cells)
            if name in seen:
                raise ValueError(f"`{name}` is that of line {seen[name]}")
            seen[name] = line.number
            cells.pop("", None)
            records.append(utterance(name, place.guard(line.cells["file"]), cells))
        except ValueError as error:
            problems.append(f"line {line.number}: {error}")
    refuse(problems, f"lines of {place.path} cannot be used")
    if not records:
        raise DataError(f"{place.path} lists no utterance.")
    return records


def excerpt_name(file: str, cells: dict[str, str]) -> str:
    """Return an id: the file as it is written, and of a part of it where it begins and ends."""
    start, end = cells.get("start", ""), cells.get("end", "")
    return file if not start and not end else f"{file}[{start},{end}]"


def seconds(text: str) -> str:
    """Return a time in seconds as text; empty if it is none (`NaT`).

    Raises:
        ValueError: It is no time.
    """
    import pandas as pd

    if text.lower() in ("nat", "nan", ""):
        return ""
    try:
        return f"{float(text):.9g}"
    except ValueError:
        return f"{pd.to_timedelta(text).total_seconds():.9g}"
