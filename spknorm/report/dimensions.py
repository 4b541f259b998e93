"""The tables of runs that predict arousal, valence and dominance: CCC with intervals over speakers.

Beside `score_tables.py`, whose rows are of classes; the two are never in one table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spknorm.errors import DataError
from spknorm.report.methods import Method, num_planned, settings_note, with_methods
from spknorm.report.scores import paired, record_of
from spknorm.report.splits import title_of
from spknorm.report.tables import Table, TableRow, make_table, n_of_m, p_value, span
from spknorm.runs import Runs
from spknorm.statistics import Comparison, holm, interval, mean_std, pool_speakers
from spknorm.statistics.agreement import CCC

if TYPE_CHECKING:
    from pandas import DataFrame

_NOTES = (
    "CCC: concordance correlation of prediction and rating, -1 to 1, of each dimension and their "
    "mean: mean ± standard deviation over runs, each fold and seed counting alike. Interval: "
    "95 %, over all utterances pooled, by bootstrap over whole speakers."
)


@dataclass(frozen=True)
class _Block:
    """The methods of one task and protocol: their runs, and the dimensions of all."""

    protocol: str
    names: tuple[str, ...]
    methods: Mapping[Method, "DataFrame"]
    rows: "DataFrame"

    def by_speaker(self, row: Any, name: str) -> dict[str, list[float]]:
        """Return the six sums of each speaker in one run and dimension."""
        return {who: sums[name] for who, sums in row.test.by_speaker.items()}


def dimension_tables(runs: Runs) -> list[Table]:
    """Return CCC per method and, where there is a strategy none, the paired tests against it."""
    tables: list[Table] = []
    for block in _blocks(runs):
        tables.append(_scores(block, runs))
        tested = _comparisons(block)
        if tested:
            tables.append(_tests(block, tested))
    return tables


def dimension_records(runs: Runs) -> list[dict[str, str | int | float | None]]:
    """Return every number of these tables in full precision, as table.csv has those of classes."""
    found = []
    for block in _blocks(runs):
        tested = _comparisons(block)
        columns = ([one.p_bootstrap for one in tested.values()],
                   [one.p_wilcoxon for one in tested.values()])  # fmt: skip
        p_values, p_runs = (dict(zip(tested, holm(column), strict=True)) for column in columns)
        for method, rows in block.methods.items():
            for name in block.names:
                found.append(
                    record_of(
                        method,
                        block.protocol,
                        f"{CCC}_{name}",
                        mean=mean_std(_values(rows, name)),
                        pooled=_interval(block, rows, name),
                        tested=tested.get((method, name)),
                        p_holm=p_values.get((method, name)),
                        p_wilcoxon_holm=p_runs.get((method, name)),
                        planned=num_planned(method, rows, runs, len(rows)),
                        chance=0.0,
                    )
                )
    return found


def _blocks(runs: Runs) -> Iterator[_Block]:
    if not runs.of_dimensions:
        return
    table = with_methods(replace(runs, runs=runs.of_dimensions))
    for (_, protocol), rows in table.groupby(["task", "protocol"]):
        groups = sorted(rows.groupby("method", sort=False), key=lambda pair: pair[0].sort_key())
        known = [one.names for one in rows["dimensions"]]
        names = tuple(name for name in known[0] if all(name in other for other in known))
        yield _Block(str(protocol), names, dict(groups), rows)


def _scores(block: _Block, runs: Runs) -> Table:
    lines = []
    for method, rows in block.methods.items():
        cells = [method.upstream, method.label]
        for name in block.names:
            around = _interval(block, rows, name)
            cells.append(_mean_std(_values(rows, name)))
            cells.append(span(around.low, around.high, _ccc) if around else "no interval")
        cells.append(_mean_std([one.test.mean for one in rows["dimensions"]]))
        cells.append(n_of_m(len(rows), num_planned(method, rows, runs, len(rows))))
        lines.append(TableRow(cells=tuple(cells), kind=method.row_kind))
    heads = [head for name in block.names for head in (f"{name} CCC", "interval")]
    scales = dict.fromkeys((one.low, one.high) for one in block.rows["dimensions"])
    notes = [
        _NOTES,
        "Scale: " + ", ".join(f"{low:g} to {high:g}" for low, high in scales) + ".",
        settings_note([*block.methods]),
    ]
    return make_table(
        f"dimensions-{block.protocol}",
        f"{title_of(block.protocol, block.rows)}: dimensions",
        ("Upstream", "Method", *heads, "Mean CCC", "Runs"),
        lines,
        notes,
    )


def _tests(block: _Block, tested: Mapping[tuple[Method, str], Comparison]) -> Table:
    p_values = holm([one.p_bootstrap for one in tested.values()])
    lines = [
        TableRow(
            cells=(
                method.upstream,
                method.label,
                name,
                _signed_ccc(one.difference),
                span(one.low, one.high, _signed_ccc),
                p_value(p),
                str(one.num_speakers),
                str(one.num_pairs),
            )
        )
        for ((method, name), one), p in zip(tested.items(), p_values, strict=True)
    ]
    note = (
        "Δ CCC on identical folds and seeds, all utterances pooled, with its 95 % interval over "
        f"speakers; p: paired bootstrap, two-sided, corrected after Holm over the {len(lines)} "
        "tests of this table. No effect is 0."
    )
    heads = ("Δ CCC", "Interval", "p over speakers", "Speakers", "Paired runs")
    return make_table(
        f"dimensions-comparison-{block.protocol}",
        f"Dimensions against strategy none, protocol {block.protocol}",
        ("Upstream", "Method", "Dimension", *heads),
        lines,
        [note],
        num_heads=3,
    )


def _comparisons(block: _Block) -> dict[tuple[Method, str], Comparison]:
    """Return the paired tests against strategy none, on the runs that both have."""
    found = {}
    for method, rows in block.methods.items():
        reference = block.methods.get(method.reference())
        if method.is_reference or reference is None:
            continue
        for name in block.names:
            ours, theirs = (_by_place(block, side, name) for side in (rows, reference))
            if tested := paired(ours, theirs, CCC):
                found[method, name] = tested
    return found


def _by_place(block: _Block, rows: "DataFrame", name: str) -> dict[tuple[Any, ...], Any]:
    places = zip(rows["fold"], rows["seed"], rows["dimensions"], strict=True)
    return {(fold, seed): block.by_speaker(one, name) for fold, seed, one in places}


def _values(rows: "DataFrame", name: str) -> list[float]:
    return [one.test.ccc[name] for one in rows["dimensions"]]


def _interval(block: _Block, rows: "DataFrame", name: str) -> Any:
    try:
        pooled = pool_speakers(block.by_speaker(one, name) for one in rows["dimensions"])
        return interval(pooled, CCC)
    except DataError:
        return None


def _mean_std(values: list[float]) -> str:
    score = mean_std(values)
    return f"{_ccc(score.mean)} ± {score.std:.3f}" if score.n > 1 else _ccc(score.mean)


def _ccc(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def _signed_ccc(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
