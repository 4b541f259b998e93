"""Tables, figures and one HTML page, from result files alone, at any time.

    tables        a table as data, and as text, Markdown, LaTeX, CSV
    methods       which runs belong together, and their names
    scores        averages, intervals, tests: from runs.frame() by groupby
    score_tables, adversary, leakage, selection, origins   what stands in the tables
    paper         the paper's own numbers
    canvas, figures, pictures, pooled           what is drawn
    page          HTML (page.html.j2)
    assembly      all of it

`build` writes the same bytes for the same result files. No clock, no network, no random state.
"""

from pathlib import Path

from spknorm.files import own_place


def build(folder: Path | str, out: Path | str | None = None) -> list[Path]:
    """Write table.md, table.tex, table.csv, report.html and figures/*.png.

    Args:
        folder: A benchmark folder, or the folder of a single run.
        out: Where to; None: into `folder`, or below `result/report` if that cannot be written.

    Returns:
        The files written.

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
        MissingError: As `build`.
        ConfigError: As `build`.
    """
    from spknorm import runs as records
    from spknorm.report import (
        cross,
        dimensions,
        origins,
        score_tables,
        scores,
        splits,
        tables,
    )

    runs = records.read(folder)
    blocks = scores.score_blocks(runs)
    told = (*origins.doubts_of(runs, blocks), *splits.doubts_of(runs))
    doubts = [f"Doubt: {doubt}" for doubt in told]
    found = [tables.to_text(score_tables.short_table(blocks), title=False)] if blocks else []
    more = [*dimensions.dimension_tables(runs), *cross.cross_tables(blocks)]
    return "\n".join([*found, *map(tables.to_text, more), *doubts])
