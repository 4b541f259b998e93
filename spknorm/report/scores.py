"""The tables of scores: beside the paper's Table 1, one per protocol, the low-resource curve.

After `estimates.py` and `paper.py` in the report.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spknorm.report import paper
from spknorm.report.estimates import METRICS, Chance, Curve, Estimate, chance, curve
from spknorm.report.methods import Block, Method
from spknorm.report.results import Run
from spknorm.report.tables import NOTHING, Row, Table, p_value, percent, signed_points

_LEVEL = 0.05
_MOST_FINDINGS = 4


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A block with all that is computed from it, once."""

    block: Block
    estimates: tuple[Estimate, ...]
    chance: Chance
    curves: dict[Method, Curve]

    @property
    def runs(self) -> list[Run]:
        """All runs of the block."""
        return [run for group in self.block.groups for run in group.runs]


def score_block(block: Block, estimates: Iterable[Estimate]) -> Scored:
    """Bring a block and its estimates together with chance and, in low resource, the curves."""
    runs = [run for group in block.groups for run in group.runs]
    low = block.protocol == "low_resource"
    curves = {group.method: curve(group.runs) for group in block.groups} if low else {}
    return Scored(block=block, estimates=tuple(estimates), chance=chance(runs), curves=curves)


def corpora_of(runs: Iterable[Run]) -> list[str]:
    """Return the emotion corpora that the runs name."""
    found = set()
    for run in runs:
        expert = run.config.get("downstream_expert")
        data = expert.get("datarc") if isinstance(expert, dict) else None
        corpus = data.get("corpus") if isinstance(data, dict) else None
        found.add(corpus if isinstance(corpus, str) else "not named")
    return sorted(found)


def paper_table(scored: Sequence[Scored], task: str) -> Table:
    """Return Table 1: the paper's rows, and ours under the row they repeat."""
    blocks = {entry.block.protocol: entry for entry in scored if entry.block.task == task}
    cells = {
        protocol: {found.method: found for found in entry.estimates}
        for protocol, entry in blocks.items()
    }
    curves = blocks["low_resource"].curves if "low_resource" in blocks else {}
    columns = {name: cells.get(name, {}) for name in ("si5", "sd")}
    ours = sorted({*columns["si5"], *columns["sd"], *curves}, key=Method.sort_key)
    rows: list[Row] = []
    placed: set[Method] = set()
    for line in paper.TABLE_1:
        numbers = [_one_decimal(value) for value in (line.si5_wa, line.sd_wa, line.auc)]
        normalised = None if line.auc is None else line.auc * 1000 / 950
        cells_of_row = ("paper", line.name, *numbers, _one_decimal(normalised), NOTHING)
        rows.append(Row(cells=cells_of_row, kind="paper"))
        for method in ours:
            repeats = paper.upstream_name(method.upstream) == line.upstream is not None
            family = "none" if method.family in ("leace", "znorm") else method.strategy
            if repeats and family == line.strategy:
                rows.append(_our_row(method, columns, curves))
                placed.add(method)
    rows += [_our_row(method, columns, curves) for method in ours if method not in placed]
    corpora = corpora_of(run for entry in blocks.values() for run in entry.runs)
    notes = [
        "SI: 5 folds, one session held out; SD: random split. Metric: WA, the share of utterances "
        "classified right, in percent. Ours: mean ± standard "
        "deviation over all runs (fold x seed; with n of m where runs are outstanding). AUC: area "
        "under WA against training utterances per label, the paper's (trapezoid / 1000, at most "
        "95) and the normalised one (/ 950, at most 100).",
        f"Grey rows: {paper.READ_OFF} ({paper.CITATION}), on IEMOCAP; how the paper averaged its "
        "folds, and over how many runs, is not known, and it gives no deviations. Its normalised "
        "AUC is its AUC x 1000 / 950.",
        _chance_note(blocks.values()),
    ]
    if corpora != [paper.CORPUS]:
        notes.append(
            f"Ours are on another corpus ({', '.join(corpora)}): the paper's rows stand here for "
            "orientation and are not to be compared with."
        )
    heads = ("Source", "System", "SI WA", "SD WA", "AUC", "AUC normalised", "Runs SI / SD / AUC")
    return Table(
        name="paper",
        title="Ours beside the paper's Table 1",
        notes=tuple(note for note in notes if note),
        columns=heads,
        rows=tuple(rows),
        num_heads=2,
    )


