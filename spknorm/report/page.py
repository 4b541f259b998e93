"""One HTML file: text, tables and pictures in it, nothing loaded, no script.

After `tables.py` and `canvas.py` in the report. Every text is escaped by the template's engine; the
page's own policy forbids scripts and the network besides.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from spknorm.report.canvas import Figure
from spknorm.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph; a notice must not be missed."""

    text: str
    kind: Literal["text", "notice"] = "text"


@dataclass(frozen=True, kw_only=True)
class Notices:
    """Sentences that must not be missed, under a line that says what they are."""

    text: str
    items: Sequence[str]
    kind: Literal["notices"] = "notices"


@dataclass(frozen=True, kw_only=True)
class Points:
    """Sentences, each with the sentences that belong under it."""

    items: Sequence[tuple[str, Sequence[str]]]
    kind: Literal["points"] = "points"


@dataclass(frozen=True, kw_only=True)
class Code:
    """Commands, kept as they are."""

    text: str
    label: str
    kind: Literal["code"] = "code"


@dataclass(frozen=True, kw_only=True)
class RunsDone:
    """How many of the planned runs are complete."""

    done: int
    planned: int
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Something long that opens on demand."""

    summary: str
    inside: Table | Code
    kind: Literal["folded"] = "folded"


Part = Text | Notices | Points | Code | RunsDone | Folded | Table | Figure


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, its anchor (letters and hyphens), and what stands under it."""

    name: str
    title: str
    parts: Sequence[Part]


def to_html(
    sections: Iterable[Section], *, title: str, lead: Sequence[Part] = (), footer: str = ""
) -> str:
    """Return the whole page; a section without parts is left out."""
    import jinja2

    engine = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    engine.filters["b64"] = lambda png: base64.b64encode(png).decode("ascii")
    engine.globals["name_column"] = lambda table: min(1, table.num_heads - 1)
    template = resources.files("spknorm.report").joinpath("page.html.j2").read_text("utf-8")
    filled = [section for section in sections if section.parts]
    page = engine.from_string(template)
    return str(page.render(sections=filled, title=title, lead=lead, footer=footer))
