"""The models that an audit runs: a run's own, and the raw upstream read as the run reads it."""

from typing import Any, NamedTuple

from torch import nn

from spknorm import upstreams
from spknorm.probe.audit.runs import Run
from spknorm.runs.trained import load, make_featurizer


class Model(NamedTuple):
    """What an audit runs.

    Attributes:
        upstream: s3prl's, in evaluation mode.
        featurizer: s3prl's Featurizer of it.
        gate: SNP's, None without one.
    """

    upstream: nn.Module
    featurizer: Any
    gate: nn.Module | None = None


def own_model(run: Run, device: str) -> Model:
    """Return a run's model at its best dev step."""
    trained = load(run.folder, device=device)
    return Model(trained.upstream, trained.featurizer, trained.heads.gate)


def raw_model(run: Run, device: str) -> Model:
    """Return the upstream that a run began with, and its featurizer with untrained weights."""
    upstream = upstreams.build(run.args, device=device, folder=run.folder).upstream.eval()
    return Model(upstream, make_featurizer(upstream, run.args, device=device).eval())