def accuracy_table(scored: Scored) -> Table:
    """Return the metrics of one protocol's methods, with deviations and intervals."""
    rows = []
    for found in scored.estimates:
        interval, spread = found.intervals.get("wa"), found.spread
        cells = (
            found.method.upstream_label,
            found.method.label,
            _mean_std(found, "wa"),
            _interval(interval.low, interval.high) if interval else NOTHING,
            _mean_std(found, "ua"),
            _mean_std(found, "macro_f1"),
            f"{spread.worst} {percent(spread.worst_ua)}" if spread else NOTHING,
            percent(spread.spread) if spread else NOTHING,
            _n_of_m(len(found.group.runs), found.group.num_planned),
        )
        rows.append(Row(cells=cells, kind="control" if found.method.shuffled else "ours"))
    return Table(
        name=f"accuracy-{scored.block.protocol}",
        title=f"Protocol {scored.block.protocol}: {scored.block.title}",
        notes=(
            "WA, UA (mean recall of the classes) and macro-F1 in percent: mean ± standard "
            "deviation over runs, each fold and seed counting alike. Interval: 95 %, of WA over "
            "all utterances pooled, by bootstrap over whole speakers. Worst speaker: the lowest UA "
            "of any; spread: from there to the best."
            + (" Runs of all sizes together." if scored.curves else ""),
            _chance_note([scored]),
        ),
        columns=(
            "Upstream",
            "Method",
            "WA",
            "WA interval",
            "UA",
            "macro-F1",
            "Worst speaker, UA",
            "Spread",
            "Runs",
        ),
        rows=tuple(rows),
        num_heads=2,
    )


def comparison_table(scored: Scored) -> Table | None:
    """Return the paired tests of one protocol against strategy none, None without any."""
    rows = []
    for found in scored.estimates:
        if found.comparison is None:
            continue
        tested = found.comparison
        cells = (
            found.method.upstream_label,
            found.method.label,
            signed_points(tested.difference),
            _interval(tested.low, tested.high, signed=True),
            p_value(found.p_holm),
            p_value(found.p_wilcoxon_holm),
            str(tested.num_speakers),
            str(tested.num_pairs),
        )
        rows.append(Row(cells=cells, kind="control" if found.method.shuffled else "ours"))
    if not rows:
        return None
    return Table(
        name=f"comparison-{scored.block.protocol}",
        title=f"Against strategy none, protocol {scored.block.protocol}",
        notes=(
            "Δ WA: percentage points on identical folds, seeds and draws, all utterances pooled, "
            "with its 95 % interval over speakers. p over speakers: paired bootstrap; p over runs: "
            f"Wilcoxon signed-rank. Both two-sided, corrected after Holm over the {len(rows)} "
            "tests of this table. No effect is 0.",
        ),
        columns=(
            "Upstream",
            "Method",
            "Δ WA",
            "Interval",
            "p over speakers",
            "p over runs",
            "Speakers",
            "Paired runs",
        ),
        rows=tuple(rows),
        num_heads=2,
    )


def low_resource_table(scored: Scored) -> Table:
    """Return the low-resource curves as numbers, the paper's in grey."""
    points = sorted({n for found in scored.curves.values() for n in found.num_samples})
    rows = []
    if set(points) & set(paper.NUM_POINTS):
        from spknorm.statistics import normalised_auc, paper_auc

        for strategy, values in paper.CURVES.items():
            known = dict(zip(paper.NUM_POINTS, values, strict=True))
            areas = [f(paper.NUM_POINTS, values) for f in (paper_auc, normalised_auc)]
            numbers = [_one_decimal(known.get(n)) for n in points]
            texts = (f"paper: {strategy}", *numbers, *map(_one_decimal, areas), NOTHING)
            rows.append(Row(cells=("HuBERT Large", *texts), kind="paper"))
    for group in scored.block.groups:
        found = scored.curves[group.method]
        means = dict(zip(found.num_samples, found.mean.tolist(), strict=True))
        rows.append(
            Row(
                cells=(
                    group.method.upstream_label,
                    group.method.label,
                    *(percent(means.get(n)) for n in points),
                    percent(found.paper_auc),
                    percent(found.normalised_auc),
                    _n_of_m(len(group.runs), group.num_planned),
                )
            )
        )
    notes = [
        "WA in percent, mean over folds, draws and seeds, at up to so many training utterances per "
        "label. AUC: trapezoid / 1000, as in the paper; normalised: divided by the width of the "
        "range (/ 950 for 50 to 1000).",
        f"Grey rows: {paper.DIGITISED}; their areas are computed from the digitised points.",
        _chance_note([scored]),
    ]
    return Table(
        name="low-resource",
        title="Few training utterances per label",
        notes=tuple(notes),
        columns=("Upstream", "Method", *map(str, points), "AUC", "AUC normalised", "Runs"),
        rows=tuple(rows),
        num_heads=2,
    )


