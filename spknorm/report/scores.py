"""From runs to the numbers of a table: averages, intervals, paired tests, curves.

After `methods.py` in the report; the statistics themselves are `spknorm.statistics`, the tables
`score_tables.py`. Accuracies stay fractions here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import DataError
from spknorm.protocols import TITLES
from spknorm.report.methods import Method, num_planned, with_methods
from spknorm.runs import Runs
from spknorm.statistics import (
    Comparison,
    Interval,
    MeanStd,
    SpeakerSpread,
    compare,
    holm,
    interval,
    mean_std,
    pool_speakers,
    speaker_spread,
)
from spknorm.statistics.curves import normalised_auc, paper_auc
from spknorm.statistics.metrics import METRICS

if TYPE_CHECKING:
    from pandas import DataFrame

_PLACE = ("fold", "seed", "draw", "samples_per_label")


class Chance(NamedTuple):
    """What guessing scores: the largest class for WA, one over the number of classes for UA."""

    wa: float
    ua: float
    majority: str


class Curve(NamedTuple):
    """Accuracy against training samples per label.

    Attributes:
        num_samples: (P,) points.
        mean: (P,) mean WA over runs.
        std: (P,) standard deviation over draws and seeds of the mean over folds; 0 for one draw.
        num_runs: (P,) runs at each point.
        paper_auc: The paper's area (trapezoid / 1000), None unless the points span 50..1000.
        normalised_auc: The area over the width of the curve's own range, None for a single point.
    """

    num_samples: tuple[int, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    num_runs: tuple[int, ...]
    paper_auc: float | None
    normalised_auc: float | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One method under one protocol.

    Attributes:
        rows: Its runs, by place in the grid.
        num_planned: How many there will be.
        scores: Metric -> mean and standard deviation over runs.
        intervals: Metric -> value over pooled utterances with its 95 % interval over speakers;
            empty where there is none.
        no_interval: Why there is none.
        spread: Accuracy per speaker, None where no speaker is known.
        curve: Under low_resource.
        comparison: WA against strategy none on the runs both have; None for strategy none itself.
        p_holm: The comparison's p (bootstrap over speakers), Holm-corrected over its table.
        p_wilcoxon_holm: The same of the Wilcoxon test over runs.
    """

    method: Method
    rows: "DataFrame"
    num_planned: int
    scores: Mapping[str, MeanStd]
    intervals: Mapping[str, Interval]
    no_interval: str
    spread: SpeakerSpread | None
    curve: Curve | None
    comparison: Comparison | None = None
    p_holm: float | None = None
    p_wilcoxon_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Block:
    """All methods of one task and protocol: what one table compares."""

    task: str
    protocol: str
    rows: "DataFrame"
    estimates: tuple[Estimate, ...]
    chance: Chance

    @property
    def title(self) -> str:
        """The protocol in words."""
        return TITLES.get(self.protocol, self.protocol)

    @property
    def is_low_resource(self) -> bool:
        """Whether its methods have curves."""
        return self.protocol == "low_resource"

    def by_upstream(self) -> dict[str, list[Estimate]]:
        """Return the estimates of each upstream."""
        found: dict[str, list[Estimate]] = {}
        for one in self.estimates:
            found.setdefault(one.method.upstream, []).append(one)
        return found


def score_blocks(runs: Runs) -> list[Block]:
    """Return all blocks in the order in which tables show them."""
    if not runs.runs:
        return []
    order = list(TITLES)
    blocks = [
        _block(str(task), str(protocol), rows, runs)
        for (task, protocol), rows in with_methods(runs).groupby(["task", "protocol"])
    ]
    rank = {name: number for number, name in enumerate(order)}
    return sorted(blocks, key=lambda one: (one.task, rank.get(one.protocol, 9), one.protocol))


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


