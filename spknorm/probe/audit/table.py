"""An audit as text: a line per probe and control, a column per variant, in per cent."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from spknorm.probe.audit.probing import KINDS
from spknorm.report.tables import Table, TableRow, percent, span, to_text
from spknorm.runs.probes import HEADS, ProbeRow, lines_of, rank_of

_CONTROLS = (None, "shuffled", "chance")
_LEGEND = """\
raw: the upstream as it came; none: fine-tuned, adversary off; frozen: it kept its weights.
head: what the emotion head sees. Per cent of n held-out utterances classified correctly, in
brackets the 95 % interval over speakers; eer: equal error rate of verification over n trials,
where less is more leakage.
What normalisation removed is the difference to none; label emotion shows what was kept."""


def table(rows: Iterable[ProbeRow]) -> str:
    """Return the audit as text; several runs of one variant are averaged."""
    by_upstream: dict[str, list[ProbeRow]] = {}
    for row in sorted(rows, key=_rank):
        by_upstream.setdefault(row.upstream, []).append(row)
    blocks = [f"{name}\n{_block(found)}" for name, found in by_upstream.items()]
    every = [row for found in by_upstream.values() for row in found]
    return "\n\n".join([*blocks, _LEGEND + _extrapolations(every)])


def _extrapolations(rows: Iterable[ProbeRow]) -> str:
    """Return the note on scores that are extrapolated from a sample; nothing without any."""
    found = sorted({(one.learnt_on, one.learnt_of) for one in rows if one.learnt_of is not None})
    if not found:
        return ""
    sizes = ", ".join(f"from {few} utterances to {many}" for few, many in found)
    return (
        f"\nOf a sample (n of m) accuracies are extrapolated {sizes} learnt on, by learning "
        "curves\n"
        "at a quarter, a half and all of the sample, whose uncertainty the intervals have; not eer "
        "and controls."
    )


def _block(rows: Sequence[ProbeRow]) -> str:
    names = [name for _, name in sorted({(rank_of(row.stage), _name(row)) for row in rows})]
    lines = []
    for line in lines_of((_name(row), row) for row in rows):
        first = next(iter(line.cells.values()))[0]
        size = str(first.n) if first.drawn_from is None else f"{first.n} of {first.drawn_from}"
        shown = (_cell(line.cells.get(name, [])) for name in names)
        lines.append(TableRow(cells=(*line.heads, *shown, line.chance, size)))
    columns = (*HEADS, *names, "chance", "n")
    return to_text(Table(name="audit", columns=columns, rows=(*lines,), num_heads=5), title=False)


def _name(row: ProbeRow) -> str:
    return row.variant or row.stage


def _cell(rows: Sequence[ProbeRow]) -> str:
    if not rows:
        return "-"
    mean, low = percent(float(np.mean([row.accuracy for row in rows]))), rows[0].low
    if len(rows) > 1:
        return f"{mean} ({len(rows)} runs)"
    return mean if low is None else f"{mean} [{span(low, rows[0].high)}]"


def _rank(row: ProbeRow) -> tuple[Any, ...]:
    return (
        row.upstream,
        row.corpus != "speaker",
        row.label != "speaker",
        row.label,
        KINDS.index(row.probe) if row.probe in KINDS else len(KINDS),
        row.layer.isdigit(),
        row.layer.rjust(8),
        _CONTROLS.index(row.control),
        rank_of(row.stage),
        _name(row),
    )
