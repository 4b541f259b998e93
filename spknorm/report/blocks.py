"""What is known of the methods that one table compares: their runs, averages, intervals and tests.

After `methods.py` in the report; `scores.py` computes it, and every table and figure reads it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.protocols import Splitting
from spknorm.report.methods import Method
from spknorm.statistics import Comparison, SpeakerSpread, curves

if TYPE_CHECKING:
    from pandas import DataFrame

_NUMBERS = ("mean", "std", "pooled", "low", "high")
_TESTED = ("difference", "difference_low", "difference_high", "p_speakers_holm", "p_runs_holm")


class Chance(NamedTuple):
    """What guessing scores: the largest class for WA, one over the number of classes for UA."""

    wa: float
    ua: float
    majority: str


class Curve(NamedTuple):
    """WA over runs against training samples per label; (P,) points each.

    Attributes:
        std: Over draws and seeds of the mean over folds; 0 for one draw.
    """

    num_samples: tuple[int, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    num_runs: tuple[int, ...]

    @property
    def areas(self) -> tuple[float | None, float | None]:
        """Its area as the paper has it, and normalised."""
        return curves.paper_auc(*self[:2]), curves.normalised_auc(*self[:2])


class Score(NamedTuple):
    """What one metric says of one method, as in table.csv; None is what is not known.

    Attributes:
        mean: Over runs, with its deviation `std`.
        pooled: Over pooled utterances, with its 95 % interval over speakers (`low`, `high`).
        test: Against strategy none on the runs both have; p-values corrected after Holm.
        worst: Of what is among speakers: whose score is the lowest, of how many.
    """

    mean: float | None = None
    std: float | None = None
    pooled: float | None = None
    low: float | None = None
    high: float | None = None
    test: Comparison | None = None
    chance: float | None = None
    worst: tuple[str, int] = ("", 0)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One method under one protocol: its runs by place in the grid, its scores by metric.

    Attributes:
        no_interval: Why the scores have no interval.
        spread: Accuracy per speaker, None where no speaker is known.
        curve: Under low_resource.
    """

    method: Method
    rows: "DataFrame"
    num_planned: int
    scores: Mapping[str, Score]
    no_interval: str
    spread: SpeakerSpread | None
    curve: Curve | None


@dataclass(frozen=True, kw_only=True)
class Block:
    """All methods of one task and protocol: what one table compares; dimensions have no chance."""

    task: str
    protocol: str
    rows: "DataFrame"
    estimates: tuple[Estimate, ...]
    chance: Chance | None

    @property
    def is_low_resource(self) -> bool:
        """Whether its methods have curves."""
        return self.protocol == "low_resource"

    @property
    def methods(self) -> list[Method]:
        """The methods of its rows."""
        return [one.method for one in self.estimates]

    @property
    def splittings(self) -> list[Splitting]:
        """How the runs were split; runs of earlier versions do not say."""
        return [one for one in self.rows.get("split", []) if isinstance(one, Splitting)]

    def by_upstream(self) -> dict[str, list[Estimate]]:
        """Return the estimates of each upstream."""
        groups = groupby(self.estimates, key=lambda one: one.method.upstream)
        return {upstream: [*found] for upstream, found in groups}


def records(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """Return the rows of table.csv: every number of the score tables in full precision."""
    return [
        {
            "task": block.task, "protocol": block.protocol, "upstream": one.method.upstream,
            "method": one.method.label, "metric": metric,
            **{name: getattr(score, name) for name in _NUMBERS}, **_tested(score.test),
            "runs": len(one.rows), "runs_planned": one.num_planned, "chance": score.chance,
        }
        for block in blocks
        for one in block.estimates
        for metric, score in one.scores.items()
    ]  # fmt: skip


def _tested(test: Comparison | None) -> dict[str, float | None]:
    values = [None] * 6 if test is None else [*test[:5], test.num_pairs]
    known = [None if value is None or math.isnan(value) else value for value in values]
    return dict(zip((*_TESTED, "pairs"), known, strict=True))
