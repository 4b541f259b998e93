"""Trained on one corpus, tested on another: the matrix of scores, with intervals over speakers.

Beside `score_tables.py`. A run under the protocol cross tests several corpora at once; its speakers
are named `corpus:speaker`, so that each corpus' counts are the sum of its speakers'.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from spknorm.errors import DataError
from spknorm.report.blocks import Block
from spknorm.report.methods import Method, names_of_cross
from spknorm.report.score_tables import title_of
from spknorm.report.tables import NOTHING, Table, TableRow, percent, with_span
from spknorm.report.words import table
from spknorm.statistics import interval, pool_speakers
from spknorm.statistics.metrics import METRICS, measure


def cross_tables(blocks: Iterable[Block]) -> list[Table]:
    """Return the matrices of UA and of WA: a row per method and training corpus, tested on each."""
    chosen = [block for block in blocks if block.protocol == "cross" and block.splittings]
    return [_matrix(block, metric) for block in chosen for metric in ("ua", "wa")]


def _matrix(block: Block, metric: str) -> Table:
    cells: dict[tuple[Method, tuple[str, ...]], dict[str, list[Any]]] = {}
    for one in block.estimates:
        for split, by_speaker in zip(one.rows["split"], one.rows["by_speaker"], strict=True):
            row = cells.setdefault((one.method, split.trained_on), {})
            for name in split.tested_on:
                is_only = len(split.tested_on) == 1
                of = {who: counts for who, counts in by_speaker.items()
                      if is_only or who.partition(":")[0] == name}  # fmt: skip
                row.setdefault(name, []).append(of)
    tested = [*dict.fromkeys(name for row in cells.values() for name in row)]
    names = names_of_cross(method for method, _ in cells)
    rows = []
    for (method, sources), row in cells.items():
        heads = (method.upstream, names[method], " + ".join(sources))
        texts = (_pooled(row.get(name, []), metric) for name in tested)
        rows.append(TableRow(cells=(*heads, *texts), kind=method.row_kind))
    classes = dict.fromkeys(name for names in block.rows["classes"] for name in names)
    about = {"title": title_of(block), "metric": METRICS[metric], "classes": [*classes]}
    return table("cross", rows, metric, columns=[f"on {name}" for name in tested], **about)


def _pooled(runs: Iterable[Mapping[str, Any]], metric: str) -> str:
    if not (pooled := pool_speakers(runs)):
        return NOTHING
    try:
        around = interval(pooled, metric)
    except DataError:
        value = float(measure(np.sum([*pooled.values()], axis=0), metric))
        return f"{percent(value)} (no interval)"
    return with_span(around.value, around.low, around.high)
