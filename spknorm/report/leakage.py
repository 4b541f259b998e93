"""What the probes found: the audit's tables, and accuracy against leakage.

After `estimates.py` in the report. A probe is a fresh classifier on frozen features; an adversary
at chance during training proves nothing, so nothing here comes from the training curves.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spknorm.report import paper
from spknorm.report.methods import Block, Group, Method
from spknorm.report.results import Results
from spknorm.report.tables import NOTHING, Row, Table, percent
from spknorm.runs.probes import ProbeRow
from spknorm.statistics import MeanStd, mean_std

_PROBES = ("linear", "mlp", "knn", "eer")
_PROBE_NAMES = {"linear": "Linear", "mlp": "MLP", "knn": "k-NN", "eer": "EER"}
_STAGES = ("raw", "none", "SNP", "TAP")
_STAGE_NAMES = {"raw": "raw upstream", "none": "fine-tuned, adversary off"}
_CONTROL_NAMES = {"shuffled": "control: shuffled labels", "chance": "control: chance"}


class Probed(NamedTuple):
    """A probe's row with the name of what was probed: a stage, or the method of a run."""

    subject: str
    rank: tuple[int, str]
    row: ProbeRow


class Point(NamedTuple):
    """A method on the plane of leakage (of the probed runs) and WA (of all its runs); fractions."""

    method: Method
    leakage: MeanStd
    wa: MeanStd


class Frontier(NamedTuple):
    """Accuracy against leakage for one upstream.

    Attributes:
        upstream: Its name.
        axis: What the leakage is: probe, layer and corpus in words.
        points: The methods.
        raw: Leakage of the upstream as it came, None where not probed.
        chance: What guessing the speaker scores, None where not told.
    """

    upstream: str
    axis: str
    points: tuple[Point, ...]
    raw: float | None
    chance: float | None


def probed_rows(results: Results, blocks: Iterable[Block]) -> list[Probed]:
    """Return every probe once, named after the method of the run that it stands beside."""
    found: dict[Probed, None] = {}
    for block in blocks:
        for number, group in enumerate(block.groups):
            for run in group.runs:
                for row in run.probes:
                    own = row.stage != "raw"
                    name = group.method.full_label if own else _STAGE_NAMES["raw"]
                    name = _STAGE_NAMES["none"] if name == "none" else name
                    found[Probed(name, (number + 1, name) if own else (0, ""), row)] = None
    for row in results.probes:
        rank = _STAGES.index(row.stage) if row.stage in _STAGES else len(_STAGES)
        found[Probed(_STAGE_NAMES.get(row.stage, row.stage), (rank, row.stage), row)] = None
    return list(found)


def audit_tables(probed: Sequence[Probed]) -> list[Table]:
    """Return one table per probed corpus and label."""
    kinds = sorted(
        {
            (
                entry.row.label != "speaker",
                entry.row.corpus != "speaker",
                entry.row.label,
                entry.row.corpus,
            )
            for entry in probed
        }
    )
    return [_audit_table(probed, label, corpus) for _, _, label, corpus in kinds]


def frontiers(results: Results, blocks: Iterable[Block]) -> list[Frontier]:
    """Return accuracy against leakage, per upstream, from runs that have both."""
    found = []
    for block in blocks:
        for upstream in dict.fromkeys(group.method.upstream for group in block.groups):
            groups = [group for group in block.groups if group.method.upstream == upstream]
            frontier = _frontier(results, block, groups, upstream)
            if len(frontier.points) > 1:
                found.append(frontier)
        if found:
            break  # one protocol is enough: the first in order, si5 where it was run
    return found


def _frontier(results: Results, block: Block, groups: Sequence[Group], upstream: str) -> Frontier:
    rows = [row for group in groups for run in group.runs for row in run.probes]
    rows += [row for row in results.probes if row.upstream == upstream]
    wanted = [row for row in rows if row.label == "speaker" and row.probe != "eer"]
    keys = {(row.corpus, row.probe, row.layer) for row in wanted if row.control is None}
    key = min(keys, key=_preference, default=None)
    chosen = dict.fromkeys(row for row in wanted if (row.corpus, row.probe, row.layer) == key)
    points = []
    for group in groups:
        untouched = group.method.frozen and group.method.is_reference
        stage = "raw" if untouched else group.method.strategy
        leakages = []
        for run in group.runs:
            own = [row for row in run.probes if row in chosen and row.stage == stage]
            own = [row for row in own if row.control is None]
            if not own and _is_only_of_its_stage(group, groups):
                own = [
                    row
                    for row in results.probes
                    if row in chosen and row.control is None and row.stage == group.method.strategy
                ]
            leakages += [row.accuracy for row in own[:1]]
        if leakages:
            accuracies = mean_std(run.wa for run in group.runs)
            points.append(Point(group.method, mean_std(leakages), accuracies))
    raw = [row.accuracy for row in chosen if row.stage == "raw" and not row.control]
    least = [row.accuracy for row in chosen if row.control == "chance"]
    corpus, probe, layer = key or ("", "", "")
    axis = f"{_PROBE_NAMES.get(probe, probe)} probe, {_layer(layer)}, {corpus} corpus"
    return Frontier(
        upstream=upstream,
        axis=f"{axis}; WA under {block.protocol}",
        points=tuple(points),
        raw=mean_std(raw).mean if raw else None,
        chance=least[0] if least else None,
    )


