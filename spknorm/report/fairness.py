"""How unequally a method serves speakers, and whether it helps the worst served.

Beside `score_tables.py`; the statistics are `spknorm.statistics.fairness`.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from spknorm.errors import DataError
from spknorm.report.methods import Method
from spknorm.report.scores import Block, Estimate, by_place, record_of
from spknorm.report.tables import (
    Table,
    TableRow,
    make_table,
    p_value,
    percent,
    signed_points,
    span,
)
from spknorm.statistics import Interval, MeanStd, holm, pool_speakers
from spknorm.statistics.fairness import (
    MEASURES,
    WORST,
    Difference,
    compare,
    intervals,
    measure,
    num_few,
)

_HEADINGS = ("Worst speaker, UA", "Worst quarter, UA", "Gini", "Spread")


class Help(NamedTuple):
    """What a method does for the worst served, against strategy none on the runs both have.

    Attributes:
        difference: Of the worst speaker's UA, or of the worst quarter's.
        p_holm: Its p, corrected over both differences of all methods of the block.
        num_pairs: Pairs of runs.
    """

    difference: Difference
    p_holm: float
    num_pairs: int


@dataclass(frozen=True)
class Fairness:
    """One block's methods: what their speakers get, and the tests of the worst."""

    block: Block
    levels: Mapping[Method, Mapping[str, Interval | float]]
    helps: Mapping[Method, Mapping[str, Help]]

    def rows(self) -> list[tuple[Estimate, Mapping[str, Interval | float]]]:
        """Return the methods whose speakers are known, in the order of tables."""
        known = [one for one in self.block.estimates if one.method in self.levels]
        return [(one, self.levels[one.method]) for one in known]


def fairness_of(block: Block) -> Fairness:
    """Return the numbers of one block."""
    levels = {one.method: _of(one) for one in block.estimates if one.spread is not None}
    return Fairness(block, levels, _helps(block))


def fairness_tables(found: Fairness) -> list[Table]:
    """Return what speakers get, and the paired tests of the worst; none without speakers."""
    return [table for table in (_levels(found), _tests(found)) if table is not None]


def fairness_records(found: Fairness) -> list[dict[str, str | int | float | None]]:
    """Return every number of these tables in full precision, as rows of table.csv."""
    rows = []
    for one, levels in found.rows():
        for name, value in levels.items():
            around = value if isinstance(value, Interval) else None
            plain = value.value if isinstance(value, Interval) else value
            test = found.helps.get(one.method, {}).get(name)
            row = record_of(
                one.method,
                found.block.protocol,
                f"ua_{name}",
                mean=MeanStd(0.0, 0.0, len(one.rows)),
                pooled=around,
                tested=None,
                p_holm=None,
                p_wilcoxon_holm=None,
                planned=one.num_planned,
                chance=None,
            )
            row |= {"mean": None, "std": None, "pooled": plain}
            if test is not None:
                row |= {
                    "difference": test.difference.value,
                    "difference_low": test.difference.low,
                    "difference_high": test.difference.high,
                    "p_speakers_holm": test.p_holm,
                    "pairs": test.num_pairs,
                }
            rows.append(row)
    return rows


def _helps(block: Block) -> dict[Method, dict[str, Help]]:
    """Return the paired tests of each method that has a strategy none beside it."""
    known = {one.method: one for one in block.estimates}
    found: dict[Method, tuple[dict[str, Difference], int]] = {}
    for one in block.estimates:
        reference = known.get(one.method.reference())
        if reference is None or one.method.is_reference:
            continue
        ours, theirs = by_place(one.rows), by_place(reference.rows)
        shared = sorted(key for key in ours.keys() & theirs.keys() if ours[key] and theirs[key])
        new, old = (pool_speakers(side[key] for key in shared) for side in (ours, theirs))
        with contextlib.suppress(DataError):  # too few speakers, or not the same ones
            found[one.method] = compare(new, old), len(shared)
    corrected = iter(holm([test.p for tests, _ in found.values() for test in tests.values()]))
    return {
        method: {name: Help(test, next(corrected), pairs) for name, test in tests.items()}
        for method, (tests, pairs) in found.items()
    }


def _of(one: Estimate) -> Mapping[str, Interval | float]:
    pooled = pool_speakers(one.rows["by_speaker"])
    try:
        return intervals(pooled)
    except DataError:
        return measure(pooled)


def _levels(fairness: Fairness) -> Table | None:
    rows = []
    for one, found in fairness.rows():
        assert one.spread is not None  # its speakers are known
        texts = [_with_span(found[name]) for name in MEASURES]
        count = len(one.spread.ua)
        texts[0] = f"{one.spread.worst} {texts[0]}"
        texts[1] += f", {num_few(count)} of {count}"
        cells = (one.method.upstream, one.method.label, *texts)
        rows.append(TableRow(cells=cells, kind=one.method.row_kind))
    if not rows:
        return None
    block = fairness.block
    notes = [
        "Of UA per speaker, all runs of a method pooled"
        + (", of all sizes" if block.is_low_resource else "")
        + ", in percent. Worst quarter: the mean of so many lowest. Gini: 0 where all speakers are "
        "served alike. Spread: from the worst to the best. In brackets 95 % intervals, by "
        "bootstrap over speakers and then over the utterances of each; they are of the worst of "
        "so many speakers, not of the one who is named.",
    ]
    columns = ("Upstream", "Method", *_HEADINGS)
    title = f"Among speakers, protocol {block.protocol}"
    return make_table(f"fairness-{block.protocol}", title, columns, rows, notes)


def _tests(fairness: Fairness) -> Table | None:
    rows, block = [], fairness.block
    for one in block.estimates:
        if (tests := fairness.helps.get(one.method)) is not None:
            first = tests[WORST]
            counts = (str(first.difference.num_speakers), str(first.num_pairs))
            texts = [text for test in tests.values() for text in _test(test)]
            cells = (one.method.upstream, one.method.label, *texts, *counts)
            rows.append(TableRow(cells=cells, kind=one.method.row_kind))
    if not rows:
        return None
    note = (
        "Against strategy none on identical folds, seeds and draws, in percentage points of UA: "
        "the worst speaker of either side, and the worst quarter, with 95 % intervals by the "
        "bootstrap of the table above, the same speakers drawn for both. p: two-sided, corrected "
        f"after Holm over the {2 * len(rows)} tests of this table. No effect is 0."
    )
    heads = ("Δ worst", "Interval", "p", "Δ worst quarter", "Interval", "p")
    title = f"Does it help the worst speaker? Protocol {block.protocol}"
    columns = ("Upstream", "Method", *heads, "Speakers", "Paired runs")
    return make_table(f"worst-speaker-{block.protocol}", title, columns, rows, [note])


def _test(test: Help) -> tuple[str, str, str]:
    found = test.difference
    around = span(found.low, found.high, signed_points)
    return signed_points(found.value), around, p_value(test.p_holm)


def _with_span(value: Interval | float) -> str:
    if isinstance(value, Interval):
        return f"{percent(value.value)} ({span(value.low, value.high)})"
    return percent(value)
