"""What the probes found: the audit's tables, and accuracy against leakage.

After `scores.py` in the report. A probe is a fresh classifier on frozen features; an adversary
at chance during training proves nothing, so nothing here comes from the training curves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spknorm.bench.selection import read_selection
from spknorm.report import paper
from spknorm.report.blocks import Block, Estimate
from spknorm.report.methods import Method
from spknorm.report.tables import NOTHING, RowKind, Table, TableRow, percent, span, with_deviation
from spknorm.report.words import table
from spknorm.runs import Run, Runs
from spknorm.runs.probes import ProbeRow, rank_of
from spknorm.statistics import MeanStd, mean_std

if TYPE_CHECKING:
    from pandas import DataFrame

_PROBES = ("linear", "mlp", "knn", "eer", "verifier")
_PROBE_NAMES = dict(zip(_PROBES, ("Linear", "MLP", "k-NN", "EER", "EER, d-vectors"), strict=True))
RATES = ("eer", "verifier")
"""Probes whose score is an error rate of trials, not an accuracy of utterances."""
_STAGE_NAMES = {"raw": "raw upstream", "none": "fine-tuned, adversary off"}
_LAYERS = {"head": "as the head sees it", "last": "last layer", "weighted": "weighted sum",
           "recording": "the recordings"}  # fmt: skip
_CONTROL_NAMES = {"shuffled": "control: shuffled labels", "chance": "control: chance"}


class TradeOff(NamedTuple):
    """A method on the plane of leakage (of the probed runs) and WA (of all its runs); fractions."""

    method: Method
    leakage: MeanStd
    wa: MeanStd


class Frontier(NamedTuple):
    """Accuracy against leakage for one upstream.

    Attributes:
        axis: What the leakage is: probe, layer and corpus in words.
        raw: Leakage of the upstream as it came, None where not probed, as is `chance`.
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

    found: dict[tuple[ProbeRow, str], str] = {}
    for block in blocks:
        for number, one in enumerate(block.estimates, start=1):
            for row in (row for run in one.rows["run"] for row in run.probes):
                is_raw = row.stage == "raw"
                subject = row.stage if is_raw else one.method.label
                found[row, _STAGE_NAMES.get(subject, subject)] = f"{0 if is_raw else number:04}"
    for row in runs.probes:
        found[row, _STAGE_NAMES.get(row.stage, row.stage)] = f"{rank_of(row.stage):04}"
    names = [*(one.name for one in fields(ProbeRow)), "subject", "rank"]
    rows = (vars(row) | {"subject": of, "rank": rank} for (row, of), rank in found.items())
    return pd.DataFrame(rows, columns=names, dtype=None if found else object)


def audit_tables(probed: "DataFrame") -> list[Table]:
    """Return one table per probed corpus and label."""
    kinds = [*{*zip(probed["label"], probed["corpus"], strict=True)}]
    kinds = sorted(kinds, key=lambda kind: (kind[0] != "speaker", kind[1] != "speaker", kind))
    every = (probed[(probed["label"] == one) & (probed["corpus"] == on)] for one, on in kinds)
    return [*map(_audit_table, every)]


def selection_table(folder: Path) -> Table | None:
    """Return how the bench chose each adversary's lambda, None where nothing was chosen.

    Raises:
        ConfigError: selection.json is malformed; the message names file and key.
    """
    path = folder / "selection.json"
    if not path.is_file():
        return None
    choices = read_selection(path).choices
    doubts = [f"{one.upstream}, {one.variant}: {one.doubt}." for one in choices if one.doubt]
    rows = []
    for choice in choices:
        for one in choice.candidates:
            chosen = one.speaker_lambda == choice.speaker_lambda
            kind = "ours" if chosen else "control"
            rows.append({"choice": choice, "one": one, "chosen": chosen, "kind": kind})
    return table("selection", rows, more=doubts)


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
    for block in blocks:
        left = [one.method for one in block.estimates
                if not any(_own_rows(one, run) for run in one.rows["run"])]  # fmt: skip
        if len(left) < len(block.estimates):
            return [f"{one.upstream}, {one.label}" for one in left if not one.erasure]
    return []


