"""Trained on one corpus, tested on another: the matrix of scores, with intervals over speakers.

Beside `score_tables.py`. A run under the protocol cross tests several corpora at once; its speakers
are named `corpus:speaker`, so that each corpus' counts are the sum of its speakers'.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from spknorm.errors import DataError
from spknorm.report.methods import Method, names_without
from spknorm.report.scores import Block
from spknorm.report.splits import splittings, title_of
from spknorm.report.tables import NOTHING, Table, TableRow, make_table, percent, span
from spknorm.statistics import interval, pool_speakers
from spknorm.statistics.metrics import METRICS, measure

_SHOWN = ("ua", "wa")
_IN_COLUMNS = [f"downstream_expert.datarc.{name}" for name in ("corpus", "train_with", "test_on")]
Key = tuple[Method, tuple[str, ...]]


def cross_tables(blocks: Iterable[Block]) -> list[Table]:
    """Return the matrices of UA and of WA, a row per method and training corpus."""
    found = []
    for block in blocks:
        if block.protocol != "cross" or not splittings(block.rows):
            continue
        cells = _cells(block)
        tested = [*dict.fromkeys(name for columns in cells.values() for name in columns)]
        found += [_matrix(block, cells, tested, metric) for metric in _SHOWN]
    return found


def _matrix(
    block: Block, cells: Mapping[Key, Mapping[str, list[Any]]], tested: Sequence[str], metric: str
) -> Table:
    lines = []
    names = names_without([method for method, _ in cells], _IN_COLUMNS)
    for (method, sources), columns in cells.items():
        texts = [_text(columns.get(name, []), metric) for name in tested]
        heads = (method.upstream, names[method], " + ".join(sources))
        lines.append(TableRow(cells=(*heads, *texts), kind=method.row_kind))
    classes = [*dict.fromkeys(name for names in block.rows["classes"] for name in names)]
    notes = [
        f"{METRICS[metric].name.capitalize()} in per cent over all runs of a cell pooled, in "
        "brackets its 95 % interval by bootstrap over whole speakers of the tested corpus.",
        f"Classes in common, by run: {', '.join(classes)}. Dev is never of a tested corpus.",
        f"Mean recall over the classes that a corpus has; a guess: {percent(1 / len(classes))}."
        if metric == "ua"
        else "",
    ]
    return make_table(
        f"cross-{metric}",
        f"{title_of('cross', block.rows)}: {METRICS[metric].heading}",
        ("Upstream", "Method", "Trained on", *(f"on {name}" for name in tested)),
        lines,
        notes,
        num_heads=3,
    )


def _cells(block: Block) -> dict[Key, dict[str, list[Any]]]:
    """Return the confusions by speaker of each tested corpus, run by run, in the rows' order."""
    found: dict[Key, dict[str, list[Any]]] = {}
    for one in block.estimates:
        for split, by_speaker in zip(one.rows["split"], one.rows["by_speaker"], strict=True):
            row = found.setdefault((one.method, split.trained_on), {})
            for name in split.tested_on:
                own = _of_corpus(by_speaker, name, split.tested_on)
                row.setdefault(name, []).append(own)
    return found


def _of_corpus(by_speaker: Mapping[str, Any], name: str, tested: Sequence[str]) -> dict[str, Any]:
    """Return the speakers of one tested corpus; all, if there is no other."""
    if len(tested) == 1:
        return dict(by_speaker)
    return {who: counts for who, counts in by_speaker.items() if who.partition(":")[0] == name}


def _text(runs: Sequence[Mapping[str, Any]], metric: str) -> str:
    runs = [run for run in runs if run]
    if not runs:
        return NOTHING
    pooled = pool_speakers(runs)
    value = float(measure(np.sum([*pooled.values()], axis=0), metric))
    try:
        around = interval(pooled, metric)
    except DataError:
        return f"{percent(value)} (no interval)"
    return f"{percent(value)} ({span(around.low, around.high)})"
