"""From runs to the numbers of a table: averages, intervals, paired tests, curves.

After `methods.py` in the report; the statistics themselves are `spknorm.statistics`. The frame of
runs is grouped by task and protocol, and that by method. Accuracies stay fractions. Classes and
dimensions go the same way: a metric is a column of numbers, and one of the counts by speaker.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spknorm.errors import DataError
from spknorm.protocols import TITLES
from spknorm.report.blocks import Block, Chance, Curve, Estimate, Score
from spknorm.report.methods import num_planned, with_methods
from spknorm.runs import Runs
from spknorm.statistics import (
    Comparison,
    compare,
    holm,
    interval,
    mean_std,
    pool_speakers,
    speaker_spread,
)  # fmt: skip
from spknorm.statistics.agreement import CCC
from spknorm.statistics.metrics import METRICS

if TYPE_CHECKING:
    from pandas import DataFrame

_PLACE = ["fold", "seed", "draw", "samples_per_label"]
COUNTS = "by_speaker"


class Metric(NamedTuple):
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
        metrics = [Metric(name, name, COUNTS, name == "wa", known.get(name)) for name in METRICS]
        blocks.append(_block(rows, metrics, runs, chance))
    rank = {name: number for number, name in enumerate(TITLES)}
    return sorted(blocks, key=lambda one: (one.task, rank.get(one.protocol, 9), one.protocol))


def dimension_blocks(runs: Runs) -> list[Block]:
    """Return the blocks of runs that predict dimensions: a metric of each that all runs have."""
    blocks = []
    for rows in _by_protocol(replace(runs, runs=runs.of_dimensions)):
        known = [one.names for one in rows["dimensions"]]
        names = [name for name in known[0] if all(name in other for other in known)]
        metrics = [Metric(f"{CCC}_{name}", CCC, f"{COUNTS}_{name}", True, 0.0) for name in names]
        for name, metric in zip(names, metrics, strict=True):
            tests = [(one.test.ccc, one.test.by_speaker) for one in rows["dimensions"]]
            rows[metric.name] = [ccc[name] for ccc, _ in tests]
            rows[metric.counts] = [{who: sums[name] for who, sums in by.items()} for _, by in tests]
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


def _by_protocol(runs: Runs) -> "Iterator[DataFrame]":
    """Yield the runs of each task and protocol, with their method and place in the grid."""
    if runs.runs:
        table = with_methods(runs)
        places = table[_PLACE].astype(object).where(table[_PLACE].notna(), 0)
        table["place"] = [*places.itertuples(index=False, name=None)]
        yield from (rows.copy() for _, rows in table.groupby(["task", "protocol"]))


def _block(
    rows: "DataFrame", metrics: Sequence[Metric], runs: Runs, chance: Chance | None
) -> Block:
    num_places, estimates = len({*rows["place"]}), []
    groups = rows.groupby("method", sort=False)
    for method, found in sorted(groups, key=lambda pair: pair[0].sort_key()):
        found = found.sort_values(["place", "folder"])
        planned, own = num_planned(found, runs, num_places), _measured(found, metrics)
        estimates.append(Estimate(method=method, rows=found, num_planned=planned, **own))
    return Block(
        task=str(rows["task"].iloc[0]),
        protocol=str(rows["protocol"].iloc[0]),
        rows=rows,
        estimates=tested(estimates, partial(_compare_runs, metrics=metrics)),
        chance=chance,
    )


def _measured(rows: "DataFrame", metrics: Iterable[Metric]) -> dict[str, Any]:
    scores, reason, spread, curve = {}, "", None, None
    for one in metrics:
        mean, std, _ = mean_std(rows[one.name])
        scores[one.name] = Score(mean=mean, std=std, chance=one.chance)
        pooled = pool_speakers(rows[one.counts])
        try:
            if not pooled:
                raise DataError("its result files name no speakers.")
            value, low, high = interval(pooled, one.kind)
            scores[one.name] = scores[one.name]._replace(pooled=value, low=low, high=high)
        except DataError as error:  # too few speakers
            reason = str(error)
        if one.counts == COUNTS:
            spread = speaker_spread(pooled) if pooled else None
            curve = _curve_of(rows) if rows["protocol"].iloc[0] == "low_resource" else None
    return {"scores": scores, "no_interval": reason, "spread": spread, "curve": curve}


def _curve_of(rows: "DataFrame") -> Curve:
    found = rows[rows["samples_per_label"].notna()]
    places = [found["seed"], found["draw"].fillna(0)]
    groups = {int(n): wa for n, wa in found.groupby("samples_per_label")["wa"]}
    points, mean = (*groups,), np.array([mean_std(wa).mean for wa in groups.values()])
    draws = [[mean_std(one).mean for _, one in wa.groupby(places)] for wa in groups.values()]
    return Curve(
        num_samples=points,
        mean=mean,
        std=np.array([mean_std(one).std for one in draws]),
        num_runs=(*map(len, groups.values()),),
    )


def tested(
    estimates: Sequence[Estimate],
    tests_of: Callable[[Estimate, Estimate], Iterator[tuple[str, Comparison]]],
) -> tuple[Estimate, ...]:
    """Return the methods with tests against the strategy none beside them, where there is one.

    The tests are a family: their p-values are corrected together, after Holm; NaN is of no test.
    """
    known = {one.method: one for one in estimates}
    found = {
        (one.method, name): test
        for one in estimates
        if (reference := known.get(one.method.reference())) and not one.method.is_reference
        for name, test in tests_of(one, reference)
    }
    p_speakers = holm([one.p_bootstrap for one in found.values()])
    p_runs = holm([one.p_wilcoxon for one in found.values()])
    scores = {one.method: dict(one.scores) for one in estimates}
    for (key, test), p, of_runs in zip(found.items(), p_speakers, p_runs, strict=True):
        method, name = key
        of_runs = math.nan if math.isnan(test.p_wilcoxon) else of_runs
        test = test._replace(p_bootstrap=p, p_wilcoxon=of_runs)
        scores[method][name] = scores[method][name]._replace(test=test)
    return tuple(replace(one, scores=scores[one.method]) for one in estimates)


def _compare_runs(
    one: Estimate, reference: Estimate, metrics: Iterable[Metric]
) -> Iterator[tuple[str, Comparison]]:
    """Yield the tests of metrics; rather none than a wrong one."""
    for metric in metrics:
        if metric.is_tested:
            with suppress(DataError):  # too few speakers, or not the same ones
                ours, theirs = shared_runs(one, reference, metric.counts)
                yield metric.name, compare(ours, theirs, metric.kind)


def shared_runs(one: Estimate, other: Estimate, column: str = COUNTS) -> list[dict[Any, Any]]:
    """Return the counts by speaker of both, by those places in the grid that both have."""
    sides = [dict(zip(side.rows["place"], side.rows[column], strict=True)) for side in (one, other)]
    places = sorted(key for key in sides[0] if sides[0][key] and sides[1].get(key))
    return [{key: side[key] for key in places} for side in sides]