def _own_rows(one: Estimate, run: Run) -> list[ProbeRow]:
    """Return a run's speaker probes of what its method made of the upstream (raw, if nothing)."""
    rows = [row for row in run.probes if row.label == "speaker"]
    untouched = one.method.frozen and one.method.is_reference
    return [row for row in rows if row.stage != "raw"] or rows * untouched


def _frontier(runs: Runs, block: Block, estimates: Sequence[Estimate], upstream: str) -> Frontier:
    rows = [row for one in estimates for run in one.rows["run"] for row in run.probes]
    rows += [row for row in runs.probes if row.upstream == upstream]
    wanted = [row for row in rows if row.label == "speaker" and row.probe not in RATES]
    ranked = sorted(
        (one.corpus != "speaker", _probe_rank(one.probe)[0], one.layer not in ("head", "last"),
         (one.corpus, one.probe, one.layer))
        for one in wanted if one.control is None
    )  # fmt: skip
    key = ranked[0][-1] if ranked else ("", "", "")
    chosen = [row for row in wanted if (row.corpus, row.probe, row.layer) == key]
    plain = {row for row in chosen if row.control is None}
    methods = [one.method for one in estimates]
    points = []
    for one in estimates:
        alike = [other for other in methods if other.strategy == one.method.strategy]
        is_only = [m for m in alike if not (m.erasure or m.shuffled)] == [one.method]
        found = []
        for run in one.rows["run"]:
            own = [row for row in _own_rows(one, run) if row in plain]
            if not own and is_only:  # of its stage, which an audit of the whole bench names
                own = [row for row in runs.probes if row in plain]
                own = [row for row in own if row.stage == one.method.strategy]
            found += [row.accuracy for row in own[:1]]
        if found:
            points.append(TradeOff(one.method, mean_std(found), mean_std(one.rows["wa"])))
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


def _audit_table(probed: "DataFrame") -> Table:
    label, corpus = probed.iloc[0]["label"], probed.iloc[0]["corpus"]
    if named := {*probed["layer"]} & _LAYERS.keys():  # single ones are drawn
        probed = probed[probed["layer"].isin(named)]
    probes = sorted({*probed["probe"]}, key=_probe_rank)
    rows = []
    kinds: tuple[tuple[DataFrame, list[str], RowKind], ...] = (
        (probed[probed["control"].isna()], ["rank", "layer", "subject"], "ours"),
        (probed[probed["control"].notna()], ["control", "layer"], "control"),
    )
    for upstream in sorted({*probed["upstream"]}):
        for found, keys, kind in kinds:
            own = found[found["upstream"] == upstream]
            for place, wanted in own.groupby(keys):
                name = place[2] if kind == "ours" else _CONTROL_NAMES.get(place[0], place[0])
                shown = (_accuracy(wanted[wanted["probe"] == probe]) for probe in probes)
                cells = (upstream, name, _layer(place[1]), *shown)
                rows.append(TableRow(cells=cells, kind=kind))
    sizes = probed[~probed["probe"].isin(RATES) & probed["n"].notna()]
    units = {*zip(sizes["n"], sizes["num_classes"].astype(float).fillna(0), strict=True)}
    columns = [_PROBE_NAMES.get(name, name) for name in probes]
    drawn = probed[probed["learnt_of"].notna()]
    extrapolated = {*zip(drawn["learnt_on"], drawn["learnt_of"], strict=True)}
    about = {"label": label, "corpus": corpus, "units": sorted(units, key=str)}
    about |= {"judged": "verifier" in probes, "extrapolated": sorted(extrapolated)}
    return table("audit", rows, label, corpus, columns=columns, paper=paper, **about)


def _accuracy(rows: "DataFrame") -> str:
    if len(rows) > 1:
        found = mean_std(rows["accuracy"])
        return f"{with_deviation(found.mean, found.std, 2 if found.std else 1)} ({found.n})"
    if not len(rows):
        return NOTHING
    low, value, high = (float("nan") if one is None else one
                        for one in rows.iloc[0][["low", "accuracy", "high"]])  # fmt: skip
    return f"{percent(value)} [{span(low, high)}]" if low < high else percent(value)


def _layer(layer: str) -> str:
    return _LAYERS.get(layer, f"layer {layer}")


def _probe_rank(probe: str) -> tuple[int, str]:
    return (_PROBES.index(probe) if probe in _PROBES else len(_PROBES)), probe
