"""The scores in a result.json: of classes, or of dimensions. Before `result.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from spknorm.runs.checked import Confusion, Share
from spknorm.statistics import metrics
from spknorm.statistics.agreement import Agreement, sums_of
from spknorm.statistics.targets import Dimensions as DimensionTarget
from spknorm.statistics.targets import Target


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one part of a fold: WA, UA, macro-F1 (0 to 1) over n utterances."""

    wa: Share
    ua: Share
    macro_f1: Share
    n: int


@dataclass(frozen=True, kw_only=True)
class TestScores(Scores):
    """Of the test set, with the counts behind them: (C, C), row = true class.

    `ua_over` are the classes that UA is the mean recall of: those with test utterances;
    `by_speaker` has those whose speaker is known.
    """

    classes: tuple[str, ...]
    confusion: Confusion
    by_speaker: Mapping[str, Confusion] = field(default_factory=dict)
    ua_over: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DimensionScores:
    """Of one part of a fold: the concordance correlation of each dimension, and their mean.

    Attributes:
        ccc: By dimension, -1 to 1.
        by_speaker: Of the test part: speaker -> dimension -> n, and the sums of truth, prediction,
            their squares and their product, from which any CCC and its interval come.
    """

    ccc: Mapping[str, float]
    mean: float
    n: int
    by_speaker: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """What a run that predicts dimensions scored, in the place of classes.

    Attributes:
        names: In the order of the head's outputs.
        dev: At the best step; None if the run evaluated no dev set.
        test: The same step's; None if the run was told not to test.
    """

    names: tuple[str, ...]
    low: float
    high: float
    dev: DimensionScores | None = None
    test: DimensionScores | None = None


class Scored(NamedTuple):
    """What result.json says of dev and test: of classes or of dimensions, the other is None."""

    dev: Scores | None = None
    test: TestScores | None = None
    dimensions: Dimensions | None = None


def scored(
    target: Target,
    *,
    dev: Any,
    test: Any,
    truth: Sequence[Any] = (),
    predicted: Sequence[Any] = (),
    speakers: Sequence[str | None] = (),
) -> Scored:
    """Return the scores of a run as its result file has them.

    `dev` and `test` are scores at the best step, None where there are none; `truth` and `predicted`
    (N,) are of the test utterances, whose speakers are at least N.
    """
    speakers = speakers[: len(truth)]
    if isinstance(target, DimensionTarget):
        of_speaker = metrics.by_speaker(sums_of, truth, predicted, speakers)
        low, high = target.scale
        return Scored(
            dimensions=Dimensions(
                names=target.names,
                low=low,
                high=high,
                dev=None if dev is None else _agreement(target, dev, {}),
                test=None if test is None else _agreement(target, test, of_speaker),
            )
        )
    scored_test = None
    if test is not None:
        count = partial(metrics.confusion_matrix, num_classes=len(target.names))
        of_speaker = metrics.by_speaker(count, truth, predicted, speakers)
        spoken = zip(target.names, test.confusion.sum(axis=1), strict=True)
        scored_test = TestScores(
            **_numbers(test),
            classes=tuple(target.names),
            confusion=test.confusion.tolist(),
            by_speaker={name: counts.tolist() for name, counts in of_speaker.items()},
            ua_over=tuple(name for name, count in spoken if count),
        )
    return Scored(None if dev is None else Scores(**_numbers(dev)), scored_test)


def _agreement(
    target: DimensionTarget, found: Agreement, by_speaker: Mapping[str, Any]
) -> DimensionScores:
    return DimensionScores(
        ccc=target.named(found.ccc),
        mean=found.mean,
        n=found.n,
        by_speaker={
            name: dict(zip(target.names, np.asarray(sums).tolist(), strict=True))
            for name, sums in by_speaker.items()
        },
    )


def _numbers(scores: metrics.Scores) -> dict[str, Any]:
    return {name: getattr(scores, name) for name in (*metrics.METRICS, "n")}