def records(scored: Iterable[Scored]) -> list[dict[str, str | int | float | None]]:
    """Return every number of the score tables in full precision, one record per metric."""
    found: list[dict[str, str | int | float | None]] = []
    for entry in scored:
        for row in entry.estimates:
            for metric in METRICS:
                mean, interval = row.scores[metric], row.intervals.get(metric)
                tested = row.comparison if metric == "wa" else None
                found.append(
                    {
                        "task": row.method.task,
                        "protocol": entry.block.protocol,
                        "upstream": row.method.upstream_label,
                        "method": row.method.label,
                        "metric": metric,
                        "mean": mean.mean,
                        "std": mean.std,
                        "pooled": interval.value if interval else None,
                        "low": interval.low if interval else None,
                        "high": interval.high if interval else None,
                        "difference": tested.difference if tested else None,
                        "difference_low": tested.low if tested else None,
                        "difference_high": tested.high if tested else None,
                        "p_speakers_holm": row.p_holm if tested else None,
                        "p_runs_holm": row.p_wilcoxon_holm if tested else None,
                        "pairs": tested.num_pairs if tested else None,
                        "runs": mean.n,
                        "runs_planned": row.group.num_planned,
                        "chance": {"wa": entry.chance.wa, "ua": entry.chance.ua}.get(metric),
                    }
                )
    return found


def findings(scored: Iterable[Scored]) -> list[tuple[str, list[str]]]:
    """Return what the paired tests say: a sentence per table, and those effects that were found."""
    sentences = []
    for entry in scored:
        tested = [row for row in entry.estimates if row.comparison is not None]
        found = [row for row in tested if (1.0 if row.p_holm is None else row.p_holm) < _LEVEL]
        found.sort(key=lambda row: -abs(row.comparison.difference if row.comparison else 0.0))
        head = (
            f"{entry.block.protocol}: {len(found)} of {len(tested)} paired comparisons with "
            "strategy none can be told from no effect (5 % level, Holm)"
        )
        if len(found) > _MOST_FINDINGS:
            head += f"; the {_MOST_FINDINGS} largest"
        if tested:
            below = [_finding(row) for row in found[:_MOST_FINDINGS]]
            sentences.append((head + (":" if found else "."), below))
    return sentences


def _finding(row: Estimate) -> str:
    tested = row.comparison
    assert tested is not None
    return (
        f"{row.method.upstream_label}, {row.method.label}: {signed_points(tested.difference)} "
        f"points WA ({_interval(tested.low, tested.high, signed=True)}), p {p_value(row.p_holm)}, "
        f"{tested.num_pairs} paired runs."
    )


def _our_row(
    method: Method,
    columns: dict[str, dict[Method, Estimate]],
    curves: dict[Method, Curve],
) -> Row:
    texts, counts = [], []
    for protocol in ("si5", "sd"):
        found = columns[protocol].get(method)
        texts.append(_mean_std(found, "wa") if found else NOTHING)
        counts.append(_n_of_m(len(found.group.runs), found.group.num_planned) if found else NOTHING)
    area = curves.get(method)
    texts += [percent(area.paper_auc if area else None)]
    texts += [percent(area.normalised_auc if area else None)]
    counts.append(str(sum(area.num_runs)) if area else NOTHING)
    name = f"{method.upstream_label}, {method.label}"
    cells = ("ours", name, *texts, " / ".join(counts))
    return Row(cells=cells, kind="control" if method.shuffled else "ours")


def _mean_std(found: Estimate, metric: str) -> str:
    score = found.scores[metric]
    return f"{percent(score.mean)} ± {percent(score.std)}" if score.n > 1 else percent(score.mean)


def _interval(low: float, high: float, *, signed: bool = False) -> str:
    show = signed_points if signed else percent
    return f"{show(low)} to {show(high)}"


def _n_of_m(done: int, planned: int) -> str:
    return str(done) if done >= planned else f"{done} of {planned}"


def _chance_note(scored: Iterable[Scored]) -> str:
    parts = [
        f"{entry.block.protocol}: WA {percent(entry.chance.wa)} (always {entry.chance.majority}), "
        f"UA {percent(entry.chance.ua)}"
        for entry in scored
    ]
    return f"Chance level: {'; '.join(parts)}." if parts else ""


def _one_decimal(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
