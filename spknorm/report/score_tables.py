"""The tables of scores: beside the paper's Table 1, one per protocol, the low-resource curve.

After `scores.py` and `paper.py` in the report; every number comes from an `Estimate`.
"""

from collections.abc import Iterable, Sequence

from spknorm.report import paper, splits
from spknorm.report.methods import Method, settings_note
from spknorm.report.scores import Block, Estimate, record_of
from spknorm.report.tables import (
    NOTHING,
    Table,
    TableRow,
    make_table,
    n_of_m,
    p_value,
    percent,
    signed_points,
    span,
    with_deviation,
)
from spknorm.statistics import mean_std
from spknorm.statistics.metrics import METRICS

_LEVEL = 0.05
_MOST_FINDINGS = 4


def corpora_of(blocks: Iterable[Block]) -> list[str]:
    """Return the emotion corpora that the runs name."""
    key = "downstream_expert.datarc.corpus"
    named = {
        value if isinstance(value, str) else "not named"
        for block in blocks
        for value in block.rows.get(key, [None])
    }
    return sorted(named)


def paper_table(blocks: Sequence[Block], task: str, remark: str = "") -> Table:
    """Return Table 1: ours, and the paper's rows below; `remark` is of how protocols differ."""
    own = {block.protocol: block for block in blocks if block.task == task}
    found = {name: {one.method: one for one in block.estimates} for name, block in own.items()}
    columns = [found.get(name, {}) for name in ("si5", "sd", "low_resource")]
    methods = {method: None for column in columns for method in column}
    rows = [_our_row(method, columns) for method in sorted(methods, key=Method.sort_key)]
    for line in paper.TABLE_1:
        numbers = [_one_decimal(value) for value in (line.si5_wa, line.sd_wa, line.auc)]
        normalised = None if line.auc is None else line.auc * 1000 / 950
        cells = ("paper", line.name, *numbers, _one_decimal(normalised), NOTHING)
        rows.append(TableRow(cells=cells, kind="paper"))
    notes = [
        "SI: 5 folds, one session held out; SD: random split. Metric: WA, the share of utterances "
        "classified correctly, in percent. Ours: mean ± standard "
        "deviation over all runs (fold x seed; with n of m where runs are outstanding). AUC: area "
        "under WA against training utterances per label, the paper's (trapezoid / 1000, at most "
        "95) and the normalised one (/ 950, at most 100).",
        f"Grey rows: {paper.READ_OFF} ({paper.CITATION}), on IEMOCAP; how the paper averaged its "
        "folds, and over how many runs, is not known, and it gives no deviations. Its normalised "
        "AUC is its AUC x 1000 / 950.",
        settings_note([*methods]),
        remark,
        _chance_note(own.values()),
    ]
    corpora = corpora_of(own.values())
    if corpora != [paper.CORPUS]:
        notes.append(
            f"Ours are on another corpus ({', '.join(corpora)}): the paper's rows stand here for "
            "orientation and are not to be compared with."
        )
    heads = ("Source", "System", "SI WA", "SD WA", "AUC", "AUC normalised", "Runs SI / SD / AUC")
    return make_table("paper", "Ours beside the paper's Table 1", heads, rows, notes)


def accuracy_table(block: Block) -> Table:
    """Return the metrics of one protocol's methods, with deviations and intervals."""
    rows = []
    for one in block.estimates:
        interval, spread = one.intervals.get("wa"), one.spread
        cells = (
            one.method.upstream,
            one.method.label,
            _mean_std(one, "wa"),
            span(interval.low, interval.high) if interval else "no interval",
            *(_mean_std(one, name) for name in METRICS if name != "wa"),
            f"{spread.worst} {percent(spread.worst_ua)}" if spread else NOTHING,
            percent(spread.spread) if spread else NOTHING,
            _n_of_m(one),
        )
        rows.append(TableRow(cells=cells, kind=one.method.row_kind))
    reasons = dict.fromkeys(one.no_interval for one in block.estimates if one.no_interval)
    notes = [
        "WA, UA (mean recall of the classes) and macro-F1 in percent: mean ± standard "
        "deviation over runs, each fold and seed counting alike. Interval: 95 %, of WA over "
        "all utterances pooled, by bootstrap over whole speakers. Worst speaker: the lowest UA "
        "of any; spread: from there to the best."
        + (" Runs of all sizes together." if block.is_low_resource else ""),
        f"No interval, and no test: {' '.join(reasons)}" if reasons else "",
        settings_note([one.method for one in block.estimates]),
        splits.classes_note(block.rows),
        _chance_note([block]),
    ]
    title = splits.title_of(block.protocol, block.rows)
    others = (metric.heading for name, metric in METRICS.items() if name != "wa")
    heads = ("WA", "WA interval", *others, "Worst speaker, UA", "Spread", "Runs")
    columns = ("Upstream", "Method", *heads)
    return make_table(f"accuracy-{block.protocol}", title, columns, rows, notes)


