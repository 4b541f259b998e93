"""A table of one's own -> utterances: CSV with a header line, or JSONL with an object per line."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spknorm.audio.excerpt import check_channel
from spknorm.audio.faults import refuse
from spknorm.corpora import tables
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import CLASSES
from spknorm.corpora.paths import PathGuard
from spknorm.corpora.records import Utterance
from spknorm.errors import DataError, MissingError

COLUMNS = ("id", "path", "emotion", "speaker", "session", "turn", "split")
"""The columns of names; `path` is needed."""
_TEXTS = ("original", "sentence", "language", "intensity", "part")
_NUMBERS = ("arousal", "valence", "dominance", "start", "end")
_CHANNEL, _VOTES = "audio_channel", "votes"
"""These have a meaning, too; further ones become labels (`channel` is one that people have)."""
_MEANT = frozenset((*COLUMNS, *_TEXTS, *_NUMBERS, _CHANNEL, _VOTES))

_Row = tuple[int, Mapping[str, str] | str]
"""A line's number and its cells by column, or what is wrong with it."""
_CHOICES = {"turn": ("improvised", "scripted"), "split": ("train", "dev", "test")}


def read(ask: Ask) -> list[Utterance]:
    """Return what the settings ask for, be it a manifest or another tool's list."""
    from spknorm.corpora.doors import read_list  # which is after this file

    section = ask.section
    return read_list(section.manifest, root=section.root, allow_outside=section.allow_outside)


def read_manifest(file: Path, guard: PathGuard, *, by_part: bool) -> list[Utterance]:
    """Return a manifest's utterances in its order, for `read_list`, which says what is `by_part`.

    It is `.csv` (with commas, semicolons, tabs or `|`; pandas' unnamed index column, Excel's line
    `sep=;` and empty columns at the end are passed over), or `.jsonl`, whose `COLUMNS` are text or
    whole numbers; UTF-8, with a byte order mark or not, or UTF-16 with one. An empty cell, null and
    NaN are absent values. Without `id` the path's text is the id.

    Raises:
        MissingError: There is no such file.
        DataError: Its ending is neither, it is not UTF-8, or lines cannot be used: at most 20
            are named, with the count.
    """
    if (rows := _READERS.get(file.suffix.lower())) is None:
        raise DataError(f"The manifest {file} must end in .csv or .jsonl.")
    records: list[Utterance] = []
    problems: list[str] = []
    first_line: dict[tuple[str | None, ...], int] = {}
    for number, cells in rows(_text(file)):
        try:
            if isinstance(cells, str):
                raise ValueError(cells)
            record = _utterance(cells, guard)
            part = (record.label("fold"), record.split) if by_part else ()
            key = (record.id, *part)
            if key in first_line:
                without = "" if "id" in cells else ": two parts of a file need a column `id`"
                raise ValueError(f"the id `{record.id}` is that of line {first_line[key]}{without}")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        first_line[key] = number
        records.append(record)
    refuse(problems, f"lines of {file} cannot be used")
    if not records:
        raise DataError(f"The manifest {file} lists no utterance.")
    return records


def _text(file: Path) -> str:
    try:
        return tables.text_of(file, f"The manifest {file}", strict=True)
    except DataError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise MissingError(f"There is no manifest {file}.") from error
        raise


def _csv_rows(text: str) -> Iterator[_Row]:
    told = re.match(r"\"?sep=([,;\t|])\"?[,;\t|]*\r?\n", text)  # Excel's own line
    text = "\n" + text[told.end() :] if told else text
    delimiter = told[1] if told else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [name.strip() for name in cells]
                while header and not header[-1]:  # spreadsheets write columns without a name
                    header.pop()
                named = header[1:] if header[:1] == [""] else header  # pandas' index has no name
                if "path" not in named or "" in named or len(set(named)) < len(named):
                    wrong = (
                        f"expected a header of different columns with `path`, but found {header}"
                    )
                    yield reader.line_num, wrong[:500]
                    return
            elif len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
                wrong = f"{len(cells)} cells, but the header has {len(header)} columns"
                yield reader.line_num, wrong
            else:
                pairs = zip(header, cells, strict=False)
                yield reader.line_num, {name: cell for name, cell in pairs if name}
    except csv.Error as error:
        yield reader.line_num, f"not CSV ({error})"


def _delimiter(text: str) -> str:
    """Return what separates the header's columns: a comma, unless `path` is found by another."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    for delimiter in ",;\t|":
        if "path" in [name.strip().strip('"').strip() for name in header.split(delimiter)]:
            return delimiter
    return ","


def _jsonl_rows(text: str) -> Iterator[_Row]:
    for place, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield place, _cells(json.loads(line, object_pairs_hook=tables.whole_object))
            except json.JSONDecodeError as error:
                yield place, f"not JSON ({error.msg} at character {error.pos + 1})"
            except (ValueError, RecursionError) as error:
                yield place, str(error)


def _cells(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    cells: dict[str, str] = {}
    for name, cell in value.items():
        if isinstance(cell, str | int) and not isinstance(cell, bool):
            cells[name] = str(cell)
        elif cell is None:
            continue
        elif name == _VOTES and isinstance(cell, dict):
            cells[name] = ";".join(f"{word}={weight}" for word, weight in cell.items())
        elif name in COLUMNS:
            raise ValueError(f"`{name}` must be text or a whole number")
        elif isinstance(cell, bool | float):  # a label, if one that is seldom asked for
            cells[name] = json.dumps(cell)
    return cells


_READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows}


def _utterance(cells: Mapping[str, str], guard: PathGuard) -> Utterance:
    values = {name: cell.strip() for name, cell in cells.items() if not tables.is_absent(cell)}
    if "path" not in values:
        raise ValueError("`path` is missing")
    for name, choices in _CHOICES.items():
        if values.get(name, choices[0]) not in choices:
            raise ValueError(
                f"`{name}` must be one of {', '.join(choices)}, but is `{values[name]}`"
            )
    word = emotion = values.get("emotion")
    if word:  # our class of it, in whatever case both are written; any other word as it is
        small = word.lower()
        emotion = CLASSES.get(small, small if small in CLASSES.values() else word)
    if emotion != word:
        values.setdefault("original", str(word))
    path = cells["path"]  # not stripped: a file name may begin or end with a space
    return Utterance(
        id=values.get("id", path),
        path=guard(path),
        emotion=emotion,
        speaker=values.get("speaker"),
        session=values.get("session"),
        turn=values.get("turn"),
        split=values.get("split"),
        **{name: values[name] for name in _TEXTS if name in values},  # type: ignore[arg-type]
        **{name: tables.number(values[name], f"`{name}`") for name in _NUMBERS if name in values},  # type: ignore[arg-type]
        channel=check_channel(values[_CHANNEL]) if _CHANNEL in values else None,
        votes=_votes(values.get(_VOTES, "")),
        labels={name: value for name, value in values.items() if name not in _MEANT},
    )


def _votes(text: str) -> tuple[tuple[str, float], ...]:
    """Read `happy=2;neutral=1`, or the JSON object of the same."""
    votes: dict[str, float] = {}
    for pair in filter(None, (one.strip() for one in text.split(";"))):
        word, equals, weight = pair.rpartition("=")
        value = tables.number(weight, "`votes`") if equals and word.strip() else -1.0
        if value < 0:
            raise ValueError(f"`votes` must read word=number;word=number, but is `{text}`")
        votes[word.strip()] = value
    return tables.ranked(votes)
