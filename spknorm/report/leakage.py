"""What the probes found: the audit's tables, and accuracy against leakage.

After `scores.py` in the report. A probe is a fresh classifier on frozen features; an adversary
at chance during training proves nothing, so nothing here comes from the training curves.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from spknorm.report import paper
from spknorm.report.methods import Method
from spknorm.report.scores import Block, Estimate
from spknorm.report.tables import NOTHING, Table, TableRow, make_table, percent, span
from spknorm.runs import Run, Runs
from spknorm.runs.probes import ProbeRow, rank_of
from spknorm.statistics import MeanStd, mean_std

if TYPE_CHECKING:
    from pandas import DataFrame

_PROBES = ("linear", "mlp", "knn", "eer")
_PROBE_NAMES = {"linear": "Linear", "mlp": "MLP", "knn": "k-NN", "eer": "EER"}
_STAGE_NAMES = {"raw": "raw upstream", "none": "fine-tuned, adversary off"}
_CONTROL_NAMES = {"shuffled": "control: shuffled labels", "chance": "control: chance"}


class TradeOff(NamedTuple):
    """A method on the plane of leakage (of the probed runs) and WA (of all its runs); fractions."""

    method: Method
    leakage: MeanStd
    wa: MeanStd


class Frontier(NamedTuple):
    """Accuracy against leakage for one upstream.

    Attributes:
        upstream: Its name.
        axis: What the leakage is: probe, layer and corpus in words.
        protocol: Of the accuracies.
        points: The methods.
        raw: Leakage of the upstream as it came, None where not probed.
        chance: What guessing the speaker scores, None where not told.
    """

    upstream: str
    axis: str
    protocol: str
    points: tuple[TradeOff, ...]
    raw: float | None
    chance: float | None


def probed_rows(runs: Runs, blocks: Iterable[Block]) -> "DataFrame":
    """Return every probe once, with its `subject` (the method it was made of) and its `rank`."""
    import pandas as pd

    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for block in blocks:
        for number, one in enumerate(block.estimates, start=1):
            name = one.method.label
            name = _STAGE_NAMES["none"] if name == "none" else name
            for row in (row for run in one.rows["run"] for row in run.probes):
                raw = row.stage == "raw"
                subject = _STAGE_NAMES["raw"] if raw else name
                _add(found, row, subject, f"{0 if raw else number:04}")
    for row in runs.probes:
        name = _STAGE_NAMES.get(row.stage, row.stage)
        _add(found, row, name, f"{rank_of(row.stage):04}")
    table = pd.DataFrame([*found.values()])
    return table if len(table) else pd.DataFrame(columns=["label", "layer", "control"])


def audit_tables(probed: "DataFrame") -> list[Table]:
    """Return one table per probed corpus and label."""
    if not len(probed):
        return []
    kinds = {*zip(probed["label"], probed["corpus"], strict=True)}
    order = sorted(kinds, key=lambda kind: (kind[0] != "speaker", kind[1] != "speaker", kind))
    return [
        _audit_table(probed[(probed["label"] == label) & (probed["corpus"] == corpus)])
        for label, corpus in order
    ]


def frontiers(runs: Runs, blocks: Iterable[Block]) -> list[Frontier]:
    """Return accuracy against leakage, per upstream, from runs that have both."""
    for block in blocks:
        pairs = block.by_upstream().items()
        found = [_frontier(runs, block, estimates, upstream) for upstream, estimates in pairs]
        found = [one for one in found if len(one.points) > 1]
        if found:
            return found  # one protocol is enough: the first in order, si5 where it was run
    return []


def not_audited(blocks: Iterable[Block]) -> list[str]:
    """Return the methods of which nothing was probed though others of the same table were."""
    missing: list[str] = []
    for block in blocks:
        done = {
            one.method
            for one in block.estimates
            if any(_own_rows(one, run) for run in one.rows["run"])
        }
        left = [one.method for one in block.estimates if one.method not in done]
        if done:
            missing += [f"{one.upstream}, {one.label}" for one in left if not one.erasure]
            break
    return missing


def _add(found: dict[tuple[Any, ...], dict[str, Any]], row: Any, subject: str, rank: str) -> None:
    found[row, subject] = vars(row) | {"subject": subject, "rank": rank}


def _own_rows(one: Estimate, run: Run) -> list[ProbeRow]:
    """Return a run's speaker probes of what its method made of the upstream (raw, if nothing)."""
    rows = [row for row in run.probes if row.label == "speaker"]
    untouched = one.method.frozen and one.method.is_reference
    return [row for row in rows if row.stage != "raw"] or rows * untouched


