"""nkululeko's csv -> utterances: `file`, `speaker`, `gender`, `emotion`, with `start` and `end`."""

from pathlib import Path

from spknorm.corpora.doors.cells import Listed, Rows
from spknorm.corpora.tables import lines_of, text_of


def fits(path: Path) -> bool:
    """Whether this is a csv file with a column `file` and none that is called `path`."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    header = text_of(path).partition("\n")[0]
    names = [one.strip().strip('"') for one in header.replace(";", ",").split(",")]
    return "file" in names and "path" not in names


def rows(file: Path) -> Rows:
    """Yield the rows in their order; start and end may be seconds or `0 days 00:00:01`."""
    seen: dict[str, int] = {}
    for number, own in lines_of(file, ("file",)):
        cells = {column: cell for column, cell in own.items() if column not in ("file", "")}
        try:
            for column in ("start", "end"):
                if cells.get(column):
                    cells[column] = seconds(cells[column])
        except ValueError as error:
            yield f"line {number}: {error}"
            continue
        name = excerpt_name(own["file"], cells)
        if name in seen:
            yield f"line {number}: `{name}` is that of line {seen[name]}"
            continue
        seen[name] = number
        yield Listed(f"line {number}", name, own["file"], cells)


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
