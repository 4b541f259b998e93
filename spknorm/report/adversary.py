"""What the adversary did, beside what came of it: one row per method that had one.

After `scores.py` in the report; the numbers are `adversary` in result.json, means over runs.
"""

from spknorm.report.scores import Block, Estimate
from spknorm.report.tables import NOTHING, Table, TableRow, make_table, percent

_COLUMNS = (
    ("Ascent / descent", "ascent_share"),
    ("Head's gain", "speaker_gain"),
    ("Head's accuracy", "speaker_accuracy"),
    ("Chance", "chance"),
    ("Drift", "drift"),
    ("Clipped", "ascents_clipped"),
    ("Paused", "ascents_paused"),
    ("Skipped", "ascents_skipped"),
)


def adversary_table(block: Block) -> Table | None:
    """Return the table of one protocol, None where no run measured its adversary."""
    if "adversary.without_effect" not in block.rows:
        return None
    rows = []
    for one in block.estimates:
        if one.rows["adversary.without_effect"].notna().any():
            degrees = _mean(one, "ascent_angle")
            angle = NOTHING if degrees is None else f"{degrees:.0f}"
            numbers = (percent(_mean(one, key)) for _, key in _COLUMNS)
            cells = (one.method.upstream, one.method.label, angle, *numbers)
            rows.append(TableRow(cells=cells, kind=one.method.row_kind))
    if not rows:
        return None
    note = (
        "In percent, means over runs. Angle: degrees between the ascent and the step of the "
        "emotion loss; ascent / descent: their lengths. Head's gain: how far the speaker head's "
        "loss came from log K (0, it knows nothing) to 0 (100, it knows every speaker); its "
        "accuracy beside chance. Drift: how far the shared part moved from where it began, "
        "relative to its norm. Clipped, paused, skipped: shares of the ascents. A method under "
        "1 % of ascent / descent, or under 10 % of gain, had no effect and is marked."
    )
    columns = ("Upstream", "Method", "Angle", *(name for name, _ in _COLUMNS))
    title = f"What the adversary did, protocol {block.protocol}"
    return make_table(f"adversary-{block.protocol}", title, columns, rows, [note])


def _mean(one: Estimate, key: str) -> float | None:
    values = [value for value in one.rows.get(f"adversary.{key}", []) if value is not None]
    known = [float(value) for value in values if value == value]
    return sum(known) / len(known) if known else None
