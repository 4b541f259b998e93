"""Equations (1) to (4) as optimiser steps, in the four readings of the paper's lambda.

    (1) w    <- w    - eta    * d l_er / d w         emotion, upstream (and gate)
    (2) w_er <- w_er - eta    * d l_er / d w_er      emotion, its head
    (3) w    <- w    + lambda * d l_id / d w         speaker, upstream (TAP) or gate alone (SNP)
    (4) w_id <- w_id - eta    * d l_id / d w_id      speaker, its head

literal   two stages, (1)(2) then (3)(4) on the weights that stage 1 left; lambda alone is the step
          of (3), taken by plain SGD on the raw gradient, whatever optimiser does the rest.
relative  the same two stages; lambda is what the step of (3) takes over what that of (1) has just
          taken, in length or in the logarithm of the loss, so it means the same at every scale.
adaptive  the same two stages, with an Adam of its own for (3). Adam divides by the gradient's own
          size, so lambda would change nothing: `ascent_lr` is the learning rate of the ascent.
reversal  one step on the summed gradient, d l_er / d w - c * d l_id / d w, any optimiser; under SGD
          c = lambda / eta is literal to first order.

The gradient of (3) arrives already reversed (gradients.py), so every optimiser here descends.

An iteration is one transaction. Nothing that it moves stays moved unless the gradients of both
stages are finite and memory lasts to its end: before a step that a later one can still spoil, a
copy is kept (transaction.py), and a failed iteration is taken back to it bit for bit.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from spknorm.errors import ConfigError
from spknorm.method.optim.ascent import (
    Ascent,
    Losses,
    aim,
    compare_gradients,
    compare_steps,
    make_ascent,
    taken_by_emotion,
    turn,
)  # fmt: skip
from spknorm.method.optim.clipping import Also, Clipped, all_finite, clip, unscale_again, unscaled
from spknorm.method.optim.groups import EMOTION, Groups, left_out, shared_names
from spknorm.method.optim.lists import distance
from spknorm.method.optim.optimizers import make_optimizer, needs_memory
from spknorm.method.optim.schedule import strength
from spknorm.method.optim.transaction import Copies, Transaction, summed_gradients
from spknorm.method.optim.world import World
from spknorm.schema import MethodConfig, OptimizerConfig

__all__ = ["Groups", "Step", "Update", "strength"]

SpeakerPass = Callable[[float], None]
"""Computes l_id and leaves its gradients, the shared part's times the argument and reversed."""
_nothing: Also = lambda norms: ()  # noqa: E731


class Step(NamedTuple):
    """What one iteration did: gradient norms by group, whether all were finite, its ascent."""

    norms: dict[str, float]
    finite: bool
    ascent: Ascent = Ascent()


