"""probe.json: the rows of a leakage audit. After `checked.py` in this folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spknorm.errors import MissingError
from spknorm.runs.checked import Layer, Share, build, read_object

PROBE_SCHEMA = "spknorm.probe/1"

STAGES = ("raw", "none", "znorm", "leace", "SNP", "TAP")
"""What was made of an upstream, in the order of tables."""


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """One probe; fractions. For `eer`, `accuracy` is the equal error rate of verification.

    Attributes:
        upstream: Name on s3prl's hub.
        stage: One of `STAGES`.
        variant: The stage with whatever sets it apart from others of it in one audit.
        frozen: Whether the upstream kept its weights.
        corpus: speaker or emotion.
        probe: linear, mlp, knn or eer.
        layer: head (what the emotion head sees; `last` in older files), weighted or the index of a
            hidden state.
        control: None; shuffled: the same with permuted labels; chance: the most frequent class.
        accuracy: Of the test utterances.
        low: Lower end of its 95 % interval over speakers; None where there is none.
        n: Test utterances; trials for eer.
        drawn_from: Held-out utterances that there are, where a sample of them was named.
        on_sample: What a probe that learnt on the sample scored, where `accuracy` is extrapolated
            to one that learns on the whole.
        learnt_on: Utterances that it learnt on.
        learnt_of: Utterances that `accuracy` is extrapolated to.
    """

    upstream: str
    stage: str
    variant: str | None = None
    frozen: bool | None = None
    run: str | None = None
    corpus: str
    label: str
    probe: str
    layer: Layer
    control: str | None = None
    accuracy: Share
    low: float | None = None
    high: float | None = None
    n: int | None = None
    drawn_from: int | None = None
    on_sample: float | None = None
    learnt_on: int | None = None
    learnt_of: int | None = None
    num_classes: int | None = None
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Audit:
    """probe.json; an audit that was stopped is not `complete`.

    Attributes:
        asked: The options that decide its rows.
        weights: A hash of the run's checkpoint.
        stages: raw and own -> what their rows are known by.
        adversary_off: Rows of the run that differs in its adversary alone, which was off.
    """

    schema: str = PROBE_SCHEMA
    asked: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    complete: bool = True
    stages: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[ProbeRow, ...]
    adversary_off: tuple[ProbeRow, ...] = ()


HEADS = ("corpus", "label", "probe", "layer", "control")


class Line(NamedTuple):
    """A line of an audit's table: its `HEADS`, and its rows by the column that they stand in.

    `chance` is what the most frequent class gets, in per cent; empty of controls and if not known.
    """

    heads: tuple[str, ...]
    cells: Mapping[str, Sequence[ProbeRow]]
    chance: str


def lines_of(rows: Iterable[tuple[str, ProbeRow]]) -> list[Line]:
    """Return the lines that rows make, each given with the name of its column."""
    guesses: dict[tuple[str, ...], list[float]] = {}
    cells: dict[tuple[str, ...], dict[str, list[ProbeRow]]] = {}
    for name, row in rows:
        what = (row.corpus, row.label, row.probe)
        if row.control == "chance":
            guesses.setdefault(what, []).append(row.accuracy)
        else:
            heads = (*what, row.layer, row.control or "")
            cells.setdefault(heads, {}).setdefault(name, []).append(row)
    chance = {what: f"{100 * float(np.mean(found)):.1f}" for what, found in guesses.items()}
    return [
        Line(heads, found, "" if heads[4] else chance.get(heads[:3], ""))
        for heads, found in cells.items()
    ]


def rank_of(stage: str) -> int:
    """Return the place of a stage in a table; one of a later version comes last."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def read_audit(path: Path) -> Audit:
    """Return a probe.json; an empty one if there is no such file.

    Raises:
        ConfigError: It is malformed; the message names file and key.
    """
    try:
        return build(Audit, read_object(path, PROBE_SCHEMA), path)
    except MissingError:
        return Audit(rows=())
