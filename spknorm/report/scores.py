"""From runs to the numbers of a table: averages, intervals, paired tests, curves.

After `blocks.py` in the report; the statistics themselves are `spknorm.statistics`, the tables
`score_tables.py`. Accuracies stay fractions here. Classes and dimensions go the same way: a metric
is a column of numbers and one of the counts by speaker behind them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spknorm.errors import DataError
from spknorm.protocols import TITLES
from spknorm.report.blocks import Block, Chance, Curve, Estimate, Score, Test
from spknorm.report.methods import Method, num_planned, with_methods
from spknorm.runs import Runs
from spknorm.statistics import (
    Comparison,
    compare,
    holm,
    interval,
    mean_std,
    pool_speakers,
    speaker_spread,
)
from spknorm.statistics.agreement import CCC
from spknorm.statistics.curves import normalised_auc, paper_auc
from spknorm.statistics.metrics import METRICS

if TYPE_CHECKING:
    from pandas import DataFrame

_PLACE = ("fold", "seed", "draw", "samples_per_label")
_COUNTS = "by_speaker"


class Measured(NamedTuple):
    """What is measured: its `kind` in `spknorm.statistics`, and the columns of runs it is in."""

    name: str
    kind: str
    counts: str
    is_tested: bool
    chance: float | None


def score_blocks(runs: Runs) -> list[Block]:
    """Return all blocks of classes in the order in which tables show them."""
    blocks = []
    for rows in _by_protocol(runs):
        chance = chance_of(rows)
        known = {"wa": chance.wa, "ua": chance.ua}
        metrics = [Measured(name, name, _COUNTS, name == "wa", known.get(name)) for name in METRICS]
        blocks.append(_block(rows, metrics, runs, chance))
    rank = {name: number for number, name in enumerate(TITLES)}
    return sorted(blocks, key=lambda one: (one.task, rank.get(one.protocol, 9), one.protocol))


def dimension_blocks(runs: Runs) -> list[Block]:
    """Return the blocks of runs that predict dimensions: a metric of each that all runs have."""
    blocks = []
    for rows in _by_protocol(replace(runs, runs=runs.of_dimensions)):
        known = [one.names for one in rows["dimensions"]]
        names = [name for name in known[0] if all(name in other for other in known)]
        metrics = [Measured(f"{CCC}_{name}", CCC, f"{_COUNTS}_{name}", True, 0.0) for name in names]
        for name, metric in zip(names, metrics, strict=True):
            tested = [one.test for one in rows["dimensions"]]
            rows[metric.name] = [test.ccc[name] for test in tested]
            rows[metric.counts] = [
                {who: sums[name] for who, sums in test.by_speaker.items()} for test in tested
            ]
        blocks.append(_block(rows, metrics, runs, None))
    return blocks


def chance_of(rows: "DataFrame") -> Chance:
    """Return what guessing would score on the test sets of these runs, taken together."""
    totals: dict[str, int] = {}
    for classes, confusion in zip(rows["classes"], rows["confusion"], strict=True):
        for name, row in zip(classes, confusion, strict=True):
            totals[name] = totals.get(name, 0) + sum(row)
    majority = max(totals, key=lambda name: totals[name])
    present = sum(count > 0 for count in totals.values())
    return Chance(totals[majority] / sum(totals.values()), 1 / present, majority)


def curve_of(rows: "DataFrame") -> Curve:
    """Return the low-resource curve of one method's runs."""
    found = rows.assign(n=rows["samples_per_label"], draw=rows["draw"].fillna(0))
    found = found[found["n"].notna()]
    draws = found.groupby(["n", "seed", "draw"])["wa"].apply(lambda wa: float(np.mean([*wa])))
    points = tuple(int(n) for n in sorted(set(found["n"])))
    mean = np.array([np.mean([*found[found["n"] == n]["wa"]]) for n in points])
    std = np.array([mean_std(draws[n]).std for n in points])
    counts = tuple(int((found["n"] == n).sum()) for n in points)
    if len(points) < 2:
        return Curve(points, mean, std, counts, None, None)
    if (points[0], points[-1]) == (50, 1000):
        areas = paper_auc(points, mean), normalised_auc(points, mean)
        return Curve(points, mean, std, counts, *areas)
    area = float(np.trapezoid(mean, points)) / (points[-1] - points[0])
    return Curve(points, mean, std, counts, None, area)


