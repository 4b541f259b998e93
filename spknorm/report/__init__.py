"""Tables, figures and one HTML page, from result files alone, at any time.

    fields     checked access to JSON          results    the files of a folder
    paper      the paper's own numbers         methods    which runs belong together
    estimates  averages, intervals, tests      tables     Markdown, LaTeX, CSV
    scores, leakage, origins                   what stands in the tables
    canvas, figures, pictures                  what is drawn
    page       HTML                            assembly   all of it

`build` writes the same bytes for the same result files. No clock, no network, no random state.
"""

from pathlib import Path


def build(folder: Path | str) -> list[Path]:
    """Write table.md, table.tex, table.csv, report.html and figures/*.png into `folder`.

    Args:
        folder: A benchmark folder, or the folder of a single run.

    Returns:
        The files written.

    Raises:
        MissingError: No such folder, or no result files in it.
        ConfigError: A result file is malformed; the message names file and key.
    """
    from spknorm.report import assembly  # loads scipy; matplotlib only to draw

    return assembly.build(Path(folder))