def _is_only_of_its_stage(group: Group, groups: Sequence[Group]) -> bool:
    method = group.method
    if method.erasure or method.shuffled:
        return False
    rivals = [other for other in groups if other.method.strategy == method.strategy]
    return sum(not (other.method.erasure or other.method.shuffled) for other in rivals) == 1


def _preference(key: tuple[str, str, str]) -> tuple[bool, int, bool, tuple[str, str, str]]:
    corpus, probe, layer = key
    rank = _PROBES.index(probe) if probe in _PROBES else len(_PROBES)
    return corpus != "speaker", rank, layer != "last", key


def _audit_table(probed: Sequence[Probed], label: str, corpus: str) -> Table:
    chosen = [entry for entry in probed if (entry.row.label, entry.row.corpus) == (label, corpus)]
    named = {entry.row.layer for entry in chosen} & {"last", "weighted"}
    if named:  # single layers are drawn, not listed
        chosen = [entry for entry in chosen if entry.row.layer in named]
    probes = sorted({entry.row.probe for entry in chosen}, key=_probe_rank)
    rows = []
    for upstream in sorted({entry.row.upstream for entry in chosen}):
        found = [entry for entry in chosen if entry.row.upstream == upstream]
        lines = sorted({(entry.rank, entry.row.layer, entry.subject) for entry in found})
        for rank, layer, subject in lines:
            wanted = [e.row for e in found if (e.rank, e.row.layer) == (rank, layer)]
            cells = [_accuracy(wanted, probe, None) for probe in probes]
            if any(cell != NOTHING for cell in cells):
                rows.append(Row(cells=(upstream, subject, _layer(layer), *cells)))
        for control in sorted({e.row.control or "" for e in found} - {""}):
            for layer in sorted({entry.row.layer for entry in found}):
                wanted = [entry.row for entry in found if entry.row.layer == layer]
                cells = [_accuracy(wanted, probe, control) for probe in probes]
                name = _CONTROL_NAMES.get(control, control)
                if any(cell != NOTHING for cell in cells):
                    rows.append(Row(cells=(upstream, name, _layer(layer), *cells), kind="control"))
    units = {
        (entry.row.n, entry.row.num_classes)
        for entry in chosen
        if entry.row.n and entry.row.probe != "eer"
    }
    stands = [
        f"{n} utterances" + (f" of {k} classes" if k else "") for n, k in sorted(units, key=str)
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
    return Table(
        name=f"audit-{label}-{corpus}",
        title=f"{what}, on the {corpus} corpus",
        notes=tuple(note for note in notes if note),
        columns=("Upstream", "Stage", "Layer", *(_PROBE_NAMES.get(name, name) for name in probes)),
        rows=tuple(rows),
        num_heads=3,
    )


def _accuracy(candidates: Sequence[ProbeRow], probe: str, control: str | None) -> str:
    rows = [row for row in candidates if (row.probe, row.control) == (probe, control)]
    if not rows:
        return NOTHING
    if len(rows) > 1:
        found = mean_std(row.accuracy for row in rows)
        if found.std == 0:
            return f"{percent(found.mean)} ({found.n})"
        return f"{percent(found.mean)} ± {percent(found.std)} ({found.n})"
    row = rows[0]
    if row.low is None or row.high is None or row.low == row.high:
        return percent(row.accuracy)
    return f"{percent(row.accuracy)} [{percent(row.low)} to {percent(row.high)}]"


def _layer(layer: str) -> str:
    return {"last": "last layer", "weighted": "weighted sum"}.get(layer, f"layer {layer}")


def _probe_rank(probe: str) -> tuple[int, str]:
    return (_PROBES.index(probe) if probe in _PROBES else len(_PROBES)), probe
