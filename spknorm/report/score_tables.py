"""The tables of scores: beside the paper's Table 1, one per protocol, the low-resource curve.

After `scores.py` and `paper.py` in the report; every number comes from an `Estimate`. A table of
which there is nothing to show has no rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from spknorm.protocols import TITLES
from spknorm.report import paper, tables
from spknorm.report.blocks import Block, Estimate, Score
from spknorm.report.methods import Method, settings_note
from spknorm.report.tables import NOTHING, Show, Table, TableRow
from spknorm.report.words import Line, sentence, table
from spknorm.statistics import Comparison, mean_std, pool_speakers, speaker_spread
from spknorm.statistics.agreement import CCC
from spknorm.statistics.curves import normalised_auc, paper_auc
from spknorm.statistics.metrics import METRICS

_CORPUS = "downstream_expert.datarc.corpus"
_LEVEL = 0.05
_MOST_FINDINGS = 4
_SHARES = {"Ascent / descent": "ascent_share", "Head's gain": "speaker_gain",
           "Head's accuracy": "speaker_accuracy", "Chance": "chance", "Drift": "drift",
           "Clipped": "ascents_clipped", "Paused": "ascents_paused",
           "Skipped": "ascents_skipped"}  # fmt: skip


def line_of(one: Estimate, **values: Any) -> Line:
    """Return what a method's line is made of: the method, how many runs, and `values`."""
    runs = tables.n_of_m(len(one.rows), one.num_planned)
    return {"method": one.method, "kind": one.method.row_kind, "runs": runs, **values}


def change_of(test: Comparison, show: Show = tables.signed_points) -> list[str]:
    """Return a tested difference, its interval and its p."""
    around = tables.span(test.low, test.high, show)
    return [show(test.difference), around, tables.p_value(test.p_bootstrap)]


def is_found(test: Comparison | None) -> bool:
    """Whether a difference can be told from none."""
    return test is not None and test.p_bootstrap < _LEVEL


def corpora_of(blocks: Iterable[Block]) -> list[str]:
    """Return the emotion corpora that the runs name."""
    named = (value for block in blocks for value in block.rows.get(_CORPUS, [None]))
    return sorted({value if isinstance(value, str) else "not named" for value in named})


def paper_table(blocks: Sequence[Block], task: str, remark: str = "") -> Table:
    """Return Table 1: ours, and the paper's rows below; `remark` is of how protocols differ."""
    own = {block.protocol: block for block in blocks if block.task == task}
    found = {name: {one.method: one for one in block.estimates} for name, block in own.items()}
    columns = [found.get(name, {}) for name in ("si5", "sd", "low_resource")]
    methods = [*dict.fromkeys(chain(*columns))]
    rows = [_our_row(method, columns) for method in sorted(methods, key=Method.sort_key)]
    for line in paper.TABLE_1:
        normalised = None if line.auc is None else line.auc * 1000 / 950
        numbers = map(tables.plain, (line.si5_wa, line.sd_wa, line.auc, normalised))
        rows.append(TableRow(cells=("paper", line.name, *numbers, NOTHING), kind="paper"))
    corpora = corpora_of(own.values())
    other = sentence("other-corpus", corpora=corpora) if corpora != [paper.CORPUS] else ""
    more = [settings_note(methods), remark, sentence("chance", blocks=[*own.values()]), other]
    return table("paper", rows, more=more, paper=paper)


def block_tables(block: Block) -> list[Table]:
    """Return a block's own tables; some of them may have no rows."""
    if block.chance is None:
        return [_dimension_table(block), comparison_table(block)]
    curves = [low_resource_table(block)] if block.is_low_resource else []
    return [*curves, accuracy_table(block), comparison_table(block), adversary_table(block)]


