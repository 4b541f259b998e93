"""A run under s3prl's own Runner: is it still the same when it goes on, and what does it keep?

The task's expert asks `begin` before that Runner's first step and has a `StockLog`; a run under
`spknorm.runner` has `journal.py` and `outcome.py`. s3prl's Runner writes the checkpoints, so that
the corpora's digests and what was accepted lie beside them, in the experiment's folder; a frozen
upstream that `-i` gave weights of its own is put among what it writes.
"""

import argparse
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from spknorm.corpora import digest
from spknorm.corpora.digest import CorpusDigest
from spknorm.errors import ConfigError
from spknorm.files import read_json, write_json
from spknorm.runs import checkpoint, state
from spknorm.runs.adversary import gain, judge
from spknorm.runs.evaluation import Evaluation
from spknorm.runs.journal import NAMES_OF_S3PRL
from spknorm.runs.metrics_log import append_metrics, write_predictions
from spknorm.runs.outcome import result_of
from spknorm.runs.result import write_result
from spknorm.runs.resume import goes_on
from spknorm.schema import TaskConfig

logger = logging.getLogger(__name__)

_ACCEPTED = "accepted.json"


def begin(
    folder: Path,
    args: argparse.Namespace,
    config: TaskConfig,
    corpora: Mapping[str, CorpusDigest | None],
    *,
    is_leader: bool,
) -> bool:
    """Compare a run with the checkpoint that it goes on from; keep what it sees and accepts.

    Tells whether scores of dev up to here compare with those to come.

    Settings given with `-o` beat the checkpoint's, as s3prl has it, and are kept as accepted;
    another corpus has to be accepted by `runner.on_config_change`.

    Raises:
        ConfigError: A corpus is another than the run began with.
    """
    path = folder / _ACCEPTED
    changed: dict[str, tuple[Any, Any]] = {}
    if goes_on(args, folder):
        states = checkpoint.read(Path(args.init_ckpt))
        others = digest.changes(digest.read_summaries(folder), corpora, folder)
        if others and config.runner.on_config_change != "accept":
            what = " and ".join(f"another {key.partition('.')[2]} corpus" for key in others)
            raise ConfigError(
                f"The run cannot go on with {what}: {state.describe(others)}. Put it back, start "
                "a new experiment (-n or -p), or add -o config.runner.on_config_change=accept."
            )
        world = states.get("WorldSize", 1)  # s3prl's Runner compares them itself
        changed = state.changed_settings(states, args, config, world=world) | others
        if changed and is_leader:
            logger.warning("The run goes on with what changed: %s.", state.describe(changed))
            found = state.acceptance(states["Step"], changed)
            write_json(path, [one for one in accepted(folder) if one != found] + [found])
    elif is_leader:
        path.unlink(missing_ok=True)
    if is_leader:
        digest.write_rows(folder, corpora)
    return "corpora.emotion" not in changed


def prepare(runner: Any) -> None:
    """Make of `-i` under s3prl's Runner what it is under ours: weights, that checkpoints keep.

    A frozen upstream that it gave weights is written with the rest. For this project's task a
    checkpoint from elsewhere gives neither optimiser nor step nor best score.
    """
    expert = runner.downstream.model
    expert = getattr(expert, "module", expert)
    if hasattr(expert, "begin_anew") and not goes_on(runner.args, Path(runner.args.expdir)):
        for key in ("Optimizer", "Scheduler", "Step", "Epoch", "WorldSize"):
            runner.init_ckpt.pop(key, None)
        expert.begin_anew()
    if runner.init_ckpt.get("Upstream") and not runner.upstream.trainable:
        given = type(runner.upstream)(_Given(runner.upstream.model), "Upstream", True, [])
        runner.all_entries.append(given)


class _Given(nn.Module):
    """A model that is written as if it were trained, and has nothing to train or to switch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._states_of = model.state_dict  # no submodule: its parameters stay its own

    def state_dict(self, *_: Any, **__: Any) -> Any:
        return self._states_of()


def accepted(folder: Path) -> list[dict[str, Any]]:
    """Return what was accepted in a folder, as result.json keeps it."""
    path = folder / _ACCEPTED
    found: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    return found


class StockLog:
    """The records of one process; the task's `best_score` is kept up to date."""

    def __init__(self, expdir: Path, expert: Any, args: Mapping[str, Any]) -> None:
        self._expdir, self._expert, self._args = expdir, expert, args
        self._best: tuple[int, Any] | None = None
        self._speaker: dict[str, float] = {}
        self._started = time.monotonic()

    def write(self, split: str, records: Mapping[str, list[Any]], logger: Any, step: int) -> bool:
        """Write the means of what `forward` gathered of a split; tell whether dev's is the best.

        `logger` is s3prl's, for TensorBoard.
        """
        expert, target = self._expert, self._expert.target
        guesses, truth, ids = (records[key] for key in ("predict", "truth", "ids"))
        scores = target.score(target.count(truth, guesses))
        selected = target.selected(scores, expert.config.runner.select_by)
        values = self._values(scores, records)
        for key, value in values.items():
            short = NAMES_OF_S3PRL.get(key, key)
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
            texts = target.texts(guesses), target.texts(truth)
            write_predictions(self._expdir, split, expert.fold, ids, *texts)
        if split == "test" and self._best is not None and self._best[0] == step:
            self._write_result(Evaluation(scores, values["emotion_loss"], guesses, truth))
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

    def _write_result(self, test: Evaluation) -> None:
        assert self._best is not None
        expert, asked = self._expert, self._expert.config.downstream_expert
        result = result_of(
            expert,
            dev=self._best[1],
            test=test,
            args=self._args,
            steps=expert.config.runner.total_steps,
            best_step=self._best[0],
            seconds=time.monotonic() - self._started,
            final={},
            adversary=judge(asked, self._speaker, num_speakers=expert.num_speakers),
            accepted=accepted(self._expdir),
        )
        write_result(self._expdir, result)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
