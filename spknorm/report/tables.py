"""A table as data, and as text for a terminal, Markdown, LaTeX (booktabs) and CSV.

A room of its own above `audit/`, since everything that prints a table prints it through here. Texts
in a table may come from files: each form escapes them, so that no text can become markup.
`page.html.j2` is the HTML form.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

NOTHING = "–"  # noqa: RUF001 # an en dash is what a table shows for "no number"

RowKind = Literal["ours", "paper", "control"]


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One line: `kind` tells ours from the paper's (grey) and from controls (grey)."""

    cells: tuple[str, ...]
    kind: RowKind = "ours"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        name: Short and fixed; the anchor in the page.
        title: One line.
        notes: What the numbers are: metric, averaging, runs, chance.
        columns: Their headings.
        rows: As many cells each as there are columns.
        num_heads: The first columns that name the row instead of telling numbers.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    num_heads: int = 1
    kind: Literal["table"] = "table"


def make_table(
    name: str,
    title: str,
    columns: Iterable[str],
    rows: Iterable[TableRow],
    notes: Iterable[str] = (),
    *,
    num_heads: int = 2,
) -> Table:
    """Return a table of what was collected; notes that have nothing to say are left out."""
    return Table(
        name=name,
        title=title,
        notes=tuple(note for note in notes if note),
        columns=tuple(columns),
        rows=tuple(rows),
        num_heads=num_heads,
    )


def with_deviation(mean: float, std: float, n: int) -> str:
    """Return `70.1 ± 2.3` in percent; a single run has no deviation."""
    return f"{percent(mean)} ± {percent(std)}" if n > 1 else percent(mean)


def span(low: float, high: float, show: Callable[[float], str] | None = None) -> str:
    """Return an interval: `68.1 to 72.0`, its ends in percent or as `show` says them."""
    show = show or percent
    return f"{show(low)} to {show(high)}"


def n_of_m(done: int, planned: int) -> str:
    """Return how many runs a row stands on, and how many there will be."""
    return str(done) if done >= planned else f"{done} of {planned}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in percent, without its sign: 0.742 -> `74.2`; None and NaN -> a dash."""
    return NOTHING if value is None or value != value else f"{100 * value:.{digits}f}"


def signed_points(value: float) -> str:
    """Return a difference of fractions in percentage points: 0.021 -> `+2.1`."""
    text = f"{100 * value:+.1f}"
    return ("0.0" if text in ("+0.0", "-0.0") else text).replace("-", "\N{MINUS SIGN}")


def p_value(value: float | None) -> str:
    """Return a p-value with two significant digits."""
    if value is None:
        return NOTHING
    if value < 0.001:
        return "< .001"
    return f"{value:.2f}".lstrip("0") if 0.095 <= value < 0.995 else _small_p(value)


def to_text(table: Table, *, title: bool = True) -> str:
    """Return a table as aligned columns for a terminal, its notes below."""
    grid = [table.columns, *(row.cells for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number < table.num_heads else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in grid
    ]
    return "\n".join([*([table.title] if title else []), *lines, *table.notes])


def to_markdown(tables: Iterable[Table], *, title: str, remarks: Sequence[str]) -> str:
    """Return all tables as one Markdown document; rows that are not ours are in italics."""
    parts = [f"# {escape_markdown(title)}", *(escape_markdown(remark) for remark in remarks)]
    for table in tables:
        numbers = len(table.columns) - table.num_heads
        lines = [[*map(escape_markdown, table.columns)], ["---"] * table.num_heads]
        lines[1] += ["---:"] * numbers
        for row in table.rows:
            sign = "" if row.kind == "ours" else "*"
            cells = map(escape_markdown, row.cells)
            lines.append([f"{sign}{cell}{sign}" if cell else cell for cell in cells])
        parts.append(f"## {escape_markdown(table.title)}")
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
        parts += [escape_markdown(note) for note in table.notes]
    return "\n\n".join(parts) + "\n"


def to_latex(tables: Iterable[Table], *, title: str) -> str:
    """Return all tables as LaTeX; they need booktabs, xcolor and, for UTF-8, a current engine."""
    parts = [f"% {_one_line(title)}\n% \\usepackage{{booktabs}} \\usepackage{{xcolor}}"]
    for table in tables:
        numbers = len(table.columns) - table.num_heads
        rows = []
        for row in table.rows:
            cells = [escape_latex(cell) for cell in row.cells]
            if row.kind != "ours":
                cells = [f"\\textcolor{{gray}}{{{cell}}}" if cell else cell for cell in cells]
            rows.append("    " + " & ".join(cells) + r" \\")
        lines = [
            r"\begin{table}",
            r"  \centering\small",
            f"  \\caption{{{escape_latex(table.title)}. {escape_latex(' '.join(table.notes))}}}",
            f"  \\label{{tab:{re.sub(r'[^a-z0-9-]', '-', table.name.lower())}}}",
            f"  \\begin{{tabular}}{{{'l' * table.num_heads}{'r' * numbers}}}",
            r"    \toprule",
            "    " + " & ".join(map(escape_latex, table.columns)) + r" \\",
            r"    \midrule",
            *rows,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


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
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "λ": r"$\lambda$",
        "Δ": r"$\Delta$",
        "≥": r"$\geq$",
        "×": r"$\times$",  # noqa: RUF001 # the sign itself
        "\N{MINUS SIGN}": r"$-$",
        "<": r"$<$",
        ">": r"$>$",
    }
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in _one_line(text))


def _small_p(value: float) -> str:
    if value >= 0.995:
        return "1.0"
    return f"{value:.3f}".lstrip("0")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _csv_cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    return repr(value)
