"""One optimiser step with everything that can go wrong in it: numbers, memory, runaway ascent.

Between `passes.py` and `engine.py`, which numbers the steps.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from spknorm.batches import Batch
from spknorm.batches.seeds import seeded
from spknorm.config.memory import release
from spknorm.errors import CheckpointError, is_out_of_memory
from spknorm.features.ahead import Ahead, let_go
from spknorm.features.sources import Source
from spknorm.method.optim import clipping
from spknorm.method.optim.ascent import leaves_behind
from spknorm.method.optim.precision import precision_of
from spknorm.method.optim.transaction import Statistics
from spknorm.method.optim.world import World
from spknorm.method.updates import Groups, Step, Update, strength
from spknorm.runner.passes import Passes
from spknorm.runner.pieces import Pieces
from spknorm.runner.setup import make_schedulers
from spknorm.runner.speaker_side import SpeakerSide
from spknorm.runs.instrument import MEASURED_EVERY, Instrument, Start
from spknorm.runs.lost_steps import LostSteps, ids_of, without_frames
from spknorm.runs.restored import check_groups, fused_as, options_of, restore_options
from spknorm.runs.state import Counters
from spknorm.schema import TaskConfig

_MOMENTUM = 0.9


class Iteration:
    """Does optimiser steps; changes weights, optimisers and the run's counters.

    Attributes:
        ahead: Sends the next step's batches while one is computed; at first there are none.

    Args:
        expert: The task: heads, target, streams; the seed of the randomness within a step, with the
            step's number and the rank.
        source: Gives features.
        groups: Trainable parameters by role.
        world: The processes that share each batch.
        modules: All that may be in training mode.
        settings: The whole configuration.
        counters: Of the run, changed as it goes.
        say: Takes what the user should read in log.log.
        start: What the shared part's drift is measured from.
        scales: Of single parameters' learning rates, where they are not 1.
    """

    def __init__(
        self,
        expert: Any,
        source: Source,
        groups: Groups,
        world: World,
        *,
        modules: Sequence[nn.Module],
        settings: TaskConfig,
        counters: Counters,
        say: Callable[[str], None],
        start: Start,
        scales: Mapping[nn.Parameter, float] | None = None,
    ) -> None:
        run, method = settings.runner, settings.downstream_expert.spknorm
        self._run, self._method = run, method
        self._world, self._seed = world, expert.seed
        self._lost, self._say = LostSteps(run, world, counters, say), say
        self._counters, self._speaker_side = counters, None
        if expert.heads.speaker_head is not None:
            self._speaker_side = SpeakerSide(
                expert, source, modules, world, settings=settings, counters=counters, say=say
            )
        precision = precision_of(run, world.device)
        self.scaler = GradScaler(world.device.type, enabled=precision == "fp16")
        self.update = Update(
            groups,
            method=method,
            optimizer=settings.optimizer,
            scales=scales,
            clipping=run.gradient_clipping,
            clip=clipping.resolved(run.clip, run.engine),
            scaler=self.scaler,
            world=world,
        )
        self.schedulers = make_schedulers(
            settings.scheduler, self.update.optimizers, total_steps=run.total_steps
        )
        self._pieces = Pieces(run, source, world, counters, keep_on_host=self.update.keep_on_host)
        self._passes = Passes(
            expert.heads,
            source,
            world,
            parameters=[parameter for group in groups for parameter in group],
            accumulate=run.gradient_accumulate_steps,
            precision=precision,
            scaler=self.scaler,
            one_stage=method.strategy != "none" and method.update == "reversal",
            target=expert.target,
            pieces=self._pieces,
            speaker_piece=settings.downstream_expert.speaker_corpus.micro_batch_size,
        )
        self._statistics = Statistics(modules)
        self.instrument = Instrument(
            counters,
            start,
            target=expert.target,
            num_speakers=0 if method.strategy == "none" else expert.num_speakers,
        )
        self.ahead = Ahead({}, source, torch.device("cpu"))
        self._last = Step({}, True)
        self._strength = 0.0

    def __call__(self, emotion: list[Batch], speaker: list[Batch]) -> None:
        """Do step `counters.step`, or leave everything but its number as it was.

        Where memory is short, the batches' copies on the device are let go of.

        Raises:
            NonFiniteError: Numbers have not been finite `runner.max_nonfinite` times in a row.
            ConfigError: Memory has been short more than `runner.max_oom` times in a row, or where
                a step cannot be taken back.
        """
        counters = self._counters
        self._statistics.keep()
        scale = self.scaler.state_dict()
        scheduled = strength(self._method, step=counters.step, total_steps=self._run.total_steps)
        ascends = self._speaker_side is None or self._speaker_side.ascends()
        if self._speaker_side is not None:
            speaker = [*self._speaker_side.catches_up_on(), *speaker]
        self._strength = scheduled if ascends else 0.0
        short = self._try(emotion, speaker)
        while short is not None and self._lost.can_be_tried_again(short):
            how = self._pieces.finer() or self.ahead.stop(self._world)
            if how is None:
                break
            self._say(f"out of memory at step {counters.step + 1}: {how}")
            short = self._try(emotion, speaker)
        if short is not None:
            self._lost.to_memory([*emotion, *speaker], short)
        for scheduler in self.schedulers.values():
            scheduler.step()
        self._passes.finish()
        tally = self._passes.tally
        if self._world.is_leader:  # one process says so for all
            tally.add("left_behind", leaves_behind(self._method, self._last.ascent))
        tally.values[:] = self._world.sum(tally.values.tolist())
        counters.step += 1
        if self._last.finite:
            counters.behind = tally["left_behind"] > 0
        else:
            self._statistics.take_back()
        if tally["bad"]:  # of no scale's making
            self.scaler.load_state_dict(scale)
        counts = short is None and not tally["bad"] and (self._last.finite or self._overflowed())
        due, ascent = self._strength > 0, self._last.ascent
        self.instrument.add(
            tally if counts else None,
            ascent,
            paused=scheduled > 0 and not due,
            skipped=due and (ascent.lost or not self._last.finite),
        )
        if short is not None:
            return
        counters.out_of_memory_in_a_row = 0
        if not counts:
            self._lost.to_numbers(self._passes.bad_ids or ids_of([*emotion, *speaker]))
            return
        counters.nonfinite_in_a_row = 0
        loss = tally.mean("speaker_loss", "speaker_batches")
        if loss is not None:
            before = loss if counters.speaker_loss is None else counters.speaker_loss
            counters.speaker_loss = _MOMENTUM * before + (1 - _MOMENTUM) * loss
            best = counters.best_speaker_loss
            if best is None or counters.speaker_loss < best:
                counters.best_speaker_loss = counters.speaker_loss

    def _try(self, emotion: list[Batch], speaker: list[Batch]) -> BaseException | None:
        """Do the step; where memory was short take it back, and return the error."""
        self._passes.begin()
        self._pieces.begin()
        place = (self._seed, self._counters.step, self._world.rank)
        try:
            with seeded("step", *place, device=self._world.device):
                self._last = self._step(emotion, speaker)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._last, short = Step({}, finite=False), without_frames(error)
        else:
            return None
        self._passes.begin()  # and lets go of what the device holds
        self._statistics.take_back()
        self.ahead.drop()
        let_go(emotion, speaker)
        release()
        return short

    def measured(self) -> dict[str, Any]:
        """Return the means since the last call, as metrics.jsonl has them."""
        method = self._method
        rate = method.speaker_lambda if method.ascent_lr is None else method.ascent_lr
        return {
            **self.instrument.read(),
            "speaker_lambda": None if method.strategy == "none" else self._strength * rate,
            "lr": self.update.emotion.param_groups[-1]["lr"],
            "grad_norm": self._last.norms,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside weights and counters, under s3prl's keys."""
        states: dict[str, Any] = {"Optimizer": self.update.state_dict()}
        if self.schedulers:
            states["Scheduler"] = {key: s.state_dict() for key, s in self.schedulers.items()}
        return states

    def load_state_dict(self, states: Mapping[str, Any], scaler: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, and the state of the fp16 scale.

        Learning rates and the like stay those of the configuration: it may have changed.
        """
        optimizers = self.update.optimizers
        asked = {name: options_of(optimizer) for name, optimizer in optimizers.items()}
        check_groups(states.get("Optimizer"), asked)
        try:
            self.update.load_state_dict(
                {name: fused_as(asked[name], states["Optimizer"][name]) for name in optimizers}
            )
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"The optimisers' state does not fit this experiment: {error}. Start a new one "
                "(-n or -p); -i takes weights alone along."
            ) from error
        for name, scheduler in self.schedulers.items():
            if name in states.get("Scheduler", {}):
                own = {"base_lrs": scheduler.base_lrs}
                scheduler.load_state_dict({**states["Scheduler"][name], **own})
        for name, optimizer in optimizers.items():
            for group, options in zip(optimizer.param_groups, asked[name], strict=True):
                restore_options(group, options, scheduled=name in states.get("Scheduler", {}))
        self.scaler.load_state_dict(scaler)

    def _step(self, emotion: Sequence[Batch], speaker: Sequence[Batch]) -> Step:
        batches = list(speaker) or [Batch([], [], [], [])]
        *further, last = (functools.partial(self._passes.speaker, batch) for batch in batches)

        def emotion_pass() -> None:
            self._passes.emotion(emotion)
            self.ahead.send()  # all of it is queued, and the host is about to wait for it

        return self.update.step(
            emotion_pass,
            last,
            self._strength,
            losses=self._passes.losses,
            head_passes=further,
            measure=self._counters.step % min(MEASURED_EVERY, self._run.log_step) == 0,
        )

    def _overflowed(self) -> bool:
        """Whether a gradient that is not finite is only the fp16 scale being searched."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1.0
