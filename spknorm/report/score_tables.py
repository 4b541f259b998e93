"""The tables of scores: beside the paper's Table 1, one per protocol, the low-resource curve.

After `scores.py` and `paper.py` in the report; every number comes from an `Estimate`. A table of
which there is nothing to show has no rows.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from spknorm.report import paper, splits
from spknorm.report.blocks import Block, Estimate, Score, Test
from spknorm.report.methods import Method, settings_note
from spknorm.report.tables import (
    NOTHING,
    Show,
    Table,
    TableRow,
    n_of_m,
    p_value,
    percent,
    plain,
    signed_points,
    span,
    with_deviation,
)
from spknorm.report.words import Line, sentence, table
from spknorm.statistics import mean_std, pool_speakers, speaker_spread
from spknorm.statistics.curves import normalised_auc, paper_auc
from spknorm.statistics.metrics import METRICS

_LEVEL = 0.05
_MOST_FINDINGS = 4
_SHARES = {"Ascent / descent": "ascent_share", "Head's gain": "speaker_gain",
           "Head's accuracy": "speaker_accuracy", "Chance": "chance", "Drift": "drift",
           "Clipped": "ascents_clipped", "Paused": "ascents_paused",
           "Skipped": "ascents_skipped"}  # fmt: skip


def line_of(one: Estimate, **values: Any) -> Line:
    """Return what a method's line is made of: the method, how many runs, and `values`."""
    runs = n_of_m(len(one.rows), one.num_planned)
    return {"method": one.method, "kind": one.method.row_kind, "runs": runs, **values}


def over_runs(score: Score, show: Show = percent) -> str:
    """Return a score's mean over runs, with its deviation."""
    return with_deviation(*score.runs, show) if score.runs else NOTHING


def cells_of(test: Test, show: Show = signed_points) -> list[str]:
    """Return a test's difference, its interval and its p."""
    found = test.found
    return [show(found.difference), span(found.low, found.high, show), p_value(test.p)]


def lines_of_tests(block: Block, show: Show = signed_points) -> list[Line]:
    """Return a line for every metric of every method that was tested."""
    return [
        line_of(one, metric=name, test=score.test, tested=cells_of(score.test, show))
        for one in block.estimates
        for name, score in one.scores.items()
        if score.test
    ]


def is_found(test: Test | None) -> bool:
    """Whether a difference can be told from none."""
    return test is not None and test.p < _LEVEL


def corpora_of(blocks: Iterable[Block]) -> list[str]:
    """Return the emotion corpora that the runs name."""
    key = "downstream_expert.datarc.corpus"
    named = (value for block in blocks for value in block.rows.get(key, [None]))
    return sorted({value if isinstance(value, str) else "not named" for value in named})


def paper_table(blocks: Sequence[Block], task: str, remark: str = "") -> Table:
    """Return Table 1: ours, and the paper's rows below; `remark` is of how protocols differ."""
    own = {block.protocol: block for block in blocks if block.task == task}
    found = {name: {one.method: one for one in block.estimates} for name, block in own.items()}
    columns = [found.get(name, {}) for name in ("si5", "sd", "low_resource")]
    methods = {method: None for column in columns for method in column}
    rows = [_our_row(method, columns) for method in sorted(methods, key=Method.sort_key)]
    for line in paper.TABLE_1:
        normalised = None if line.auc is None else line.auc * 1000 / 950
        numbers = map(plain, (line.si5_wa, line.sd_wa, line.auc, normalised))
        rows.append(TableRow(cells=("paper", line.name, *numbers, NOTHING), kind="paper"))
    corpora = corpora_of(own.values())
    is_other = corpora != [paper.CORPUS]
    more = [
        settings_note([*methods]),
        remark,
        sentence("chance", blocks=[*own.values()]),
        sentence("other-corpus", corpora=corpora) if is_other else "",
    ]
    return table("paper", rows, more=more, paper=paper)


def accuracy_table(block: Block) -> Table:
    """Return the metrics of one protocol's methods, with deviations and intervals."""
    beside = {name: metric.heading for name, metric in METRICS.items() if name != "wa"}
    rows = []
    for one in block.estimates:
        others = [over_runs(one.scores[name]) for name in beside]
        rows.append(line_of(one, wa=one.scores["wa"], others=others, spread=one.spread))
    more = (
        settings_note(block.methods),
        splits.classes_note(block.rows),
        sentence("chance", blocks=[block]),
    )
    return table(
        "accuracy",
        rows,
        block.protocol,
        columns=beside.values(),
        more=more,
        title=splits.title_of(block.protocol, block.rows),
        block=block,
        reasons=[*dict.fromkeys(one.no_interval for one in block.estimates if one.no_interval)],
    )