def _frontier(runs: Runs, block: Block, estimates: Sequence[Estimate], upstream: str) -> Frontier:
    rows = [row for one in estimates for run in one.rows["run"] for row in run.probes]
    rows += [row for row in runs.probes if row.upstream == upstream]
    wanted = [row for row in rows if row.label == "speaker" and row.probe != "eer"]
    keys = {(row.corpus, row.probe, row.layer) for row in wanted if row.control is None}
    key = min(keys, key=_preference, default=("", "", ""))
    chosen = [row for row in wanted if (row.corpus, row.probe, row.layer) == key]
    plain = {row for row in chosen if row.control is None}
    points = []
    for one in estimates:
        found = []
        for run in one.rows["run"]:
            own = [row for row in _own_rows(one, run) if row in plain]
            if not own and _is_only_of_its_stage(one, estimates):
                own = [row for row in runs.probes if row in plain]
                own = [row for row in own if row.stage == one.method.strategy]
            found += [row.accuracy for row in own[:1]]
        if found:
            points.append(TradeOff(one.method, mean_std(found), one.scores["wa"]))
    raw = [row.accuracy for row in dict.fromkeys(chosen) if row in plain and row.stage == "raw"]
    least = [row.accuracy for row in chosen if row.control == "chance"]
    corpus, probe, layer = key
    return Frontier(
        upstream=upstream,
        axis=f"{_PROBE_NAMES.get(probe, probe)} probe, {_layer(layer)}, {corpus} corpus",
        protocol=block.protocol,
        points=tuple(points),
        raw=mean_std(raw).mean if raw else None,
        chance=least[0] if least else None,
    )


def _is_only_of_its_stage(one: Estimate, estimates: Sequence[Estimate]) -> bool:
    methods = [other.method for other in estimates]
    plain = [other for other in methods if not (other.erasure or other.shuffled)]
    return [other for other in plain if other.strategy == one.method.strategy] == [one.method]


def _preference(key: tuple[str, str, str]) -> tuple[bool, int, bool, tuple[str, str, str]]:
    corpus, probe, layer = key
    return corpus != "speaker", _probe_rank(probe)[0], layer not in ("head", "last"), key


def _audit_table(probed: "DataFrame") -> Table:
    label, corpus = probed.iloc[0]["label"], probed.iloc[0]["corpus"]
    named = {*probed["layer"]} & {"head", "last", "weighted"}
    if named:  # single layers are drawn, not listed
        probed = probed[probed["layer"].isin(named)]
    probes = sorted({*probed["probe"]}, key=_probe_rank)
    plain, controls = probed[probed["control"].isna()], probed[probed["control"].notna()]
    rows = []
    for upstream in sorted({*probed["upstream"]}):
        for found, keys, kind in ((plain, ["rank", "layer", "subject"], "ours"),
                                  (controls, ["control", "layer"], "control")):  # fmt: skip
            own = found[found["upstream"] == upstream]
            for place, wanted in own.groupby(keys):
                name = place[2] if kind == "ours" else _CONTROL_NAMES.get(place[0], place[0])
                cells = [_accuracy(wanted[wanted["probe"] == probe]) for probe in probes]
                cells = [upstream, name, _layer(place[1]), *cells]
                rows.append(TableRow(cells=(*cells,), kind="ours" if kind == "ours" else "control"))
    sizes = probed[(probed["probe"] != "eer") & probed["n"].notna()]
    classes = sizes["num_classes"].where(sizes["num_classes"].notna(), 0)
    units = {*zip(sizes["n"], classes, strict=True)}
    stands = [
        f"{n:.0f} utterances" + (f" of {k:.0f} classes" if k else "")
        for n, k in sorted(units, key=str)
    ]
    what = "How well the speaker can be told" if label == "speaker" else f"What was kept: {label}"
    notes = [
        f"Accuracy in percent of fresh probes that predict the {label} on held-out utterances of "
        f"the {corpus} corpus, on frozen features (EER: equal error rate of verification, where 50 "
        "is chance and higher means less leakage). In square brackets the 95 % interval of one "
        "audit; ± is the standard deviation over several, whose number stands in round brackets. "
        "Grey rows are controls, over all stages.",
        f"Tested on {'; '.join(stands)}." if stands else "",
    ]
    if (label, corpus) == ("speaker", "speaker"):
        notes.append(
            f"The paper: {paper.LEAKAGE['before']} before and {paper.LEAKAGE['after']} after "
            f"normalisation ({paper.SECOND_HAND}); on which corpus and with which head is not "
            "known, and it has no control for fine-tuning alone."
        )
    title = f"{what}, on the {corpus} corpus"
    columns = ("Upstream", "Stage", "Layer", *(_PROBE_NAMES.get(name, name) for name in probes))
    return make_table(f"audit-{label}-{corpus}", title, columns, rows, notes, num_heads=3)


def _accuracy(rows: "DataFrame") -> str:
    if not len(rows):
        return NOTHING
    if len(rows) > 1:
        found = mean_std(rows["accuracy"])
        if found.std == 0:
            return f"{percent(found.mean)} ({found.n})"
        return f"{percent(found.mean)} ± {percent(found.std)} ({found.n})"
    low, value, high = rows.iloc[0][["low", "accuracy", "high"]]
    if low != low or high != high or None in (low, high) or low == high:
        return percent(value)
    return f"{percent(value)} [{span(low, high)}]"


def _layer(layer: str) -> str:
    names = {"head": "as the head sees it", "last": "last layer", "weighted": "weighted sum"}
    return names.get(layer, f"layer {layer}")


def _probe_rank(probe: str) -> tuple[int, str]:
    return (_PROBES.index(probe) if probe in _PROBES else len(_PROBES)), probe