def short_table(blocks: Sequence[Block]) -> Table:
    """Return the table that a bench prints at its end: WA, UA and chance, a row per size."""
    rows = []
    for block in blocks:
        for one in block.estimates:
            sizes = one.rows.groupby(one.rows["samples_per_label"].fillna(0))
            for size, found in sizes:
                scores = [mean_std(found[name]) for name in ("wa", "ua")]
                where = f"{block.protocol} n={size:.0f}" if size else block.protocol
                shown = (with_deviation(*wa) for wa in scores)
                cells = (one.method.upstream, one.method.label, where, *shown, str(len(found)))
                rows.append(TableRow(cells=cells, kind=one.method.row_kind))
        guess = (percent(block.chance.wa), percent(block.chance.ua))
        rows.append(TableRow(cells=("", "chance", block.protocol, *guess, ""), kind="control"))
    notes = [
        "WA: share of utterances classified correctly. UA: mean recall per class. Mean ± standard "
        "deviation over folds and seeds.",
        "Chance: WA of always the most frequent class, UA of a guess.",
        settings_note([one.method for block in blocks for one in block.estimates]),
    ]
    columns = ("", "", "", "WA %", "UA %", "runs")
    return make_table("short", "Emotion recognition", columns, rows, notes, num_heads=3)


def comparison_table(block: Block) -> Table | None:
    """Return the paired tests of one protocol against strategy none, None without any."""
    rows = []
    for one in block.estimates:
        if (tested := one.comparison) is not None:
            cells = (
                one.method.upstream,
                one.method.label,
                signed_points(tested.difference),
                span(tested.low, tested.high, signed_points),
                p_value(one.p_holm),
                p_value(one.p_wilcoxon_holm),
                str(tested.num_speakers),
                str(tested.num_pairs),
            )
            rows.append(TableRow(cells=cells, kind=one.method.row_kind))
    if not rows:
        return None
    note = (
        "Δ WA: percentage points on identical folds, seeds and draws, all utterances pooled, "
        "with its 95 % interval over speakers. p over speakers: paired bootstrap; p over runs: "
        f"Wilcoxon signed-rank. Both two-sided, corrected after Holm over the {len(rows)} "
        "tests of this table. No effect is 0."
    )
    heads = ("Δ WA", "Interval", "p over speakers", "p over runs", "Speakers", "Paired runs")
    title = f"Against strategy none, protocol {block.protocol}"
    columns = ("Upstream", "Method", *heads)
    return make_table(f"comparison-{block.protocol}", title, columns, rows, [note])