def short_table(blocks: Sequence[Block]) -> Table:
    """Return the table that a bench prints at its end: WA, UA, chance; a row per size."""
    rows: list[Line] = []
    for block in blocks:
        for one in block.estimates:
            for size, found in one.rows.groupby(one.rows["samples_per_label"].fillna(0)):
                scores = [with_deviation(*mean_std(found[name])) for name in ("wa", "ua")]
                pooled = pool_speakers(found["by_speaker"])
                worst = speaker_spread(pooled).worst_ua if pooled else None
                where = f"{block.protocol} n={size:.0f}" if size else block.protocol
                rows.append(line_of(one, where=where, scores=scores, worst=worst, found=found))
        if block.chance:
            guess = (percent(block.chance.wa), percent(block.chance.ua))
            cells = ("", "chance", block.protocol, *guess, "", "")
            rows.append(TableRow(cells=cells, kind="control"))
    return table("short", rows, more=[settings_note([*chain(*(one.methods for one in blocks))])])


def comparison_table(block: Block) -> Table:
    """Return the paired tests of one protocol against strategy none."""
    return table("comparison", lines_of_tests(block), block.protocol, block=block)


def adversary_table(block: Block) -> Table:
    """Return what the adversaries did, means over the runs that measured theirs."""
    rows = []
    for one in block.estimates if "adversary.without_effect" in block.rows else ():
        if one.rows["adversary.without_effect"].notna().any():
            shares = [_mean(one, key) for key in _SHARES.values()]
            rows.append(line_of(one, angle=_mean(one, "ascent_angle"), shares=shares))
    return table("adversary", rows, block.protocol, columns=_SHARES, block=block)


def low_resource_table(block: Block) -> Table:
    """Return the low-resource curves as numbers, ours first, the paper's in grey."""
    curves = [(one, one.curve) for one in block.estimates if one.curve is not None]
    points = sorted({n for _, found in curves for n in found.num_samples})
    rows: list[Line] = []
    for one, found in curves:
        means = dict(zip(found.num_samples, found.mean.tolist(), strict=True))
        shown = [*map(means.get, points), found.paper_auc, found.normalised_auc]
        rows.append(line_of(one, kind="ours", shown=shown))
    for strategy, values in paper.CURVES.items() if {*points} & {*paper.NUM_POINTS} else ():
        known = dict(zip(paper.NUM_POINTS, values, strict=True))
        drawn = [area(paper.NUM_POINTS, values) for area in (paper_auc, normalised_auc)]
        numbers = map(plain, (*map(known.get, points), *drawn))
        cells = ("HuBERT Large", f"paper: {strategy}", *numbers, NOTHING)
        rows.append(TableRow(cells=cells, kind="paper"))
    more = settings_note([one.method for one, _ in curves]), sentence("chance", blocks=[block])
    return table("low-resource", rows, columns=map(str, points), more=more, paper=paper)


def findings(blocks: Iterable[Block]) -> list[tuple[str, list[str]]]:
    """Return what the paired tests say: a sentence per table, and those effects that were found."""
    sentences = []
    for block in blocks:
        tests = {one.method: one.scores["wa"].test for one in block.estimates}
        known = [(method, test) for method, test in tests.items() if test]
        found = [(method, test) for method, test in known if is_found(test)]
        found.sort(key=lambda pair: -abs(pair[1].found.difference))
        if known:
            counts = {"num_tests": len(known), "most": _MOST_FINDINGS}
            head = sentence("findings", protocol=block.protocol, found=found, **counts)
            below = [_finding(method, test) for method, test in found[:_MOST_FINDINGS]]
            sentences.append((head, below))
    return sentences


def _finding(method: Method, test: Test) -> str:
    difference, interval, p = cells_of(test)
    values = {"difference": difference, "interval": interval, "p": p}
    return sentence("finding", method=method, num_pairs=test.found.num_pairs, **values)


def _our_row(method: Method, columns: Sequence[dict[Method, Estimate]]) -> TableRow:
    si, sd, low = (column.get(method) for column in columns)
    curve = low.curve if low else None
    texts = [over_runs(one.scores["wa"]) if one else NOTHING for one in (si, sd)]
    areas = (curve.paper_auc, curve.normalised_auc) if curve else (None, None)
    counts = [n_of_m(len(one.rows), one.num_planned) if one else NOTHING for one in (si, sd)]
    counts.append(str(sum(curve.num_runs)) if curve else NOTHING)
    cells = (f"{method.upstream}, {method.label}", *texts, *map(percent, areas))
    return TableRow(cells=("ours", *cells, " / ".join(counts)), kind=method.row_kind)


def _mean(one: Estimate, key: str) -> float | None:
    values = one.rows.get(f"adversary.{key}")
    known = [] if values is None else [float(value) for value in values.dropna()]
    return sum(known) / len(known) if known else None
