"""probe.json: the rows of a leakage audit. After `checked.py` in this folder."""

from dataclasses import dataclass
from pathlib import Path

from spknorm.errors import MissingError
from spknorm.runs.checked import Layer, Share, build, check_schema, read_object

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
    """probe.json; an audit that was stopped is not `complete`."""

    schema: str = PROBE_SCHEMA
    complete: bool = True
    rows: tuple[ProbeRow, ...]


def rank_of(stage: str) -> int:
    """Return the place of a stage in a table; one of a later version comes last."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def read_audit(path: Path) -> Audit:
    """Return a probe.json; an empty one if there is no such file.

    Raises:
        ConfigError: It is malformed; the message names file and key.
    """
    try:
        value = read_object(path)
    except MissingError:
        return Audit(rows=())
    check_schema(value, PROBE_SCHEMA, path)
    return build(Audit, value, path)


def read_probes(path: Path) -> tuple[ProbeRow, ...]:
    """Return the rows of a probe.json; none if there is no such file; errors as `read_audit`."""
    return read_audit(path).rows
