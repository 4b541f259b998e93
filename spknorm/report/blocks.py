"""What is known of the methods that one table compares: their runs, averages, intervals and tests.

After `methods.py` in the report; `scores.py` computes it, and every table and figure reads it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.report.methods import Method
from spknorm.statistics import Comparison, MeanStd, SpeakerSpread

if TYPE_CHECKING:
    from pandas import DataFrame


class Chance(NamedTuple):
    """What guessing scores: the largest class for WA, one over the number of classes for UA."""

    wa: float
    ua: float
    majority: str


class Curve(NamedTuple):
    """Accuracy against training samples per label.

    Attributes:
        num_samples: (P,) points.
        mean: (P,) mean WA over runs.
        std: (P,) standard deviation over draws and seeds of the mean over folds; 0 for one draw.
        num_runs: (P,) runs at each point.
        paper_auc: The paper's area (trapezoid / 1000), None unless the points span 50..1000.
        normalised_auc: The area over the width of the curve's own range, None for a single point.
    """

    num_samples: tuple[int, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    num_runs: tuple[int, ...]
    paper_auc: float | None
    normalised_auc: float | None


class Test(NamedTuple):
    """A paired test; p over speakers and (where it was asked) over runs, Holm-corrected."""

    found: Comparison
    p: float
    p_runs: float | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one metric says of one method.

    Attributes:
        runs: Mean and standard deviation over runs, None of what has no value in a single run.
        pooled: Its value over pooled utterances, None where there is no interval.
        low: Lower end of its 95 % interval over speakers, None where there is none.
        high: Upper end.
        chance: What guessing scores, None where that is not known.
        test: Against strategy none on the runs both have; None for strategy none itself.
    """

    runs: MeanStd | None = None
    pooled: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    test: Test | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One method under one protocol.

    Attributes:
        rows: Its runs, by place in the grid.
        num_planned: How many there will be.
        scores: By name of the metric.
        no_interval: Why they have no interval.
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

    @property
    def wa(self) -> MeanStd:
        """WA over runs, of a method that predicts classes."""
        found = self.scores["wa"].runs
        assert found is not None
        return found


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

    def by_upstream(self) -> dict[str, list[Estimate]]:
        """Return the estimates of each upstream."""
        found: dict[str, list[Estimate]] = {}
        for one in self.estimates:
            found.setdefault(one.method.upstream, []).append(one)
        return found


def records(blocks: Iterable[Block]) -> list[dict[str, str | int | float | None]]:
    """Return the rows of table.csv: every number of the score tables in full precision."""
    return [
        _record(block, one, name)
        for block in blocks
        for one in block.estimates
        for name in one.scores
    ]


def _record(block: Block, one: Estimate, metric: str) -> dict[str, str | int | float | None]:
    score = one.scores[metric]
    found = score.test and score.test.found
    return {
        "task": block.task,
        "protocol": block.protocol,
        "upstream": one.method.upstream,
        "method": one.method.label,
        "metric": metric,
        "mean": score.runs and score.runs.mean,
        "std": score.runs and score.runs.std,
        "pooled": score.pooled,
        "low": score.low,
        "high": score.high,
        "difference": found and found.difference,
        "difference_low": found and found.low,
        "difference_high": found and found.high,
        "p_speakers_holm": score.test and score.test.p,
        "p_runs_holm": score.test and score.test.p_runs,
        "pairs": found and found.num_pairs,
        "runs": len(one.rows),
        "runs_planned": one.num_planned,
        "chance": score.chance,
    }
