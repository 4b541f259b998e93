"""How unequally a method serves speakers, and whether it helps the worst served.

Beside `score_tables.py`; the statistics are `spknorm.statistics.fairness`.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from spknorm.errors import DataError
from spknorm.report.blocks import Block, Estimate, Score, Test
from spknorm.report.methods import Method
from spknorm.report.score_tables import cells_of, line_of
from spknorm.report.scores import against_none, corrected, shared_runs
from spknorm.report.tables import Table, with_span
from spknorm.report.words import table
from spknorm.statistics import Comparison, pool_speakers
from spknorm.statistics import fairness as measures


def fairness_of(block: Block) -> Block:
    """Return a block whose scores are those among speakers, of the methods that name theirs."""
    tests = _tests(block)
    known = [one for one in block.estimates if one.spread is not None]
    found = [replace(one, scores=_scores(one, tests)) for one in known]
    return replace(block, estimates=(*found,))


def fairness_tables(block: Block) -> list[Table]:
    """Return what speakers get, and the paired tests of the worst; none without speakers."""
    return [table for table in (_levels(block), _helps(block)) if table.rows]


def _scores(one: Estimate, tests: Mapping[tuple[Method, str], Test]) -> dict[str, Score]:
    pooled = pool_speakers(one.rows["by_speaker"])
    found = {name: Score(pooled=value) for name, value in measures.measure(pooled).items()}
    with contextlib.suppress(DataError):  # too few speakers
        for name, around in measures.intervals(pooled).items():
            found[name] = replace(found[name], low=around.low, high=around.high)
    return {
        f"ua_{name}": replace(score, test=tests.get((one.method, name)))
        for name, score in found.items()
    }


def _tests(block: Block) -> dict[tuple[Method, str], Test]:
    """Return the paired tests of each method that has a strategy none beside it."""
    found = {}
    for one, reference in against_none(block.estimates):
        ours, theirs = shared_runs(one, reference)
        new, old = (pool_speakers(side.values()) for side in (ours, theirs))
        with contextlib.suppress(DataError):  # too few speakers, or not the same ones
            for name, (value, low, high, p, size) in measures.compare(new, old).items():
                test = Comparison(value, low, high, p, float("nan"), size, len(ours))
                found[one.method, name] = test
    return corrected(found)


def _levels(block: Block) -> Table:
    rows = []
    for one in block.estimates:
        assert one.spread is not None  # its speakers are known
        around = [with_span(score.pooled, score.low, score.high) for score in one.scores.values()]
        few = measures.num_few(len(one.spread.ua))
        rows.append(line_of(one, spread=one.spread, around=around, few=few))
    return table("fairness", rows, block.protocol, block=block)


def _helps(block: Block) -> Table:
    rows = []
    for one in block.estimates:
        if tests := [score.test for score in one.scores.values() if score.test is not None]:
            tested = [text for test in tests for text in cells_of(test)]
            rows.append(line_of(one, test=tests[0], tested=tested))
    return table("worst-speaker", rows, block.protocol, block=block)