def accuracy_table(block: Block) -> Table:
    """Return the metrics of one protocol's methods, with deviations and intervals."""
    beside = {name: metric.heading for name, metric in METRICS.items() if name != "wa"}
    lines = []
    for one in block.estimates:
        wa, *others = (one.scores[name] for name in ("wa", *beside))
        shown = [_over_runs(one, wa), tables.span(wa.low, wa.high)]
        shown += [_over_runs(one, score) for score in others]
        lines.append(line_of(one, shown=shown, spread=one.spread))
    reasons = dict.fromkeys(one.no_interval for one in block.estimates if one.no_interval)
    chance = sentence("chance", blocks=[block])
    more = (settings_note(block.methods), _classes_note(block), chance)
    about = {"title": title_of(block), "block": block, "reasons": [*reasons]}
    columns = beside.values()
    return table("accuracy", lines, block.protocol, columns=columns, more=more, **about)


def short_table(blocks: Sequence[Block]) -> Table:
    """Return the table that a bench prints at its end: WA, UA, chance; a row per size."""
    rows: list[Line] = []
    for block in blocks:
        for one in block.estimates:
            for size, found in one.rows.groupby(one.rows["samples_per_label"].fillna(0)):
                scores = [tables.with_deviation(*mean_std(found[name])) for name in ("wa", "ua")]
                pooled = pool_speakers(found["by_speaker"])
                worst = speaker_spread(pooled).worst_ua if pooled else None
                where = f"{block.protocol} n={size:.0f}" if size else block.protocol
                rows.append(line_of(one, where=where, scores=scores, worst=worst, found=found))
        if block.chance:
            guess = (tables.percent(block.chance.wa), tables.percent(block.chance.ua))
            cells = ("", "chance", block.protocol, *guess, "", "")
            rows.append(TableRow(cells=cells, kind="control"))
    return table("short", rows, more=[settings_note([*chain(*(one.methods for one in blocks))])])


def comparison_table(block: Block) -> Table:
    """Return the paired tests of one protocol against strategy none: a line for each metric."""
    show, text = tables.signed_points, "comparison"
    if block.chance is None:
        show, text = tables.signed_ccc, "dimensions-comparison"
    lines = []
    for one in block.estimates:
        for name, score in one.scores.items():
            if score.test is not None:
                about = {"metric": name.removeprefix(f"{CCC}_"), "test": score.test}
                lines.append(line_of(one, tested=change_of(score.test, show), **about))
    return table(text, lines, block.protocol, block=block)


def adversary_table(block: Block) -> Table:
    """Return what the adversaries did, means over the runs that measured theirs."""
    lines = []
    for one in block.estimates if "adversary.without_effect" in block.rows else ():
        if one.rows["adversary.without_effect"].notna().any():
            angle, *shares = (_mean(one, key) for key in ("ascent_angle", *_SHARES.values()))
            lines.append(line_of(one, angle=angle, shares=shares))
    return table("adversary", lines, block.protocol, columns=_SHARES, block=block)


def low_resource_table(block: Block) -> Table:
    """Return the low-resource curves as numbers, ours first, the paper's in grey."""
    curves = [(one, one.curve) for one in block.estimates if one.curve is not None]
    points = sorted({n for _, found in curves for n in found.num_samples})
    rows: list[Line] = []
    for one, found in curves:
        means = dict(zip(found.num_samples, found.mean, strict=True))
        shown = [*map(means.get, points), *found.areas]
        rows.append(line_of(one, kind="ours", shown=shown))
    for strategy, values in paper.CURVES.items() if {*points} & {*paper.NUM_POINTS} else ():
        known = dict(zip(paper.NUM_POINTS, values, strict=True))
        drawn = (area(paper.NUM_POINTS, values) for area in (paper_auc, normalised_auc))
        numbers = map(tables.plain, (*map(known.get, points), *drawn))
        cells = ("HuBERT Large", f"paper: {strategy}", *numbers, NOTHING)
        rows.append(TableRow(cells=cells, kind="paper"))
    more = settings_note([one.method for one, _ in curves]), sentence("chance", blocks=[block])
    return table("low-resource", rows, columns=map(str, points), more=more, paper=paper)


