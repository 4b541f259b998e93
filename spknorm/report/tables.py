"""A table as data, and as Markdown, LaTeX (booktabs) and CSV.

Texts in a table may come from files: each form escapes them, so that no text can become markup.
`page.py` writes the HTML form. What stands in the tables: `scores.py`, `leakage.py`, `origins.py`.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

NOTHING = "–"  # noqa: RUF001 # an en dash is what a table shows for "no number"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: `kind` tells ours from the paper's (grey) and from controls (grey)."""

    cells: tuple[str, ...]
    kind: Literal["ours", "paper", "control"] = "ours"


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
    rows: tuple[Row, ...]
    num_heads: int = 1


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in percent, without its sign: 0.742 -> `74.2`."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}"


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


def to_markdown(tables: Iterable[Table], *, title: str, remarks: Sequence[str]) -> str:
    """Return all tables as one Markdown document; the paper's rows are in italics."""
    parts = [f"# {escape_markdown(title)}", *(escape_markdown(remark) for remark in remarks)]
    for table in tables:
        numbers = len(table.columns) - table.num_heads
        lines = [
            _markdown_row(map(escape_markdown, table.columns)),
            _markdown_row(["---"] * table.num_heads + ["---:"] * numbers),
        ]
        for row in table.rows:
            cells = [escape_markdown(cell) for cell in row.cells]
            if row.kind != "ours":
                cells = [f"*{cell}*" if cell else cell for cell in cells]
            lines.append(_markdown_row(cells))
        parts.append(f"## {escape_markdown(table.title)}")
        parts.append("\n".join(lines))
        parts += [escape_markdown(note) for note in table.notes]
    return "\n\n".join(parts) + "\n"


def to_latex(tables: Iterable[Table], *, title: str) -> str:
    """Return all tables as LaTeX; they need booktabs, xcolor and, for UTF-8, a current engine."""
    parts = [
        f"% {_one_line(title)}\n% \\usepackage{{booktabs}} \\usepackage{{xcolor}}",
    ]
    for table in tables:
        numbers = len(table.columns) - table.num_heads
        lines = [
            r"\begin{table}",
            r"  \centering\small",
            f"  \\caption{{{escape_latex(table.title)}. {escape_latex(' '.join(table.notes))}}}",
            f"  \\label{{tab:{re.sub(r'[^a-z0-9-]', '-', table.name.lower())}}}",
            f"  \\begin{{tabular}}{{{'l' * table.num_heads}{'r' * numbers}}}",
            r"    \toprule",
            "    " + " & ".join(map(escape_latex, table.columns)) + r" \\",
            r"    \midrule",
        ]
        for row in table.rows:
            cells = [escape_latex(cell) for cell in row.cells]
            if row.kind != "ours":
                cells = [f"\\textcolor{{gray}}{{{cell}}}" if cell else cell for cell in cells]
            lines.append("    " + " & ".join(cells) + r" \\")
        lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
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


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _csv_cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    return repr(value)
