"""Where a run stands: counters that ride in every checkpoint, and whether it may go on.

Weights, optimisers and these counters are all that a resumed run needs: batches and randomness are
functions of the step's number.
"""

import argparse
import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spknorm import config as configuration
from spknorm.config import effects
from spknorm.corpora import digest
from spknorm.corpora.digest import CorpusDigest
from spknorm.errors import CheckpointError, ConfigError
from spknorm.schema import TaskConfig

logger = logging.getLogger(__name__)

KEY = "Spknorm"
NEAR_CHANCE = 1.1
_LONG = 5
_FAR_ABOVE = 3.0


class Asked(NamedTuple):
    """What a run is asked to be now: command line, configuration, corpora by role, processes."""

    args: argparse.Namespace
    config: TaskConfig
    corpora: Mapping[str, CorpusDigest | None]
    world: int


@dataclasses.dataclass
class Counters:
    """What a run knows beyond its weights and optimisers."""

    step: int = 0
    """Optimiser steps done."""
    evaluated: int = 0
    """The last step at which dev was evaluated."""
    best_step: int = 0
    best_wa: float = -1.0
    """The score there, by what `runner.select_by` asks for (checkpoints know it by this name)."""
    best_predicted: list[Any] = dataclasses.field(default_factory=list)
    """Dev predictions of the best step."""
    without_gain: int = 0
    """Evaluations in a row without a new best."""
    at_chance: int = 0
    """Evaluations in a row with an accuracy no better than a guess."""
    speaker_loss: float | None = None
    """Running mean of the speaker loss over training batches."""
    best_speaker_loss: float | None = None
    """The lowest that it has been."""
    pretrained: int = 0
    """Steps of the speaker head before step 1."""
    held_out_loss: float | None = None
    """Running mean of the speaker loss over held-out batches."""
    held_out_accuracy: float | None = None
    """Running mean of the part of the held-out utterances whose speaker the head names."""
    held_out_lowest: float | None = None
    """The lowest that `held_out_loss` has been."""
    ascent_paused: bool = False
    """Whether the ceiling holds the ascent back."""
    behind: bool = False
    """Whether the speaker head has to catch up before the next step."""
    caught_up: int = 0
    """Speaker batches on which it has."""
    nonfinite_in_a_row: int = 0
    out_of_memory: int = 0
    out_of_memory_in_a_row: int = 0
    most_frames: int | None = None
    """Padded frames that pass the upstream at once; None: memory has never been short."""
    recomputes: bool = False
    """Activations are recomputed for want of memory."""
    keeps_on_host: bool = False
    """What an iteration keeps lies in the main memory, likewise."""
    attention: list[str] = dataclasses.field(default_factory=list)
    """How the upstream's was computed, in words."""
    seconds: float = 0.0
    lines: int = 0
    """Lines of metrics.jsonl."""
    window: list[float] = dataclasses.field(default_factory=list)
    """What was gathered since the last of them."""
    totals: list[float] = dataclasses.field(default_factory=list)
    """The same of the whole run."""
    final: dict[str, float | None] = dataclasses.field(default_factory=dict)
    accepted: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """What had changed when it was gone on with, and was accepted: see `acceptance`."""

    @classmethod
    def of(cls, states: Mapping[str, Any]) -> "Counters":
        """Return the counters in a checkpoint.

        Raises:
            CheckpointError: It was not made by this engine.
        """
        found = states.get(KEY)
        counters = found.get("counters") if isinstance(found, Mapping) else None
        if not isinstance(counters, Mapping) or "step" not in counters:
            raise CheckpointError(
                "This checkpoint is not one of spknorm's engine, so training cannot go on from it "
                "there: set config.runner.engine to s3prl, or load its weights alone with -i."
            )
        # one of an earlier version lacks what is counted since
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: counters[name] for name in names & set(counters)})

    def take(self, score: float, predicted: list[Any]) -> bool:
        """Count an evaluation of dev at the present step; tell whether it is the best so far."""
        if score <= self.best_wa:
            self.without_gain += 1
            return False
        self.without_gain = 0
        self.best_step, self.best_wa, self.best_predicted = self.step, score, predicted
        return True

    def forget_best(self) -> None:
        """Begin the search for the best dev step anew."""
        self.best_step = self.without_gain = 0
        self.best_wa, self.best_predicted = -1.0, []

    def collapse(self, guess: float | None, *, log_num_speakers: float) -> list[str]:
        """Return what has collapsed, with the setting to try.

        `guess` is what a guess scores, where dev is no better than that; else None. The speaker
        loss of a guess is `log_num_speakers`.
        """
        found = []
        self.at_chance = self.at_chance + 1 if guess is not None else 0
        if self.at_chance and self.at_chance % _LONG == 0:
            what = "dev UA has" if guess else "dev's mean CCC has"
            found.append(
                f"{what} been at chance ({guess:.2f}) for {self.at_chance} "
                "evaluations: try a lower optimizer.groups.upstream.lr or speaker_lambda."
            )
        training, held_out = self.speaker_loss or 0.0, self.held_out_loss or 0.0
        # Held out, a head may be far off from the start: of permuted labels it must be.
        risen = held_out - (self.held_out_lowest or 0.0)
        if max(training, risen) > _FAR_ABOVE * log_num_speakers:
            loss = max(training, held_out)
            found.append(
                f"the speaker loss is {loss:.3g}, but a guess has log K = {log_num_speakers:.3g}: "
                "the ascent ran away; try a lower speaker_lambda and a ceiling of 1.0."
            )
        return found


