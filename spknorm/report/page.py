"""One HTML file: text, tables and pictures in it, nothing loaded, no script.

After `tables.py` and `canvas.py` in the report. Every text is escaped by the template's engine; the
page's own policy forbids scripts and the network besides.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spknorm.protocols.leaks import Fold
from spknorm.report.canvas import Figure
from spknorm.report.tables import Table
from spknorm.report.words import engine


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, its anchor (letters and hyphens), and the tables and figures under it."""

    name: str
    title: str
    parts: Sequence[Table | Figure]


def to_html(
    sections: Iterable[Section],
    *,
    title: str,
    lead: str = "",
    footer: str = "",
    template: str = "page.html.j2",
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Return the whole page; a section without parts is left out.

    Args:
        sections: In their order.
        title: Of the page.
        lead: A paragraph above them.
        footer: The last line.
        template: One of the report's, with more text than `page.html.j2`.
        facts: What that one shows.
    """
    pages = engine(autoescape=True)
    pages.filters["b64"] = lambda png: base64.b64encode(png).decode("ascii")
    filled = [section for section in sections if section.parts]
    texts = {"title": title, "lead": lead, "footer": footer}
    page = pages.get_template(template)
    return str(page.render(sections=filled, **texts, **(facts or {})))


def splits_page(found: Mapping[str, Sequence[Fold]], remarks: Mapping[str, str]) -> str:
    """Return the page, splits.html.j2.

    Args:
        found: Folds by the name of their list or corpus.
        remarks: What else there is to say of one.
    """
    known = {name: remarks.get(name, "") for name in found}
    parts = ("train", "dev", "test")
    page = engine(autoescape=True).get_template("splits.html.j2")
    return f"{page.render(found=found, remarks=known, parts=parts, classes_of=_classes)}\n"


def _classes(fold: Fold) -> list[str]:
    return sorted({name for counts in fold.classes.values() for name in counts} - {"None"})
