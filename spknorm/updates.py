"""Equations (1) to (4) as optimiser steps, in the three readings of the paper's lambda.

    (1) w    <- w    - eta    * d l_er / d w         emotion, upstream (and gate)
    (2) w_er <- w_er - eta    * d l_er / d w_er      emotion, its head
    (3) w    <- w    + lambda * d l_id / d w         speaker, upstream (TAP) or gate alone (SNP)
    (4) w_id <- w_id - eta    * d l_id / d w_id      speaker, its head

literal   two stages, (1)(2) then (3)(4) on the weights that stage 1 left; lambda alone is the step
          of (3), taken by plain SGD on the raw gradient, whatever optimiser does the rest.
adaptive  the same two stages, with an Adam of its own for (3). Adam divides by the gradient's own
          size, so lambda would change nothing: `ascent_lr` is the learning rate of the ascent.
reversal  one step on the summed gradient, d l_er / d w - c * d l_id / d w, any optimiser; under SGD
          c = lambda / eta is literal to first order.

The gradient of (3) arrives already reversed (gradients.py), so every optimiser here descends.
"""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.linalg import vector_norm
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from spknorm.errors import ConfigError
from spknorm.schema import GroupConfig, MethodConfig, OptimizerConfig

logger = logging.getLogger(__name__)

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "SGD": torch.optim.SGD,
    "Adamax": torch.optim.Adamax,
    "NAdam": torch.optim.NAdam,
    "RMSprop": torch.optim.RMSprop,
}
_EPSILON = 1.0e-6  # of clip_grads_with_norm_
WRECKING_ASCENT_LR = 1.0e-4
"""Above this rate an ascending Adam destroys an upstream within tens of steps."""


class Groups(NamedTuple):
    """The trainable parameters by role; the featurizer's weights count as the upstream's."""

    upstream: list[nn.Parameter]
    gate: list[nn.Parameter]
    emotion_head: list[nn.Parameter]
    speaker_head: list[nn.Parameter]

    def shared(self, strategy: str) -> list[nn.Parameter]:
        """Return what equation (3) moves: the gate under SNP, the upstream under TAP."""
        return {"none": [], "SNP": self.gate, "TAP": self.upstream}[strategy]


class Step(NamedTuple):
    """What one iteration did: the gradient norm of each group, and whether all were finite."""

    norms: dict[str, float]
    finite: bool


class Update:
    """One iteration of the method: runs the passes, clips, and moves the weights.

    A pass is a function that computes one loss and leaves its gradients in `.grad`; the speaker
    pass takes the coefficient of the reversed gradient.

    Args:
        groups: All trainable parameters.
        method: Strategy, update, lambda.
        optimizer: Of equations (1), (2), (4).
        clipping: Largest gradient norm; infinity to leave gradients as they are.
        clip_groups: Clip each group for itself; else one norm over all of a stage, as s3prl does.
        scaler: Of fp16 losses; disabled otherwise.
    """

    def __init__(
        self,
        groups: Groups,
        *,
        method: MethodConfig,
        optimizer: OptimizerConfig,
        clipping: float = math.inf,
        clip_groups: bool = True,
        scaler: GradScaler | None = None,
    ) -> None:
        self.groups = groups
        self._method = method
        self._clipping = clipping
        self._clip_groups = clip_groups
        self._scaler = scaler or GradScaler("cpu", enabled=False)
        own = optimizer.groups
        rates: dict[str, GroupConfig] = {
            name: getattr(own, name) if own else GroupConfig() for name in Groups._fields
        }
        emotion = ("upstream", "gate", "emotion_head")
        self.emotion = _make_optimizer(optimizer, {n: getattr(groups, n) for n in emotion}, rates)
        self.optimizers: dict[str, Optimizer] = {"emotion": self.emotion}
        if method.strategy == "none":
            return
        self.speaker = _make_optimizer(optimizer, {"speaker_head": groups.speaker_head}, rates)
        self.optimizers["speaker"] = self.speaker
        shared = groups.shared(method.strategy)
        if not shared:
            raise ConfigError(
                "Strategy TAP moves the upstream (equation 3), but nothing of it is trainable. "
                "Fine-tune it (leave out --frozen), or choose strategy SNP."
            )
        if method.update != "reversal":
            self.ascent = _make_ascent(method, shared)
            self.optimizers["ascent"] = self.ascent

    def step(
        self,
        emotion_pass: Callable[[], None],
        speaker_pass: Callable[[float], None],
        strength: float,
    ) -> Step:
        """Do one iteration.

        Args:
            emotion_pass: Leaves the gradients of l_er.
            speaker_pass: Leaves those of l_id, the shared part's reversed and times its argument.
            strength: Of lambda, 0 to 1: schedule, warm-up and ceiling together.
        """
        reversal = self._method.update == "reversal"
        emotion_pass()
        if self._method.strategy == "none":
            return self._finish("emotion")
        if reversal:
            speaker_pass(strength * self._method.speaker_lambda)
            return self._finish("emotion", "speaker")
        first = self._finish("emotion")
        speaker_pass(1.0 if strength > 0 else 0.0)
        rate = (
            self._method.speaker_lambda
            if self._method.ascent_lr is None
            else self._method.ascent_lr
        )
        for group in self.ascent.param_groups:
            group["lr"] = strength * rate
        second = self._finish("ascent", "speaker", ascends=strength > 0)
        norms = {**first.norms, "speaker_head": second.norms.get("speaker_head", 0.0)}
        norms["ascent"] = second.norms.get(self._shared_name, 0.0)
        return Step(norms, first.finite and second.finite)

    def train_speaker_head(self, speaker_pass: Callable[[float], None]) -> Step:
        """Do equation (4) alone: a further step of the speaker head, nothing ascends."""
        speaker_pass(0.0)
        return self._finish("speaker")

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states by name."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])

    @property
    def _shared_name(self) -> str:
        return {"none": "", "SNP": "gate", "TAP": "upstream"}[self._method.strategy]

    def _finish(self, *names: str, ascends: bool = True) -> Step:
        """Clip, move the weights of the named optimisers, forget all gradients."""
        optimizers = [self.optimizers[name] for name in names]
        for optimizer in optimizers:
            if any(p.grad is not None for g in optimizer.param_groups for p in g["params"]):
                self._scaler.unscale_(optimizer)
        norms = self._clip({id(p) for o in optimizers for g in o.param_groups for p in g["params"]})
        finite = all(math.isfinite(norm) for norm in norms.values())
        if finite:
            for name, optimizer in zip(names, optimizers, strict=True):
                if name != "ascent" or ascends:
                    optimizer.step()
        for parameters in self.groups:
            for parameter in parameters:
                parameter.grad = None
        return Step(norms, finite)

    def _clip(self, moved: set[int]) -> dict[str, float]:
        """Scale gradients that are too large; return each group's norm as it was before."""
        taken = {
            name: [p for p in parameters if p.grad is not None and id(p) in moved]
            for name, parameters in self.groups._asdict().items()
        }
        each = {name: _norms(parameters) for name, parameters in taken.items() if parameters}
        totals = {name: vector_norm(norms) for name, norms in each.items()}
        if not self._clip_groups and totals:
            totals = dict.fromkeys(totals, vector_norm(torch.cat(list(each.values()))))
        for name, total in totals.items():
            if float(total + _EPSILON) > self._clipping:
                clip_grads_with_norm_(taken[name], self._clipping, total)
        return {name: float(vector_norm(norms)) for name, norms in each.items()}


