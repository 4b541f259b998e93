"""One HTML file: text, tables and pictures in it, nothing loaded, no script.

After `tables.py` and `canvas.py` in the report. Every text is escaped here, at the one place where
it becomes HTML; the page's own policy forbids scripts and the network besides.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template

from spknorm.report.canvas import Figure
from spknorm.report.tables import Row, Table

_LONG_LABEL = 22


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A paragraph that must not be missed."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Points:
    """Sentences, each with the sentences that belong under it."""

    items: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, kw_only=True)
class Code:
    """Commands, kept as they are; `summary` folds them away under a line of text."""

    text: str
    label: str
    summary: str | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How many of the planned runs are complete."""

    done: int
    planned: int


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Something long that opens on demand."""

    summary: str
    table: Table


Part = Text | Notice | Points | Code | Progress | Folded | Table | Figure


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, its anchor (letters and hyphens), and what stands under it."""

    name: str
    title: str
    parts: Sequence[Part]


def to_html(
    sections: Iterable[Section], *, title: str, lead: Sequence[Part] = (), footer: str = ""
) -> str:
    """Return the whole page."""
    filled = [section for section in sections if section.parts]
    template = resources.files("spknorm.report").joinpath("page.html").read_text(encoding="utf-8")
    links = [f'<li><a href="#{_attribute(s.name)}">{_text(s.title)}</a></li>' for s in filled]
    return Template(template).substitute(
        title=_text(title),
        lead="\n".join(map(_part, lead)),
        contents="\n".join(links),
        sections="\n".join(map(_section, filled)),
        footer=_text(footer),
    )


def _section(section: Section) -> str:
    name = _attribute(section.name)
    body = "\n".join(map(_part, section.parts))
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{_text(section.title)}</h2>\n{body}\n</section>'
    )


def _part(part: Part) -> str:
    if isinstance(part, Text):
        return f'<p class="lead">{_text(part.text)}</p>'
    if isinstance(part, Notice):
        return f'<p class="notice" role="note">{_text(part.text)}</p>'
    if isinstance(part, Points):
        return _list(f"{_text(head)}{_list(map(_text, below))}" for head, below in part.items)
    if isinstance(part, Code):
        code = (
            f'<pre tabindex="0" role="region" aria-label="{_attribute(part.label)}">'
            f"<code>{_text(part.text)}</code></pre>"
        )
        return _details(part.summary, code) if part.summary else code
    if isinstance(part, Progress):
        width = 100 * part.done / max(part.planned, 1)
        return (
            f'<div class="progress" role="img" aria-label="{part.done} of {part.planned} runs '
            f'complete"><span style="width:{width:.1f}%"></span></div>'
        )
    if isinstance(part, Folded):
        return _details(part.summary, _table(part.table))
    if isinstance(part, Table):
        return _table(part)
    return _figure(part)


def _list(items: Iterable[str]) -> str:
    lines = "\n".join(f"<li>{item}</li>" for item in items)
    return f"\n<ul>\n{lines}\n</ul>" if lines else ""


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{_text(summary)}</summary>\n{body}\n</details>"


def _table(table: Table) -> str:
    heads = "".join(
        f'<th scope="col"{_class(number, table)}>{_text(column)}</th>'
        for number, column in enumerate(table.columns)
    )
    rows = "\n".join(_row(row, table) for row in table.rows)
    notes = "\n".join(f'<p class="note">{_text(note)}</p>' for note in table.notes)
    title = _attribute(table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {title}">\n'
        f'<table id="table-{_attribute(table.name)}">\n'
        f"<caption><span>{_text(table.title)}</span></caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n{notes}"
    )


def _row(row: Row, table: Table) -> str:
    cells = []
    for number, cell in enumerate(row.cells):
        if number < table.num_heads:
            long = " long" if len(cell) > _LONG_LABEL else ""
            name = " name" if number == min(1, table.num_heads - 1) else ""
            cells.append(f'<th scope="row" class="head{name}{long}">{_text(cell)}</th>')
        else:
            cells.append(f"<td>{_text(cell)}</td>")
    return f'<tr class="{row.kind}">{"".join(cells)}</tr>'


def _class(number: int, table: Table) -> str:
    if number >= table.num_heads:
        return ""
    return ' class="head name"' if number == min(1, table.num_heads - 1) else ' class="head"'


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.png).decode("ascii")
    width, height = (int.from_bytes(figure.png[at : at + 4], "big") for at in (16, 20))
    name = _attribute(figure.title)
    return (
        f'<figure id="figure-{_attribute(figure.name)}">\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Figure: {name}">'
        f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{_attribute(figure.alt)}"></div>\n'
        f"<figcaption><b>{_text(figure.title)}.</b> {_text(figure.caption)}</figcaption>\n</figure>"
    )


def _text(text: str) -> str:
    return html.escape(text, quote=False)


def _attribute(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=True)
