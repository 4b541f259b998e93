"""What is said beside numbers: titles, notes, captions and sentences, all of them in words.j2.

First in the report. A text has a name and paragraphs there, which jinja2 fills; what is filled in
may come from files, so that the forms of a table and the page escape it afterwards.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from spknorm.report.tables import NOTHING, Table, TableRow, engine, source_of

if TYPE_CHECKING:
    from jinja2 import Template

Line = TableRow | Mapping[str, Any]
"""A row of a table: done, or what its text makes the cells of; `kind` is the row's."""


def say(name: str, /, **values: Any) -> list[str]:
    """Return the paragraphs of a text, filled in; one that has nothing to say is empty."""
    return [paragraph.render(values) for paragraph in _text(name).paragraphs]


def sentence(name: str, /, **values: Any) -> str:
    """Return a text of one paragraph."""
    [found] = say(name, **values)
    return found


def table(
    text: str,
    rows: Iterable[Line],
    *names: str,
    columns: Iterable[str] = (),
    more: Iterable[str] = (),
    **values: Any,
) -> Table:
    """Return a table whose title, headings, cells and notes are a text, filled in.

    Its second paragraph holds the headings between bars; a double one ends those that name a row.
    The third, where it is in square brackets, is the list of a row's cells, in jinja2's terms.

    The table is called as the text, with `names` such as a protocol behind it. `columns` are the
    headings that a text calls `*`, `more` further notes, `values` what it is filled with, beside
    `num_rows`.
    """
    lines = [row if isinstance(row, TableRow) else _filled(text, row) for row in rows]
    title, headings, *notes = say(text, num_rows=len(lines), **values)
    sides = [
        [name for one in side.split("|") for name in ([one.strip()] if "*" not in one else columns)]
        for side in headings.split("||")
    ]
    return Table(
        name="-".join([text, *names]),
        title=title,
        notes=tuple(note for note in (*notes, *more) if note),
        columns=(*sides[0], *sides[1]),
        rows=(*lines,),
        num_heads=len(sides[0]),
    )


def _filled(text: str, values: Mapping[str, Any]) -> TableRow:
    """Return a row whose cells the text lists; None shows as no number."""
    [listed] = _text(text).cells
    cells = ((NOTHING if cell is None else str(cell)) for cell in listed(values))
    return TableRow(cells=(*cells,), kind=values.get("kind", "ours"))


class _Text(NamedTuple):
    paragraphs: "list[Template]"
    cells: list[Callable[[Mapping[str, Any]], Sequence[Any]]]  # of a table's row


@functools.cache
def _text(name: str) -> _Text:
    _, *parts = re.split(r"^== (\S+)$", source_of("report/words.j2"), flags=re.MULTILINE)
    texts = re.split(r"\n{2,}", parts[parts.index(name) + 1].strip("\n"))
    pages: Any = engine(autoescape=False)
    found = _Text([], [])
    for text in texts:
        if text.startswith("["):
            found.cells.append(pages.compile_expression(text, undefined_to_none=False))
        else:
            found.paragraphs.append(pages.from_string(" ".join(text.splitlines())))
    return found