def resumed(states: Mapping[str, Any], asked: Asked) -> Counters:
    """Return the counters of the run that goes on from a checkpoint.

    Raises:
        CheckpointError: It was not made by this engine.
        ConfigError: It is another run's; see `check_same_run`.
    """
    counters = Counters.of(states)
    accepted = check_same_run(states, asked)
    if "corpora.emotion" in accepted:  # no comparing of scores on two dev sets
        counters.forget_best()
        counters.evaluated = 0
    if accepted:
        logger.warning("The run goes on with what changed: %s.", describe(accepted))
        counters.accepted = [*counters.accepted, acceptance(counters.step, accepted)]
    return counters


def check_same_run(states: Mapping[str, Any], asked: Asked) -> dict[str, tuple[Any, Any]]:
    """Check that a checkpoint belongs to the run that is asked for; return what is accepted.

    Raises:
        ConfigError: Settings or corpora differ, and `runner.on_config_change` does not accept that.
    """
    changed = changes(states, asked)
    if not changed or asked.config.runner.on_config_change == "accept":
        return changed
    others = [key.partition(".")[2] for key in changed if key.startswith("corpora.")]
    what = [*(["other settings"] if len(changed) > len(others) else [])]
    what += [f"another {role} corpus" for role in others]
    raise ConfigError(
        f"The run cannot go on with {' and '.join(what)}: {describe(changed)}. Put them back, "
        "start a new experiment (-n or -p), or set config.runner.on_config_change to fork or "
        "accept."
    )


def changes(states: Mapping[str, Any], asked: Asked) -> dict[str, tuple[Any, Any]]:
    """Return how a run differs from a checkpoint in what counts: (before, now) by path."""
    args, config, corpora, world = asked
    kept, folder = states.get(KEY, {}).get("corpora"), Path(args.init_ckpt).parent
    settings = changed_settings(states, args, config, world=world)
    return settings | digest.changes(kept, corpora, folder)


def changed_settings(
    states: Mapping[str, Any], args: argparse.Namespace, config: TaskConfig, *, world: int
) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ from a checkpoint's and count: (before, now) by path."""
    before = (configuration.parse(states["Config"]), vars(states["Args"]))
    now = (config, vars(args))
    changed = {
        key if key.startswith("args.") or key == effects.FOLD else f"config.{key}": pair
        for key, pair in effects.differing(before, now, going_on=True).items()
    }
    processes = (states.get("WorldSize", 1), world)
    return changed if processes[0] == world else {**changed, "processes": processes}


def acceptance(step: int, changed: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Return what result.json says of changes that a run went on with after a step."""
    plain = {key: [_plain(value) for value in pair] for key, pair in changed.items()}
    return {"step": step, "changed": plain}


def describe(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the first ten changes as a text."""
    pairs = list(changed.items())
    listed = "; ".join(f"{key} was {before!r}, is {now!r}" for key, (before, now) in pairs[:10])
    return listed + (f"; and {len(pairs) - 10} more" if len(pairs) > 10 else "")


def _plain(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return repr(value)
    return value