def low_resource_table(block: Block) -> Table:
    """Return the low-resource curves as numbers, ours first, the paper's in grey."""
    curves = [(one, one.curve) for one in block.estimates if one.curve is not None]
    points = sorted({n for _, found in curves for n in found.num_samples})
    rows = []
    for one, found in curves:
        means = dict(zip(found.num_samples, found.mean.tolist(), strict=True))
        areas = (percent(found.paper_auc), percent(found.normalised_auc))
        cells = (*(percent(means.get(n)) for n in points), *areas, _n_of_m(one))
        rows.append(TableRow(cells=(one.method.upstream, one.method.label, *cells)))
    if set(points) & set(paper.NUM_POINTS):
        from spknorm.statistics.curves import normalised_auc, paper_auc

        for strategy, values in paper.CURVES.items():
            known = dict(zip(paper.NUM_POINTS, values, strict=True))
            drawn = [area(paper.NUM_POINTS, values) for area in (paper_auc, normalised_auc)]
            numbers = [_one_decimal(value) for value in (*map(known.get, points), *drawn)]
            cells = ("HuBERT Large", f"paper: {strategy}", *numbers, NOTHING)
            rows.append(TableRow(cells=cells, kind="paper"))
    notes = [
        "WA in percent, mean over folds, draws and seeds, at up to so many training utterances per "
        "label. AUC: trapezoid / 1000, as in the paper; normalised: divided by the width of the "
        "range (/ 950 for 50 to 1000).",
        f"Grey rows: {paper.DIGITISED}; their areas are computed from the digitised points.",
        settings_note([one.method for one, _ in curves]),
        _chance_note([block]),
    ]
    columns = ("Upstream", "Method", *map(str, points), "AUC", "AUC normalised", "Runs")
    return make_table("low-resource", "Few training utterances per label", columns, rows, notes)


def records(blocks: Iterable[Block]) -> list[dict[str, str | int | float | None]]:
    """Return every number of the score tables in full precision, one record per metric."""
    return [
        record_of(
            one.method,
            block.protocol,
            metric,
            mean=one.scores[metric],
            pooled=one.intervals.get(metric),
            tested=one.comparison if metric == "wa" else None,
            p_holm=one.p_holm,
            p_wilcoxon_holm=one.p_wilcoxon_holm,
            planned=one.num_planned,
            chance={"wa": block.chance.wa, "ua": block.chance.ua}.get(metric),
        )
        for block in blocks
        for one in block.estimates
        for metric in METRICS
    ]


def findings(blocks: Iterable[Block]) -> list[tuple[str, list[str]]]:
    """Return what the paired tests say: a sentence per table, and those effects that were found."""
    sentences = []
    for block in blocks:
        tested = [one for one in block.estimates if one.comparison is not None]
        found = [one for one in tested if (1.0 if one.p_holm is None else one.p_holm) < _LEVEL]
        found.sort(key=lambda one: -abs(one.comparison.difference if one.comparison else 0.0))
        head = (
            f"{block.protocol}: {len(found)} of {len(tested)} paired comparisons with "
            "strategy none can be told from no effect (5 % level, Holm)"
        )
        if len(found) > _MOST_FINDINGS:
            head += f"; the {_MOST_FINDINGS} largest"
        if tested:
            below = [_finding(one) for one in found[:_MOST_FINDINGS]]
            sentences.append((head + (":" if found else "."), below))
    return sentences


def _finding(one: Estimate) -> str:
    tested = one.comparison
    assert tested is not None
    return (
        f"{one.method.upstream}, {one.method.label}: {signed_points(tested.difference)} "
        f"points WA ({span(tested.low, tested.high, signed_points)}), p {p_value(one.p_holm)}, "
        f"{tested.num_pairs} paired runs."
    )


def _our_row(method: Method, columns: Sequence[dict[Method, Estimate]]) -> TableRow:
    si, sd, low = (column.get(method) for column in columns)
    curve = low.curve if low else None
    texts = [_mean_std(one, "wa") if one else NOTHING for one in (si, sd)]
    texts += [percent(curve.paper_auc if curve else None)]
    texts += [percent(curve.normalised_auc if curve else None)]
    counts = [_n_of_m(one) if one else NOTHING for one in (si, sd)]
    counts.append(str(sum(curve.num_runs)) if curve else NOTHING)
    cells = ("ours", f"{method.upstream}, {method.label}", *texts, " / ".join(counts))
    return TableRow(cells=cells, kind=method.row_kind)


def _mean_std(one: Estimate, metric: str) -> str:
    return with_deviation(*one.scores[metric])


def _n_of_m(one: Estimate) -> str:
    return n_of_m(len(one.rows), one.num_planned)


def _chance_note(blocks: Iterable[Block]) -> str:
    parts = [
        f"{block.protocol}: WA {percent(block.chance.wa)} (always {block.chance.majority}), "
        f"UA {percent(block.chance.ua)}"
        for block in blocks
    ]
    return f"Chance level: {'; '.join(parts)}." if parts else ""


def _one_decimal(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