def against_none(estimates: Iterable[Estimate]) -> Iterator[tuple[Estimate, Estimate]]:
    """Yield each method with the strategy none beside it, where there is one."""
    known = {one.method: one for one in estimates}
    for one in known.values():
        reference = known.get(one.method.reference())
        if reference is not None and not one.method.is_reference:
            yield one, reference


def shared_runs(
    one: Estimate, other: Estimate, column: str = _COUNTS
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the counts by speaker of both, by those places in the grid that both have."""
    sides = [dict(zip(side.rows["place"], side.rows[column], strict=True)) for side in (one, other)]
    places = sorted(key for key in sides[0] if sides[0][key] and sides[1].get(key))
    ours, theirs = ({key: side[key] for key in places} for side in sides)
    return ours, theirs


def corrected(tests: Mapping[Any, Comparison]) -> dict[Any, Test]:
    """Return a family of tests with its p-values corrected after Holm; NaN is of no test."""
    p_values = holm([one.p_bootstrap for one in tests.values()])
    p_runs = holm([one.p_wilcoxon for one in tests.values()])
    return {
        key: Test(one, p, None if one.p_wilcoxon != one.p_wilcoxon else of_runs)
        for (key, one), p, of_runs in zip(tests.items(), p_values, p_runs, strict=True)
    }


def _by_protocol(runs: Runs) -> "Iterator[DataFrame]":
    """Yield the runs of each task and protocol, with their method and place in the grid."""
    if runs.runs:
        table = with_methods(runs)
        places = table[[*_PLACE]].astype(object).where(table[[*_PLACE]].notna(), 0)
        table["place"] = [*places.itertuples(index=False, name=None)]
        yield from (rows.copy() for _, rows in table.groupby(["task", "protocol"]))


def _block(
    rows: "DataFrame", metrics: Sequence[Measured], runs: Runs, chance: Chance | None
) -> Block:
    num_places, task, protocol = len({*rows["place"]}), rows["task"].iloc[0], rows["protocol"]
    groups = sorted(rows.groupby("method", sort=False), key=lambda pair: pair[0].sort_key())
    estimates = [
        _estimate(method, found, num_planned(found, runs, num_places), metrics)
        for method, found in groups
    ]
    tests = corrected(dict(_paired_tests(estimates, [one for one in metrics if one.is_tested])))
    found = []
    for one in estimates:
        scores = {
            name: replace(score, test=tests.get((one.method, name)))
            for name, score in one.scores.items()
        }
        found.append(replace(one, scores=scores))
    return Block(
        task=str(task),
        protocol=str(protocol.iloc[0]),
        rows=rows,
        estimates=(*found,),
        chance=chance,
    )


def _estimate(
    method: Method, rows: "DataFrame", planned: int, metrics: Sequence[Measured]
) -> Estimate:
    rows = rows.sort_values(["place", "folder"])
    pools = {name: pool_speakers(rows[name]) for name in {one.counts: None for one in metrics}}
    scores, reason = {}, ""
    for one in metrics:
        scores[one.name] = Score(runs=mean_std(rows[one.name]), chance=one.chance)
        try:
            if not pools[one.counts]:
                raise DataError("its result files name no speakers.")
            pooled, low, high, _ = interval(pools[one.counts], one.kind)
            scores[one.name] = replace(scores[one.name], pooled=pooled, low=low, high=high)
        except DataError as error:  # too few speakers
            reason = str(error)
    by_class = pools.get(_COUNTS)
    is_curve = rows["protocol"].iloc[0] == "low_resource" and by_class is not None
    return Estimate(
        method=method,
        rows=rows,
        num_planned=planned,
        scores=scores,
        no_interval=reason,
        spread=speaker_spread(by_class) if by_class else None,
        curve=curve_of(rows) if is_curve else None,
    )


def _paired_tests(
    estimates: Iterable[Estimate], metrics: Iterable[Measured]
) -> Iterator[tuple[tuple[Method, str], Comparison]]:
    """Yield the tests against strategy none; rather none than a wrong one."""
    for one, reference in against_none(estimates):
        for metric in metrics:
            try:
                found = compare(*shared_runs(one, reference, metric.counts), metric.kind)
            except DataError:  # too few speakers, or not the same ones
                continue
            yield (one.method, metric.name), found