class Update:
    """One iteration of the method: runs the passes, clips, and moves the weights, or nothing.

    A pass is a function that computes one loss and leaves its gradients in `.grad`.

    Args:
        groups: All trainable parameters.
        method: Strategy, update, lambda.
        optimizer: Of equations (1), (2), (4).
        scales: Of single parameters' learning rates in (1), where they are not 1.
        clipping: Largest gradient norm; infinity to leave gradients as they are. The gradient of
            an ascent of its own (every update but reversal) is never clipped by it.
        clip: Whose gradients share one norm; a key of `optim.clipping.BOUNDED_TOGETHER`.
        scaler: Of fp16 losses; disabled otherwise.
        world: Processes that share each batch; None if this one is alone.
    """

    def __init__(
        self,
        groups: Groups,
        *,
        method: MethodConfig,
        optimizer: OptimizerConfig,
        scales: Mapping[nn.Parameter, float] | None = None,
        clipping: float = math.inf,
        clip: str = "group",
        scaler: GradScaler | None = None,
        world: World | None = None,
    ) -> None:
        self.groups = groups
        self._method = method
        self._clipping, self._together = clipping, clip
        self._scaler = scaler or GradScaler("cpu", enabled=False)
        self._world = world
        self._kept = Transaction(world)
        self._stepped = False
        roles = {name: getattr(groups, name) for name in EMOTION}
        self.emotion = make_optimizer(optimizer, roles, scales)
        self.optimizers: dict[str, Optimizer] = {"emotion": self.emotion}
        self._shared_names, self._shared = shared_names(method), groups.shared(method)
        if method.strategy == "none":
            return
        self.speaker = make_optimizer(optimizer, {"speaker_head": groups.speaker_head})
        self.optimizers["speaker"] = self.speaker
        if not self._shared:
            raise ConfigError(
                "Strategy TAP moves the upstream (equation 3), but nothing of it is trainable. "
                "Fine-tune it (leave out --frozen), or choose strategy SNP."
            )
        if method.update != "reversal":
            self.ascent = make_ascent(method, self._shared)
            self.optimizers["ascent"] = self.ascent

    def step(
        self,
        emotion_pass: Callable[[], None],
        speaker_pass: SpeakerPass,
        strength: float,
        *,
        losses: Losses = tuple,
        head_passes: Sequence[SpeakerPass] = (),
        measure: bool = False,
    ) -> Step:
        """Do one iteration, or leave everything as it was if its numbers are not finite.

        Args:
            emotion_pass: Leaves the gradients of l_er.
            speaker_pass: Leaves those of l_id, the shared part's reversed and times its argument.
            strength: Of lambda, 0 to 1: schedule, warm-up and ceiling together.
            losses: Scalars, for `relative_to: loss`.
            head_passes: Further speaker passes, before all else: equation (4) alone.
            measure: Compare the steps of (3) and (1), which reads the shared part a few times.

        Raises:
            ShortOfMemoryError: In some process; nothing has moved in any.
            HalfMovedError: Memory ran out where no copy is kept; the weights are not to be used.
        """
        climb = functools.partial(self._climb, speaker_pass)

        def iterate() -> Step:
            for head_pass in head_passes:
                step = self._train_speaker_head(head_pass)
                if not step.finite:
                    return step
                unscale_again(self._scaler)
            emotion_pass()
            if self._method.strategy == "none":
                return self._one_stage("emotion")
            if self._method.update == "reversal":
                return self._reversal(climb, strength, measure)
            return self._two_stages(climb, strength, measure, losses)

        step = self._whole_or_nothing(iterate)
        self._stepped |= step.finite
        return step

    def train_speaker_head(self, speaker_pass: SpeakerPass) -> Step:
        """Do equation (4) alone: a step of the speaker head, nothing ascends."""
        return self._whole_or_nothing(lambda: self._train_speaker_head(speaker_pass))

    def keep_on_host(self) -> None:
        """Keep copies of what an iteration moves in the main memory from now on."""
        self._kept.on_host = True

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states by name."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])

    def _whole_or_nothing(self, iterate: Callable[[], Step]) -> Step:
        try:
            step = iterate()
        except BaseException:
            unscale_again(self._scaler)
            self._take_back()
            raise
        self._scaler.update()
        if not step.finite:
            self._take_back()
        self._kept.forget()
        return step

    def _two_stages(
        self, speaker_pass: SpeakerPass, strength: float, measure: bool, losses: Losses
    ) -> Step:
        """Finish stage 1 and do stage 2, whose pass runs even if stage 1 is lost: it may report."""
        norms, factors, _ = self._clip("emotion", kept=True)
        finite, asked = all_finite(norms), _nothing
        if finite:  # (1), (2)
            self._move("emotion", kept=True)
            if strength > 0:
                taken = taken_by_emotion(
                    self._method,
                    {name: getattr(self.groups, name) for name in self._shared_names},
                    before=self._kept.before,
                    factors=factors,
                )
                asked = functools.partial(self._turn, taken, losses)
        self.groups.drop_gradients()
        speaker_pass(1.0 if strength > 0 else 0.0)
        second, _, lengths = self._clip("ascent", "speaker", kept=finite, asked=asked)
        norms["speaker_head"] = second.get("speaker_head", 0.0)
        norms["ascent"] = math.hypot(*(second.get(name, 0.0) for name in self._shared_names))
        finite = finite and all_finite(second)
        ascent = Ascent()
        if finite:  # (3), (4)
            ascent = self._ascend(strength, measure, *lengths)
            self._move("speaker", kept=True)
        self.groups.drop_gradients()
        return Step(norms, finite, ascent)

    def _reversal(self, speaker_pass: SpeakerPass, strength: float, measure: bool) -> Step:
        """Add the speaker pass's gradients to those that are there, and do the one step."""
        emotion = summed_gradients(self._shared, self._world) if measure else None
        speaker_pass(strength * self._method.speaker_lambda)
        ascent = Ascent() if emotion is None else compare_gradients(emotion, self._shared)
        return self._one_stage("emotion", "speaker")._replace(ascent=ascent)

    def _climb(self, speaker_pass: SpeakerPass, coefficient: float) -> None:
        """Do a speaker pass that leaves the weights of the layers alone, unless (3) moves them."""
        held = () if "featurizer" in self._shared_names else self.groups.featurizer
        with left_out(held):
            speaker_pass(coefficient)

    def _train_speaker_head(self, speaker_pass: SpeakerPass) -> Step:
        speaker_pass(0.0)
        return self._one_stage("speaker", kept=True)

    def _one_stage(self, *names: str, kept: bool = False) -> Step:
        """Move everything at once; a step that needs memory, as the first does, keeps a copy."""
        kept |= not self._stepped or any(needs_memory(self.optimizers[name]) for name in names)
        norms, *_ = self._clip(*names, kept=kept)
        finite = all_finite(norms)
        if finite:
            self._move(*names, kept=kept)
        self.groups.drop_gradients()
        return Step(norms, finite)

    def _turn(self, taken: Tensor, losses: Losses, norms: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Turn the gradients into the ascent's direction; return what `aim` goes by."""
        sizes = [norms[name] for name in self._shared_names if name in norms]
        turned = turn(self._method, self._shared, emotion=self.emotion, sizes=sizes)
        return [taken, *turned, *(losses() if self._method.goes_by_loss else ())]

    def _ascend(self, strength: float, measure: bool, *lengths: float) -> Ascent:
        """Do equation (3), compare it with (1); `lengths` are what `_turn` returned."""
        update, shared = self._method.update, self._shared
        start = self._kept.before(shared) if measure else []
        if strength == 0:
            stepped = measure and float(distance(shared, start)) > 0
            return Ascent(share=0.0 if stepped else None)
        rate, clipped, taken = aim(self._method, *lengths, strength=strength)
        for group in self.ascent.param_groups:
            group["lr"] = rate
        between = Copies(shared) if measure and update == "adaptive" else None
        compared = Ascent()
        if measure and between is None:
            compared = compare_steps(shared, rate=rate, before=start)
        if rate > 0:
            self._move("ascent", kept=True)
        if between is not None:
            compared = compare_steps(shared, between=between.of(shared), before=start)
        asked = update == "adaptive" or self._method.speaker_lambda > 0
        return compared._replace(clipped=clipped, lost=asked and rate == 0, taken=taken)

    def _move(self, *names: str, kept: bool) -> None:
        self._kept.move([self.optimizers[name] for name in names], kept=kept)

    def _clip(self, *names: str, kept: bool = False, asked: Also = _nothing) -> Clipped:
        """Unscale the gradients of the named optimisers and clip them.

        What the optimisers are about to move is `kept` before the host waits for norms and what
        is `asked`. An ascent's own gradient is left alone: (3) has no bound but `ascent_clip`.
        """
        optimizers = [self.optimizers[name] for name in names]
        gradients = unscaled(optimizers, self.groups._asdict(), self._scaler)
        free = self._shared_names if "ascent" in names else ()

        def also(norms: Mapping[str, Tensor]) -> Sequence[Tensor]:
            found = asked(norms)
            self._kept.keep(optimizers if kept else ())
            return found

        return clip(gradients, self._clipping, together=self._together, free=free, also=also)

    def _take_back(self) -> None:
        self._kept.take_back()
        self.groups.drop_gradients()
