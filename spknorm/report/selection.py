"""How the bench chose each adversary's lambda: selection.json as a table. In the report."""

from pathlib import Path

from spknorm.report.tables import Table
from spknorm.report.words import table
from spknorm.runs.selection import read_selection


def read_table(folder: Path) -> Table | None:
    """Return all candidates and what was chosen, None where nothing was.

    Raises:
        ConfigError: selection.json is malformed; the message names file and key.
    """
    path = folder / "selection.json"
    if not path.is_file():
        return None
    rows, doubts = [], []
    for choice in read_selection(path).choices:
        if choice.doubt:
            doubts.append(f"{choice.upstream}, {choice.variant}: {choice.doubt}.")
        for one in choice.candidates:
            chosen = one.speaker_lambda == choice.speaker_lambda
            kind = "ours" if chosen else "control"
            rows.append({"choice": choice, "one": one, "chosen": chosen, "kind": kind})
    return table("selection", rows, more=doubts)
