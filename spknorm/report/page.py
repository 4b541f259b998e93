"""One HTML file: text, tables and pictures in it, nothing loaded, no script.

After `tables.py` and `canvas.py` in the report. Every text is escaped by the template's engine; the
page's own policy forbids scripts and the network besides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spknorm.protocols.leaks import Fold
from spknorm.report.canvas import Figure
from spknorm.report.tables import Table, engine


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, its anchor (letters and hyphens), and the tables and figures under it."""

    name: str
    title: str
    parts: Sequence[Table | Figure]


def to_html(sections: Iterable[Section], template: str = "page.html.j2", **texts: Any) -> str:
    """Return the whole page; a section without parts is left out.

    Args:
        sections: In their order.
        template: One of the report's, with more text than `page.html.j2`.
        texts: What it shows: a `title`, a `lead` above the sections, a `footer`.
    """
    filled = [section for section in sections if section.parts]
    page = engine(autoescape=True).get_template(template)
    return str(page.render(sections=filled, **texts))


def splits_page(found: Mapping[str, Sequence[Fold]], remarks: Mapping[str, str]) -> str:
    """Return the page of folds, by the name of their list or corpus, with remarks on some."""
    page = engine(autoescape=True).get_template("splits.html.j2")
    return f"{page.render(found=found, remarks=remarks)}\n"
