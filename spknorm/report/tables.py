"""A table as data, and as text for a terminal, Markdown, LaTeX (booktabs), CSV and HTML.

A room of its own above `audit/`, since everything that prints a table prints it through here. Texts
in a table may come from files: each form escapes them, so that no text can become markup.
"""

import base64
import csv
import functools
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from spknorm.errors import first_of

if TYPE_CHECKING:
    from jinja2 import Environment

NOTHING = "–"  # noqa: RUF001 # an en dash is what a table shows for "no number"

Show = Callable[[float], str]
RowKind = Literal["ours", "paper", "control"]


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One line: `kind` tells ours from the paper's (grey) and from controls (grey)."""

    cells: tuple[str, ...]
    kind: RowKind = "ours"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; its rows have as many cells as there are columns.

    Attributes:
        notes: What the numbers are: metric, averaging, runs, chance.
        num_heads: The first columns that name the row instead of telling numbers.
    """

    name: str
    title: str = ""
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    num_heads: int = 1


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, its anchor (letters and hyphens), and the tables and figures under it."""

    name: str
    title: str
    parts: Sequence[Any]


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in percent, without its sign: 0.742 -> `74.2`; None and NaN -> a dash."""
    return NOTHING if value is None or value != value else f"{100 * value:.{digits}f}"


def with_deviation(mean: float, std: float, n: int, show: Show = percent) -> str:
    """Return `70.1 ± 2.3` in percent, or as `show` says it; a single run has no deviation."""
    return f"{show(mean)} ± {show(std)}" if n > 1 else show(mean)


def span(low: float | None, high: float | None, show: Show = percent) -> str:
    """Return an interval: `68.1 to 72.0`, its ends in percent or as `show` says them."""
    return "no interval" if low is None or high is None else f"{show(low)} to {show(high)}"


def with_span(
    value: float | None, low: float | None, high: float | None, show: Show = percent
) -> str:
    """Return `70.1 (68.1 to 72.0)`, see `span`; without brackets where there is no interval."""
    text = NOTHING if value is None else show(value)
    return text if low is None else f"{text} ({span(low, high, show)})"


def n_of_m(done: int, planned: int) -> str:
    """Return how many runs a row stands on, and how many there will be."""
    return str(done) if done >= planned else f"{done} of {planned}"


def plain(value: float | None) -> str:
    """Return a number that is in percent already."""
    return NOTHING if value is None else f"{value:.1f}"


def signed_points(value: float) -> str:
    """Return a difference of fractions in percentage points: 0.021 -> `+2.1`."""
    text = f"{100 * value:+.1f}"
    return ("0.0" if text in ("+0.0", "-0.0") else text).replace("-", "\N{MINUS SIGN}")


def ccc(value: float) -> str:
    """Return a concordance correlation, with three digits."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def signed_ccc(value: float) -> str:
    """Return a difference of two."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def p_value(value: float | None) -> str:
    """Return a p-value with two significant digits; None and NaN -> a dash."""
    if value is None or value != value:
        return NOTHING
    if value < 0.001 or value >= 0.995:
        return "< .001" if value < 0.001 else "1.0"
    return f"{value:.{2 if value >= 0.095 else 3}f}".lstrip("0")


def to_text(table: Table, *, title: bool = True) -> str:
    """Return a table as aligned columns for a terminal, its notes below."""
    grid = [table.columns, *(row.cells for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    sides = [str.ljust if at < table.num_heads else str.rjust for at in range(len(widths))]
    padded = ([side(cell, width) for side, cell, width in zip(sides, cells, widths, strict=True)]
              for cells in grid)  # fmt: skip
    lines = ["  ".join(cells).rstrip() for cells in padded]
    return "\n".join([*([table.title] if title else []), *lines, *table.notes])


def to_markdown(tables: Iterable[Table], *, title: str, remarks: Sequence[str]) -> str:
    """Return all tables as one Markdown document; rows that are not ours are in italics."""
    return filled("report/table.md.j2", tables=tables, title=title, remarks=remarks)


def to_latex(tables: Iterable[Table], *, title: str) -> str:
    """Return all tables as LaTeX; they need booktabs, xcolor and, for UTF-8, a current engine."""
    return filled("report/table.tex.j2", tables=tables, title=title)


def to_html(
    sections: Iterable[Section], template: str = "report/page.html.j2", **texts: Any
) -> str:
    """Return a page of one file, nothing loaded, no script; a section without parts is left out.

    Every text is escaped by the template's engine; the page's own policy forbids scripts and the
    network besides. It is one of the report's templates, with more text than `page.html.j2`, which
    shows a `title`, a `lead` above the sections and a `footer`.
    """
    shown = [section for section in sections if section.parts]
    return page(template, sections=shown, **texts)


def to_csv(records: Sequence[dict[str, str | int | float | None]]) -> str:
    """Return records as CSV in full precision; texts that a spreadsheet would run are quoted."""
    file = io.StringIO()
    if records:
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        for record in records:
            writer.writerow({key: _csv_cell(value) for key, value in record.items()})
    return file.getvalue()


def escape_markdown(text: str) -> str:
    """Return `text` with nothing in it that Markdown or HTML would act on."""
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|!#~])", r"\\\1", text)


def escape_latex(text: str) -> str:
    """Return `text` with nothing in it that LaTeX would act on."""
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "±": r"$\pm$", "λ": r"$\lambda$", "Δ": r"$\Delta$", "≥": r"$\geq$",
        "×": r"$\times$", "\N{MINUS SIGN}": r"$-$", "<": r"$<$", ">": r"$>$",  # noqa: RUF001
    }  # fmt: skip
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in _one_line(text))


@functools.cache
def engine(*, autoescape: bool) -> "Environment":
    """Return jinja2 with all templates; `autoescape` for pages, filters for the rest."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FunctionLoader(source_of),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
    )
    found.filters |= {"markdown": escape_markdown, "latex": escape_latex, "one_line": _one_line,
                      "anchor": functools.partial(re.sub, r"[^a-z0-9-]", "-"),
                      "b64": lambda png: base64.b64encode(png).decode(),
                      "few": _few, "percent": percent}  # fmt: skip
    forms = (ccc, n_of_m, p_value, percent, plain, signed_points, span, with_deviation, with_span)
    found.globals |= {form.__name__: form for form in forms}
    return found


def source_of(template: str) -> str:
    """Return the text of a template, which is named as room/file."""
    return resources.files("spknorm").joinpath(template).read_text("utf-8")


def filled(template: str, **values: Any) -> str:
    """Return a text of lines, without a line break at its end."""
    forms = engine(autoescape=False).overlay(trim_blocks=True, lstrip_blocks=True)
    return str(forms.get_template(template).render(values))


def page(template: str, **values: Any) -> str:
    """Return a page, in which every value is escaped."""
    return str(engine(autoescape=True).get_template(template).render(values))


def _few(names: Iterable[Any]) -> str:
    """Return the first of some names, each once, and how many more there are."""
    return first_of([*dict.fromkeys(map(str, names))], 3)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _csv_cell(value: str | int | float | None) -> str | int | float | None:
    runs = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if runs else value
