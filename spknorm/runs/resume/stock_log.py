"""What a run under s3prl's own Runner keeps: log.log, metrics.jsonl, predictions, result.json.

The task's expert calls it from `log_records`; a run under `spknorm.runner` has `journal.py` and
`outcome.py` instead.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spknorm.runs.adversary import gain, judge
from spknorm.runs.metrics_log import append_metrics, write_predictions
from spknorm.runs.outcome import result_of
from spknorm.runs.result import write_result
from spknorm.runs.resume import stock

_NAMES_OF_S3PRL = {"wa": "acc", "emotion_loss": "loss"}


class StockLog:
    """The records of one process.

    Args:
        expdir: Folder of the experiment.
        expert: The task; its `best_score` is kept up to date.
        args: s3prl's command line.
    """

    def __init__(self, expdir: Path, expert: Any, args: Mapping[str, Any]) -> None:
        self._expdir, self._expert, self._args = expdir, expert, args
        self._best: tuple[int, Any] | None = None
        self._speaker: dict[str, float] = {}
        self._started = time.monotonic()

    def write(self, split: str, records: Mapping[str, list[Any]], logger: Any, step: int) -> bool:
        """Write the split's means; return whether dev's score is the best so far.

        Args:
            split: train, dev or test.
            records: What `forward` gathered.
            logger: s3prl's, for TensorBoard.
            step: Of the run.
        """
        expert, target = self._expert, self._expert.target
        scores = target.score(target.count(records["truth"], records["predict"]))
        selected = target.selected(scores, expert.config.runner.select_by)
        values = self._values(scores, records)
        for key, value in values.items():
            short = _NAMES_OF_S3PRL.get(key, key)
            logger.add_scalar(f"emotion-{expert.fold}/{split}-{short}", value, step)
        append_metrics(self._expdir, {"step": step, "split": split, **values})
        lines = [f"{split} at step {step}: {selected}\n"]
        is_best = split == "dev" and selected > expert.best_score.item()
        if is_best:
            expert.best_score.fill_(selected)
            self._best = (step, scores)
            lines.append(f"New best on {split} at step {step}: {selected}\n")
        with (self._expdir / "log.log").open("a") as file:
            file.writelines(lines)
        if split in ("dev", "test"):
            predicted, truth = (target.texts(records[key]) for key in ("predict", "truth"))
            write_predictions(self._expdir, split, expert.fold, records["ids"], predicted, truth)
        if split == "test" and self._best is not None and self._best[0] == step:
            self._write_result(self._best[1], scores, records)
        return is_best

    def _values(self, scores: Any, records: Mapping[str, list[Any]]) -> dict[str, float]:
        """Return what is logged of a split: its scores and the means of its losses."""
        expert = self._expert
        values = {**expert.target.logged(scores), "emotion_loss": _mean(records["loss"])}
        for key in ("speaker_loss", "speaker_accuracy"):
            if records.get(key):
                values[key] = _mean(records[key])
        known = gain(values.get("speaker_loss"), math.log(max(1, expert.num_speakers)))
        if known is not None:
            self._speaker = {
                "speaker_gain": max(known, self._speaker.get("speaker_gain", known)),
                "speaker_accuracy": values["speaker_accuracy"],
            }
            values["speaker_gain"] = known
        return values

    def _write_result(self, dev: Any, test: Any, records: Mapping[str, list[Any]]) -> None:
        assert self._best is not None
        expert, asked = self._expert, self._expert.config.downstream_expert
        result = result_of(
            expert,
            dev=dev,
            test=test,
            truth=records["truth"],
            predicted=records["predict"],
            config=expert.config,
            args=self._args,
            steps=expert.config.runner.total_steps,
            best_step=self._best[0],
            seconds=time.monotonic() - self._started,
            final={},
            adversary=judge(
                asked.spknorm,
                self._speaker,
                num_speakers=expert.num_speakers,
                shuffled=asked.speaker_corpus.shuffle_labels,
            ),
            accepted=stock.accepted(self._expdir),
        )
        write_result(self._expdir, result)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
