"""Tables, figures and one HTML page, from result files alone, at any time.

    tables        a table as data, and as text, Markdown, LaTeX, CSV and HTML (page.html.j2)
    words         what is said beside numbers (words.j2): titles, headings, notes, captions
    methods       which runs belong together, and their names
    blocks, scores   averages, intervals, tests, of classes and dimensions: runs.frame() by groupby
    score_tables, cross, speakers, leakage, origins   what is in the tables
    doubts        what speaks against them
    paper         the paper's own numbers
    canvas, figures, pictures   what is drawn
    assembly      all of it (report.html.j2)

`build` writes the same bytes for the same result files. No clock, no network, no random state.
"""

from pathlib import Path

from spknorm.files import own_place


def build(folder: Path | str, out: Path | str | None = None) -> list[Path]:
    """Write table.md, table.tex, table.csv, report.html and figures/*.png.

    The folder is of a benchmark or of a single run. Without `out` they go into it, or below
    `result/report` if that cannot be written. Their paths are returned.

    Raises:
        MissingError: No such folder, or no result files in it.
        ConfigError: A result file is malformed; the message names file and key.
    """
    from spknorm.report import assembly  # loads pandas and scipy

    place = own_place(Path(folder), "report") if out is None else Path(out)
    return assembly.build(Path(folder), place)


def text(folder: Path | str) -> str:
    """Return what the runs of a folder scored, and what speaks against it, for a terminal.

    Raises:
        MissingError, ConfigError: As `build`.
    """
    from spknorm.report import assembly

    return assembly.text(folder)