def strength(method: MethodConfig, *, step: int, total_steps: int) -> float:
    """Return how much of lambda counts at `step` (from 0): the schedule, 0 during the warm-up.

    linear grows as p and dann as 2 / (1 + exp(-10 p)) - 1 (Ganin et al. 2016, section 5.2.2), where
    p is the part of the ramp that is over.
    """
    if step < method.speaker_warmup_steps:
        return 0.0
    if method.schedule == "constant":
        return 1.0
    done = min(1.0, step / max(1.0, method.ramp * total_steps))
    return done if method.schedule == "linear" else 2.0 / (1.0 + math.exp(-10.0 * done)) - 1.0


def _norms(parameters: list[nn.Parameter]) -> Tensor:
    """Return the norm of each parameter's gradient, as clip_grad_norm_ takes it, bit for bit."""
    return torch.stack([vector_norm(p.grad) for p in parameters if p.grad is not None])


def _make_optimizer(
    config: OptimizerConfig,
    parameters: dict[str, list[nn.Parameter]],
    rates: dict[str, GroupConfig],
) -> Optimizer:
    groups = []
    for name, members in parameters.items():
        own = rates[name]
        group: dict[str, Any] = {"params": members, "name": name}
        group["lr"] = config.lr if own.lr is None else own.lr
        group["weight_decay"] = (
            config.weight_decay if own.weight_decay is None else own.weight_decay
        )
        if members:
            groups.append(group)
    options = {
        name: getattr(config, name)
        for name in ("momentum", "betas", "eps", "fused")
        if getattr(config, name) is not None
    }
    try:
        # Each group has its rate; s3prl's polynomial schedule asks for the optimiser's own.
        return OPTIMIZERS[config.torch_optim_name](groups, **{"lr": config.lr, **options})
    except (TypeError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"`config.optimizer`: {config.torch_optim_name} refuses {_names(options)}: {error}."
        ) from error


def _make_ascent(method: MethodConfig, shared: list[nn.Parameter]) -> Optimizer:
    if method.update == "literal":
        return torch.optim.SGD(shared, lr=method.speaker_lambda)
    assert method.ascent_lr is not None
    if method.strategy == "TAP" and method.ascent_lr > WRECKING_ASCENT_LR:
        logger.warning(
            "ascent_lr is %g: an ascending Adam above %g wrecks an upstream, since Adam divides by "
            "the gradient's own size. Try 1e-6.",
            method.ascent_lr,
            WRECKING_ASCENT_LR,
        )
    return torch.optim.Adam(shared, lr=method.ascent_lr)


def _names(options: Iterable[str]) -> str:
    return ", ".join(options) or "its options"
