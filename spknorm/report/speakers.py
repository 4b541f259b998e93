"""How unequally a method serves speakers, and whether it helps the worst served.

After `score_tables.py`; the statistics are `spknorm.statistics.fairness`.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from spknorm.errors import DataError
from spknorm.report.blocks import Block, Estimate, Score
from spknorm.report.score_tables import change_of, line_of
from spknorm.report.scores import COUNTS, shared_runs, tested
from spknorm.report.tables import Table, ccc, percent, with_span
from spknorm.report.words import table
from spknorm.statistics import MIN_SPEAKERS, Comparison, fairness, pool_speakers
from spknorm.statistics.agreement import CCC, concordance

_LEAST = 10  # utterances: the CCC of fewer says nothing of a speaker


def among_speakers(block: Block) -> Block:
    """Return a block whose scores are those among speakers, of the methods that name theirs.

    They are of UA, and tested, or of the CCC of each dimension.
    """
    of, tests_of = (_of_ccc, None) if block.chance is None else (_of_ua, _compare_worst)
    found = [replace(one, scores=of(one)) for one in block.estimates]
    found = [one for one in found if one.scores]
    return replace(block, estimates=tested(found, tests_of) if tests_of else (*found,))


def speaker_tables(block: Block) -> list[Table]:
    """Return what speakers get, and the paired tests of the worst, of `among_speakers`."""
    if block.chance is None:
        return [_levels("dimensions-speakers", block, fairness.MEASURES_OF_CCC)]
    return [_levels("fairness", block, fairness.MEASURES), _helps(block)]


def _levels(text: str, block: Block, measures: tuple[str, ...]) -> Table:
    lines = []
    for one in block.estimates:
        scores = [*one.scores.values()]
        for place in range(0, len(scores), len(measures)):  # a line per dimension
            show = percent if block.chance else ccc
            found = scores[place : place + len(measures)]
            around = [with_span(score.pooled, score.low, score.high, show) for score in found]
            worst, size = found[0].worst
            name = [*one.scores][place].removeprefix(f"{CCC}_").removesuffix(f"_{fairness.WORST}")
            few = f"{fairness.num_few(size)} of {size}"
            lines.append(line_of(one, around=around, few=few, worst=worst, dimension=name))
    return table(text, lines, block.protocol, block=block, least=_LEAST)


def _helps(block: Block) -> Table:
    lines = []
    for one in block.estimates:
        if found := [score.test for score in one.scores.values() if score.test]:
            tested = [text for test in found for text in change_of(test)]
            lines.append(line_of(one, test=found[0], tested=tested))
    return table("worst-speaker", lines, block.protocol, block=block)


def _of_ua(one: Estimate) -> dict[str, Score]:
    pooled = pool_speakers(one.rows[COUNTS])
    return _among("ua", pooled, one.spread.worst) if one.spread else {}


def _of_ccc(one: Estimate) -> dict[str, Score]:
    """Return the scores of each dimension, of the speakers who have enough utterances."""
    scores: dict[str, Score] = {}
    for metric in one.scores:
        pooled = pool_speakers(one.rows[metric.replace(CCC, COUNTS, 1)])
        pooled = {who: sums for who, sums in pooled.items() if sums[0] >= _LEAST}
        if pooled:
            worst = min(pooled, key=lambda who: float(concordance(pooled[who])))
            scores |= _among(metric, pooled, worst)
    return scores


def _among(metric: str, pooled: Mapping[str, Any], worst: str) -> dict[str, Score]:
    """Return what the speakers' scores are among themselves, from their pooled counts or sums."""
    scores, size, kind = {}, len(pooled), "ua" if metric == "ua" else CCC
    around = fairness.intervals(pooled, kind) if size >= MIN_SPEAKERS else {}
    for name, value in fairness.measure(pooled, kind).items():
        score = Score(pooled=value, worst=(worst, size))
        if around:
            score = score._replace(low=around[name].low, high=around[name].high)
        scores[f"{metric}_{name}"] = score
    return scores


def _compare_worst(one: Estimate, reference: Estimate) -> Iterator[tuple[str, Comparison]]:
    """Yield the tests of the worst speaker and of the worst few, on pooled runs."""
    sides = shared_runs(one, reference)
    with suppress(DataError):  # too few speakers, or not the same ones
        ours, theirs = (pool_speakers(side.values()) for side in sides)
        for name, test in fairness.compare(ours, theirs).items():
            yield f"ua_{name}", test._replace(num_pairs=len(sides[0]))
