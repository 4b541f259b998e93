"""The tables of runs that predict arousal, valence and dominance: CCC with intervals over speakers.

Beside `score_tables.py`, whose rows are of classes; the two are never in one table.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from spknorm.report.blocks import Block, Estimate, Score
from spknorm.report.methods import settings_note
from spknorm.report.score_tables import line_of, lines_of_tests, over_runs
from spknorm.report.splits import title_of
from spknorm.report.tables import Table, ccc, signed_ccc, span, with_span
from spknorm.report.words import table
from spknorm.statistics import MIN_SPEAKERS, mean_std, pool_speakers
from spknorm.statistics.agreement import CCC, concordance
from spknorm.statistics.fairness import (
    MEASURES_OF_CCC,
    intervals_of_ccc,
    measure_ccc,
    num_few,
)

_LEAST = 10  # utterances: the CCC of fewer says nothing of a speaker


def dimension_tables(blocks: Iterable[Block]) -> list[Table]:
    """Return CCC per method, the paired tests against strategy none, and what speakers get."""
    tables = [make(block) for block in blocks for make in (_scores, _tests, _speakers)]
    return [table for table in tables if table.rows]


def _scores(block: Block) -> Table:
    lines = []
    for one in block.estimates:
        shown = []
        for score in one.scores.values():
            shown += [over_runs(score, ccc), span(score.low, score.high, ccc)]
        mean = mean_std(found.test.mean for found in one.rows["dimensions"])
        lines.append(line_of(one, shown=shown, mean=mean))
    scales = [*dict.fromkeys((one.low, one.high) for one in block.rows["dimensions"])]
    names = [_dimension(name) for name in block.estimates[0].scores]
    return table(
        "dimensions",
        lines,
        block.protocol,
        columns=[head for name in names for head in (f"{name} CCC", "interval")],
        more=[settings_note(block.methods)],
        title=title_of(block.protocol, block.rows),
        scales=scales,
    )


def _tests(block: Block) -> Table:
    lines = lines_of_tests(block, signed_ccc)
    return table("dimensions-comparison", lines, block.protocol, block=block)


def among_speakers(block: Block) -> Block:
    """Return a block whose scores are those among the speakers of each dimension."""
    found = [replace(one, scores=dict(_among(one))) for one in block.estimates]
    return replace(block, estimates=(*found,))


def _speakers(block: Block) -> Table:
    lines = []
    for one in block.estimates:
        among = dict(_among(one))
        for name in one.scores:
            if sums := _sums_by_speaker(one, name):
                found = [among[f"{name}_{key}"] for key in MEASURES_OF_CCC]
                values = {
                    "dimension": _dimension(name),
                    "worst": min(sums, key=lambda who: float(concordance(sums[who]))),
                    "around": [with_span(it.pooled, it.low, it.high, ccc) for it in found],
                    "few": num_few(len(sums)),
                    "num_speakers": len(sums),
                }
                lines.append(line_of(one, **values))
    return table("dimensions-speakers", lines, block.protocol, block=block, least=_LEAST)


def _among(one: Estimate) -> Iterator[tuple[str, Score]]:
    for name in one.scores:
        if sums := _sums_by_speaker(one, name):
            around = intervals_of_ccc(sums) if len(sums) >= MIN_SPEAKERS else {}
            for key, value in measure_ccc(sums).items():
                low, high = around[key][1:3] if key in around else (None, None)
                yield f"{name}_{key}", Score(pooled=value, low=low, high=high)


def _sums_by_speaker(one: Estimate, metric: str) -> dict[str, Any]:
    """Return the sums of each speaker of whom there are enough utterances."""
    pooled = pool_speakers(one.rows[f"by_speaker_{_dimension(metric)}"])
    return {who: sums for who, sums in pooled.items() if sums[0] >= _LEAST}


def _dimension(metric: str) -> str:
    return metric.removeprefix(f"{CCC}_")
