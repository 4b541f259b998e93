"""Trained on one corpus, tested on another: the matrix of scores, with intervals over speakers.

Beside `score_tables.py`. A run under the protocol cross tests several corpora at once; its speakers
are named `corpus:speaker`, so that each corpus' counts are the sum of its speakers'.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from spknorm.errors import DataError
from spknorm.report.blocks import Block
from spknorm.report.methods import Method, names_without
from spknorm.report.splits import splittings, title_of
from spknorm.report.tables import NOTHING, Table, TableRow, percent, with_span
from spknorm.report.words import table
from spknorm.statistics import interval, pool_speakers
from spknorm.statistics.metrics import METRICS, measure

_SHOWN = ("ua", "wa")
_IN_COLUMNS = [f"downstream_expert.datarc.{name}" for name in ("corpus", "train_with", "test_on")]
Cells = Mapping[tuple[Method, tuple[str, ...]], Mapping[str, list[Any]]]


def cross_tables(blocks: Iterable[Block]) -> list[Table]:
    """Return the matrices of UA and of WA, a row per method and training corpus."""
    found = []
    for block in blocks:
        if block.protocol == "cross" and splittings(block.rows):
            cells = _cells(block)
            found += [_matrix(block, cells, metric) for metric in _SHOWN]
    return found


def _matrix(block: Block, cells: Cells, metric: str) -> Table:
    tested = [*dict.fromkeys(name for columns in cells.values() for name in columns)]
    names = names_without([method for method, _ in cells], _IN_COLUMNS)
    lines = []
    for (method, sources), columns in cells.items():
        texts = [_text(columns.get(name, []), metric) for name in tested]
        heads = (method.upstream, names[method], " + ".join(sources))
        lines.append(TableRow(cells=(*heads, *texts), kind=method.row_kind))
    return table(
        "cross",
        lines,
        metric,
        columns=[f"on {name}" for name in tested],
        title=title_of("cross", block.rows),
        metric=METRICS[metric],
        classes=[*dict.fromkeys(name for names in block.rows["classes"] for name in names)],
    )


def _cells(block: Block) -> Cells:
    """Return the confusions by speaker of each tested corpus, run by run, in the rows' order."""
    found: dict[tuple[Method, tuple[str, ...]], dict[str, list[Any]]] = {}
    for one in block.estimates:
        for split, by_speaker in zip(one.rows["split"], one.rows["by_speaker"], strict=True):
            row = found.setdefault((one.method, split.trained_on), {})
            for name in split.tested_on:
                own = _of_corpus(by_speaker, name, split.tested_on)
                row.setdefault(name, []).append(own)
    return found


def _of_corpus(by_speaker: Mapping[str, Any], name: str, tested: Sequence[str]) -> dict[str, Any]:
    """Return the speakers of one tested corpus; all, if there is no other."""
    is_only = len(tested) == 1
    return {who: of for who, of in by_speaker.items() if is_only or who.partition(":")[0] == name}


def _text(runs: Iterable[Mapping[str, Any]], metric: str) -> str:
    pooled = pool_speakers(runs)
    if not pooled:
        return NOTHING
    try:
        around = interval(pooled, metric)
    except DataError:
        value = float(measure(np.sum([*pooled.values()], axis=0), metric))
        return f"{percent(value)} (no interval)"
    return with_span(around.value, around.low, around.high)