def title_of(block: Block) -> str:
    """Return a table's title: the protocol in words and, where test speakers train, that."""
    words = f"Protocol {block.protocol}: {TITLES.get(block.protocol, block.protocol)}"
    unseen = {one.unseen for one in block.splittings} - {"speakers"}
    words += f", unseen {' and '.join(sorted(unseen))}" if unseen else ""
    leaks = [*dict.fromkeys(leak for one in block.splittings for leak in one.leaks)]
    more = f" and {len(leaks) - 1} more" if len(leaks) > 1 else ""
    return f"{words} [LEAKS: {leaks[0].partition(':')[0]}{more}]" if leaks else words


def findings(blocks: Iterable[Block]) -> list[tuple[str, list[str]]]:
    """Return what the paired tests say: a sentence per table, and those effects that were found."""
    sentences = []
    for block in blocks:
        tests = [(one.method, one.scores["wa"].test) for one in block.estimates]
        known = [(method, test) for method, test in tests if test is not None]
        found = [(method, test) for method, test in known if is_found(test)]
        found.sort(key=lambda pair: -abs(pair[1].difference))
        if known:
            counts = {"num_tests": len(known), "most": _MOST_FINDINGS}
            head = sentence("findings", protocol=block.protocol, found=found, **counts)
            shown = ({"method": method, "test": test, "change": change_of(test)}
                     for method, test in found[:_MOST_FINDINGS])  # fmt: skip
            sentences.append((head, [sentence("finding", **one) for one in shown]))
    return sentences


def _our_row(method: Method, columns: Sequence[Mapping[Method, Estimate]]) -> TableRow:
    si, sd, low = (column.get(method) for column in columns)
    curve = low.curve if low else None
    texts = [_over_runs(one, one.scores["wa"]) if one else NOTHING for one in (si, sd)]
    areas = curve.areas if curve else (None, None)
    counts = [tables.n_of_m(len(one.rows), one.num_planned) if one else NOTHING for one in (si, sd)]
    counts.append(str(sum(curve.num_runs)) if curve else NOTHING)
    cells = (f"{method.upstream}, {method.label}", *texts, *map(tables.percent, areas))
    return TableRow(cells=("ours", *cells, " / ".join(counts)), kind=method.row_kind)


def _dimension_table(block: Block) -> Table:
    lines = []
    for one in block.estimates:
        shown = []
        for score in one.scores.values():
            shown += [
                _over_runs(one, score, tables.ccc),
                tables.span(score.low, score.high, tables.ccc),
            ]
        mean = mean_std(found.test.mean for found in one.rows["dimensions"])
        lines.append(line_of(one, shown=shown, mean=mean))
    names = [name.removeprefix(f"{CCC}_") for name in block.estimates[0].scores]
    columns = [head for name in names for head in (f"{name} CCC", "interval")]
    scales = dict.fromkeys((one.low, one.high) for one in block.rows["dimensions"])
    about = {"title": title_of(block), "scales": [*scales]}
    more = [settings_note(block.methods)]
    return table("dimensions", lines, block.protocol, columns=columns, more=more, **about)


def _classes_note(block: Block) -> str:
    """Return over which classes UA is a mean, where that is not all of them in all runs."""
    found: dict[str, list[str]] = {}
    if "ua_over" in block.rows:
        for fold, classes, over in block.rows[["fold", "classes", "ua_over"]].itertuples(False):
            if absent := [name for name in classes if name not in (over or classes)]:
                found.setdefault(", ".join(absent), []).append(str(fold))
    return sentence("classes-left-out", found=found) if found else ""


def _over_runs(one: Estimate, score: Score, show: Show = tables.percent) -> str:
    assert score.mean is not None and score.std is not None
    return tables.with_deviation(score.mean, score.std, len(one.rows), show)


def _mean(one: Estimate, key: str) -> float | None:
    values = one.rows.get(f"adversary.{key}")
    known = [] if values is None else [float(value) for value in values.dropna()]
    return sum(known) / len(known) if known else None