def record_of(
    method: Method,
    protocol: str,
    metric: str,
    *,
    mean: MeanStd,
    pooled: Interval | None,
    tested: Comparison | None,
    p_holm: float | None,
    p_wilcoxon_holm: float | None,
    planned: int,
    chance: float | None,
) -> dict[str, str | int | float | None]:
    """Return a row of table.csv: what one metric says of one method, in full precision."""
    return {
        "task": method.task,
        "protocol": protocol,
        "upstream": method.upstream,
        "method": method.label,
        "metric": metric,
        "mean": mean.mean,
        "std": mean.std,
        "pooled": pooled.value if pooled else None,
        "low": pooled.low if pooled else None,
        "high": pooled.high if pooled else None,
        "difference": tested.difference if tested else None,
        "difference_low": tested.low if tested else None,
        "difference_high": tested.high if tested else None,
        "p_speakers_holm": p_holm if tested else None,
        "p_runs_holm": p_wilcoxon_holm if tested else None,
        "pairs": tested.num_pairs if tested else None,
        "runs": mean.n,
        "runs_planned": planned,
        "chance": chance,
    }


def _block(task: str, protocol: str, rows: "DataFrame", runs: Runs) -> Block:
    places = [tuple(0 if v is None or v != v else v for v in row) for row in rows[[*_PLACE]].values]
    rows = rows.assign(place=places)
    groups = sorted(rows.groupby("method", sort=False), key=lambda pair: pair[0].sort_key())
    estimates = [
        _estimate(method, found, num_planned(method, found, runs, len(set(places))), protocol)
        for method, found in groups
    ]
    known = {one.method: one for one in estimates}
    compared: dict[Method, Comparison] = {}
    for one in estimates:
        reference = known.get(one.method.reference())
        found = reference and paired(by_place(one.rows), by_place(reference.rows), "wa")
        if found and not one.method.is_reference:
            compared[one.method] = found
    p_values = holm([found.p_bootstrap for found in compared.values()])
    p_wilcoxon = holm([found.p_wilcoxon for found in compared.values()])
    for method, p, p_runs in zip(compared, p_values, p_wilcoxon, strict=True):
        told = {"comparison": compared[method], "p_holm": p, "p_wilcoxon_holm": p_runs}
        known[method] = replace(known[method], **told)  # type: ignore[arg-type] # keys above
    return Block(
        task=task,
        protocol=protocol,
        rows=rows,
        estimates=(*known.values(),),
        chance=chance_of(rows),
    )


def _estimate(method: Method, rows: "DataFrame", planned: int, protocol: str) -> Estimate:
    rows = rows.sort_values(["place", "folder"])
    pooled = pool_speakers(rows["by_speaker"])
    intervals, reason = _intervals(pooled)
    return Estimate(
        method=method,
        rows=rows,
        num_planned=planned,
        scores={name: mean_std(rows[name]) for name in METRICS},
        intervals=intervals,
        no_interval=reason,
        spread=speaker_spread(pooled) if pooled else None,
        curve=curve_of(rows) if protocol == "low_resource" else None,
    )


def _intervals(pooled: Mapping[str, Any]) -> tuple[dict[str, Interval], str]:
    if not pooled:
        return {}, "its result files name no speakers."
    try:
        return {name: interval(pooled, name) for name in METRICS}, ""
    except DataError as error:  # too few speakers
        return {}, str(error)


def paired(
    ours: Mapping[tuple[Any, ...], Any], theirs: Mapping[tuple[Any, ...], Any], metric: str
) -> Comparison | None:
    """Return the paired test on the places that both have; rather none than a wrong one.

    Args:
        ours: Place in the grid -> counts by speaker.
        theirs: The same of the reference.
        metric: See `spknorm.statistics.compare`.
    """
    shared = sorted(key for key in ours.keys() & theirs.keys() if ours[key] and theirs[key])
    if not shared:
        return None
    try:
        new, old = ({key: side[key] for key in shared} for side in (ours, theirs))
        return compare(new, old, metric)
    except DataError:
        return None  # too few speakers, or not the same ones


def by_place(rows: "DataFrame") -> dict[tuple[Any, ...], Any]:
    """Return the counts by speaker of each place in the grid."""
    return dict(zip(rows["place"], rows["by_speaker"], strict=True))
