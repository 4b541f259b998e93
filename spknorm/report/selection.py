"""How the bench chose each adversary's lambda: selection.json as a table. In the report."""

from pathlib import Path

from spknorm.report.tables import Table, TableRow, with_deviation
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
            verdict = "chosen" if chosen else "" if one.kept else "loses too much"
            cells = (
                choice.upstream,
                choice.variant,
                f"{one.speaker_lambda:g}",
                with_deviation(one.dev_wa, one.dev_wa_std, one.num_runs),
                with_deviation(one.leakage, one.leakage_std, one.num_runs),
                str(one.num_runs),
                verdict if one.speaker_lambda else "control",
            )
            rows.append(TableRow(cells=cells, kind="ours" if chosen else "control"))
    return table("selection", rows, more=doubts)
