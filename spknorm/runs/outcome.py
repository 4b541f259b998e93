"""What a run ends with: prediction files and result.json, of the best dev step's weights.

Used by `engine.py`, on the leader alone.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spknorm.config import effects, to_mapping
from spknorm.corpora.digest import summaries
from spknorm.files import read_json
from spknorm.method.optim import clipping
from spknorm.runs.evaluation import Evaluation
from spknorm.runs.metrics_log import write_predictions
from spknorm.runs.result import Acceptance, Computing, Fork, Result, versions, write_result
from spknorm.runs.scored import scored
from spknorm.runs.state import Counters
from spknorm.schema import TaskConfig
from spknorm.statistics.metrics import only_class
from spknorm.statistics.targets import Classes

logger = logging.getLogger(__name__)

FORKED_FROM = "forked_from.json"
_ARGS = (*effects.ARGUMENTS, "downstream_variant")
"""Arguments of the command line that decide what a run computes."""


class Outcome:
    """Writes predictions and the result."""

    def __init__(self, expdir: Path, expert: Any) -> None:
        self._expdir, self._expert = expdir, expert

    def write_predictions(self, split: str, predicted: Sequence[Any]) -> Any:
        """Write what was predicted for the first utterances of a split; return its scores."""
        target = self._expert.target
        utterances = getattr(self._expert.split, split)[: len(predicted)]
        truth = target.truths(self._expert.data.emotion.labels_of(split)[: len(predicted)])
        write_predictions(
            self._expdir,
            split,
            self._expert.fold,
            [utterance.id for utterance in utterances],
            target.texts(predicted),
            target.texts(truth),
        )
        return target.score(target.count(truth, predicted))

    def write_result(self, *, best: Counters | None, test: Evaluation | None, **known: Any) -> None:
        """Write result.json, of which `known` are further fields; see `result_of`.

        `best` are the counters at the best dev step, None if dev was never evaluated; `test` is of
        the weights of that step, or else of the last ones.
        """
        dev = None if best is None else self.write_predictions("dev", best.best_predicted)
        if test is not None:
            self.write_predictions("test", test.predicted)
            self._warn(test.scores)
        origin = forked_from(self._expdir)
        fork = None if origin is None else Fork(**origin)
        result = result_of(self._expert, dev=dev, test=test, forked_from=fork, **known)
        write_result(self._expdir, result)

    def _warn(self, scores: Any) -> None:
        """Say what the test scores do not tell."""
        target, speakers = self._expert.target, self._expert.speakers_of("test")[: scores.n]
        if unknown := speakers.count(None):
            logger.warning(
                "Of %d of %d test utterances nobody knows who speaks: what is told of speakers, "
                "intervals among it, is of the others.",
                unknown,
                len(speakers),
            )
        if absent := target.absent(scores):
            logger.warning(
                "The test part has no utterance of %s: UA and macro-F1 are over %d of %d classes.",
                ", ".join(absent),
                len(target.names) - len(absent),
                len(target.names),
            )
        if isinstance(target, Classes) and (only := only_class(scores.confusion)) is not None:
            logger.warning(
                "Every test utterance was classified as %s: the scores say nothing of the method.",
                target.names[only],
            )


def result_of(
    expert: Any,
    *,
    args: Mapping[str, Any],
    dev: Any,
    test: Evaluation | None,
    seconds: float,
    computing: Computing | None = None,
    accepted: Sequence[Mapping[str, Any]] = (),
    **known: Any,
) -> Result:
    """Return the record of a run of the task, of which `known` are further fields as they are.

    `dev` are scores at the step that was tested, None without, as is `test`; `computing` is None
    under s3prl's Runner, which knows fp32 alone.
    """
    config: TaskConfig = expert.config
    data, method = config.downstream_expert.datarc, config.downstream_expert.spknorm
    tested = {} if test is None else {"truth": test.truth, "predicted": test.predicted}
    found = scored(
        expert.target,
        dev=dev,
        test=None if test is None else test.scores,
        speakers=expert.speakers_of("test"),
        **tested,
    )
    return Result(
        task=args.get("downstream"),  # type: ignore[arg-type]  # our own runs always name theirs
        upstream=args.get("upstream"),  # type: ignore[arg-type]
        strategy=method.strategy,
        update=method.update,
        speaker_lambda=method.speaker_lambda,
        clip=clipping.resolved(config.runner.clip, config.runner.engine),
        train_feature_extractor=method.train_feature_extractor,
        protocol=data.protocol,
        fold=expert.fold,
        seed=args.get("seed"),  # type: ignore[arg-type]
        draw=data.draw,
        samples_per_label=data.samples_per_label,
        frozen=not args.get("upstream_trainable"),
        seconds=round(seconds, 3),
        num_speakers=expert.num_speakers,
        speaker_crops=expert.streams.crops,
        precision="fp32" if computing is None else computing.precision,
        computing=computing,
        **found._asdict(),
        split=expert.data.emotion.splitting,
        corpora=summaries(expert.data.corpora),
        accepted=tuple(Acceptance(**one) for one in accepted),
        versions=versions(),
        config=to_mapping(config),
        args={name: args.get(name) for name in _ARGS},
        **known,
    )


def forked_from(expdir: Path) -> dict[str, Any] | None:
    """Return which folder a run was forked from, at which step and with which changes."""
    path = expdir / FORKED_FROM
    found: dict[str, Any] | None = read_json(path) if path.is_file() else None
    return found
