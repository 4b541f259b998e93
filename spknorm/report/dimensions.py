"""The tables of runs that predict arousal, valence and dominance: CCC with intervals over speakers.

Beside `score_tables.py`, whose rows are of classes; the two are never in one table.
"""

from collections.abc import Iterable

from spknorm.report.blocks import Block
from spknorm.report.methods import settings_note
from spknorm.report.score_tables import cells_of, over_runs, row_of
from spknorm.report.splits import title_of
from spknorm.report.tables import Table, ccc, make_table, n_of_m, signed_ccc, span, with_deviation
from spknorm.report.words import say
from spknorm.statistics import mean_std
from spknorm.statistics.agreement import CCC


def dimension_tables(blocks: Iterable[Block]) -> list[Table]:
    """Return CCC per method and, where there is a strategy none, the paired tests against it."""
    tables = [make(block) for block in blocks for make in (_scores, _tests)]
    return [table for table in tables if table.rows]


def _scores(block: Block) -> Table:
    lines = []
    for one in block.estimates:
        scores = one.scores.values()
        cells = [over_runs(score, ccc) for score in scores]
        spans = [span(score.low, score.high, ccc) for score in scores]
        mean = mean_std(found.test.mean for found in one.rows["dimensions"])
        cells = [text for pair in zip(cells, spans, strict=True) for text in pair]
        runs = n_of_m(len(one.rows), one.num_planned)
        lines.append(row_of(one.method, *cells, with_deviation(*mean, ccc), runs))
    scales = [*dict.fromkeys((one.low, one.high) for one in block.rows["dimensions"])]
    names = [_dimension(name) for name in block.estimates[0].scores]
    heads = [head for name in names for head in (f"{name} CCC", "interval")]
    return make_table(
        f"dimensions-{block.protocol}",
        f"{title_of(block.protocol, block.rows)}: dimensions",
        ("Upstream", "Method", *heads, "Mean CCC", "Runs"),
        lines,
        [*say("dimensions", scales=scales), settings_note(block.methods)],
    )


def _tests(block: Block) -> Table:
    lines = []
    for one in block.estimates:
        for name, score in one.scores.items():
            if test := score.test:
                counts = (str(test.found.num_speakers), str(test.found.num_pairs))
                cells = (_dimension(name), *cells_of(test, signed_ccc), *counts)
                lines.append(row_of(one.method, *cells))
    heads = ("Δ CCC", "Interval", "p over speakers", "Speakers", "Paired runs")
    return make_table(
        f"dimensions-comparison-{block.protocol}",
        f"Dimensions against strategy none, protocol {block.protocol}",
        ("Upstream", "Method", "Dimension", *heads),
        lines,
        say("dimensions-comparison", num_tests=len(lines)),
        num_heads=3,
    )


def _dimension(metric: str) -> str:
    return metric.removeprefix(f"{CCC}_")
