"""The corpora with coded file names as a table in Markdown, for docs/corpora.md.

`python -m spknorm.corpora.known.markdown docs/corpora.md` writes it between the marks of the page.
"""

import sys
from pathlib import Path

from spknorm.corpora.known.layouts import LAYOUTS
from spknorm.corpora.known.words import EMOTIONS, class_of
from spknorm.files import write_atomic

START, END = "<!-- corpora: written by python -m spknorm.corpora.known.markdown -->", "<!-- end -->"


def table() -> str:
    """Return a row per corpus: its name, counts, speakers, language, licence and example."""
    lines = [
        "| `corpus` | what | utterances | neu / hap / ang / sad | others | speakers | language "
        "| licence | where | a name |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, one in LAYOUTS.items():
        counts: dict[str, int] = {}
        for word, count in one.counts.items():
            counts[class_of(word)] = counts.get(class_of(word), 0) + count
        four = " / ".join(str(counts.get(emotion, 0)) for emotion in EMOTIONS)
        others = ", ".join(f"{word} {n}" for word, n in counts.items() if word not in EMOTIONS)
        cells = (
            f"`{key}`", one.title, sum(counts.values()), four, others, one.num_speakers or "unsure",
            one.language, one.licence, one.source, f"`{one.example}`",
        )  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def written_into(page: str) -> str:
    """Return the page with the table between its marks."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    _file = Path(sys.argv[1])
    write_atomic(_file, written_into(_file.read_text(encoding="utf-8")))
