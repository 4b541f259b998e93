"""Equation (3) as a step of its own: its direction, its length, and how it compares with (1).

Of every update but `reversal`, in which (3) is a part of the one step. The gradients that come in
are reversed already, so the ascent descends on them.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.optim import Optimizer

from spknorm.method.optim.lists import along, distance, flat_parts, length, with_gradients
from spknorm.method.optim.optimizers import fuses, precondition
from spknorm.schema import MethodConfig

logger = logging.getLogger(__name__)

Losses = Callable[[], Sequence[Tensor]]
"""Returns, of the last two passes, l_er and what the adversary's objective has over its least."""
WRECKING_ASCENT_LR = 1.0e-4
"""Above this rate an ascending Adam destroys an upstream within tens of steps."""


class Ascent(NamedTuple):
    """What equation (3) did in one iteration.

    Attributes:
        clipped: `ascent_clip` has shortened it.
        lost: It was asked for and moved nothing: no gradient, or under `relative` nothing taken by
            (1).
        share: Length of the shared part's step by (3) over its step by (1); under reversal of the
            two gradients in the one step. None if not measured, or if (1) took no step.
        angle: Between the two steps, in degrees; None if not measured, or if one is no step.
        taken: Share of what the speaker head knows that it took, to first order; 0 of an update
            that does not go by the loss.
    """

    clipped: bool = False
    lost: bool = False
    share: float | None = None
    angle: float | None = None
    taken: float = 0.0


class Aim(NamedTuple):
    """How far the ascent goes along its gradient.

    Attributes:
        rate: Learning rate of its optimiser; 0: it does not step.
        clipped: `ascent_clip` has lowered it.
        taken: See `Ascent`.
    """

    rate: float
    clipped: bool = False
    taken: float = 0.0


def make_ascent(method: MethodConfig, shared: Sequence[nn.Parameter]) -> Optimizer:
    """Return the optimiser of equation (3); its rate is set at each step."""
    if method.update != "adaptive":
        return torch.optim.SGD(shared, lr=method.speaker_lambda)
    assert method.ascent_lr is not None
    if method.strategy == "TAP" and method.ascent_lr > WRECKING_ASCENT_LR:
        logger.warning(
            "ascent_lr is %g: an ascending Adam above %g wrecks an upstream, since Adam divides by "
            "the gradient's own size. Try 1e-6.",
            method.ascent_lr,
            WRECKING_ASCENT_LR,
        )
    return torch.optim.Adam(shared, lr=method.ascent_lr, fused=fuses("Adam", shared))


@torch.no_grad()
def taken_by_emotion(
    method: MethodConfig,
    groups: Mapping[str, Sequence[nn.Parameter]],
    *,
    before: Callable[[Sequence[nn.Parameter]], Sequence[Tensor]],
    factors: Mapping[str, float],
) -> Tensor:
    """Return what the step of (1) on the shared part has taken, a scalar; see `relative_to`.

    step: its length. loss: by how much it has lowered the emotion loss, to first order. Every
    update but `relative` goes by neither: 0.

    Args:
        method: Reading.
        groups: What (3) moves, with the gradients of (1).
        before: Returns what each parameter was before (1).
        factors: What clipping has multiplied the gradients of a group by.
    """
    shared = [parameter for group in groups.values() for parameter in group]
    if method.update != "relative":
        return torch.zeros((), device=shared[0].device)
    if not method.goes_by_loss:
        return distance(shared, before(shared))
    starts, falls = iter(before(shared)), []
    for name, group in groups.items():
        moves = [(p.grad, p, start) for p, start in zip(group, starts, strict=False)]
        moved = [move for move in moves if move[0] is not None]
        falls += [-along(*zip(*moved, strict=True)) / factors.get(name, 1.0)] if moved else []
    return torch.stack(falls).sum() if falls else torch.zeros((), device=shared[0].device)


def turn(
    method: MethodConfig,
    shared: Sequence[nn.Parameter],
    *,
    emotion: Optimizer,
    sizes: Sequence[Tensor],
) -> list[Tensor]:
    """Turn the gradients of `shared` into the ascent's direction; return what `aim` goes by.

    Args:
        method: Reading, direction.
        shared: What (3) moves.
        emotion: The optimiser of (1), which has stepped; its state is only read.
        sizes: Norms of the gradients as they are, (n_i,).

    Returns:
        Scalars: the direction's length and, where it is not the gradient and that is needed, its
        inner product with the gradient.
    """
    if not method.preconditions:
        return [vector_norm(torch.cat([*sizes])) if sizes else torch.zeros(())]
    slopes = precondition(with_gradients(shared), emotion, with_slope=method.goes_by_loss)
    return [length([p.grad for p in shared if p.grad is not None]), *slopes]


def aim(
    method: MethodConfig,
    taken: float = 0.0,
    size: float = 0.0,
    *rest: float,
    strength: float,
) -> Aim:
    """Return how far the ascent goes.

    Args:
        method: Reading, lambda, cap.
        taken: What `taken_by_emotion` has returned.
        size: Length of the ascent's direction.
        rest: For `relative_to: loss`. By how much the adversary's objective falls with the rate,
            to first order, if the direction is not the gradient; l_er that (1) has stepped on;
            and what the adversary's objective has over its least.
        strength: Of lambda, above 0.
    """
    if not 0 < size < math.inf:
        return Aim(0.0)
    if method.update == "adaptive":
        assert method.ascent_lr is not None
        return Aim(strength * method.ascent_lr)
    if method.update == "relative":
        wanted = strength * method.speaker_lambda * taken
        if not method.goes_by_loss:
            return Aim(wanted / size)
        fall, loss, excess = rest if len(rest) > 2 else (size * size, *rest)
        if min(wanted, fall, loss, excess) <= 0:
            return Aim(0.0)
        taken = -math.expm1(-wanted / loss)
        return Aim(taken * excess / fall, taken=taken)
    rate = strength * method.speaker_lambda
    if method.ascent_clip is not None and rate * size > method.ascent_clip:
        return Aim(method.ascent_clip / size, clipped=True)
    return Aim(rate)


def leaves_behind(method: MethodConfig, ascent: Ascent) -> bool:
    """Return whether the speaker head has to catch up after an ascent."""
    return method.speaker_catch_up is not None and ascent.taken > method.speaker_catch_up


@torch.no_grad()
def compare_gradients(emotion: Sequence[Tensor], shared: Sequence[nn.Parameter]) -> Ascent:
    """Compare the two gradients in a summed one; each part of the step goes against its own.

    Args:
        emotion: Gradients of l_er, as they were before those of l_id were added.
        shared: Parameters with the sum of both.
    """
    both = [mine if p.grad is None else p.grad for p, mine in zip(shared, emotion, strict=True)]
    return compare((summed - mine, mine) for mine, summed in flat_parts(emotion, both))


@torch.no_grad()
def compare_steps(
    shared: Sequence[nn.Parameter],
    *,
    before: Sequence[Tensor],
    rate: float = 0.0,
    between: Sequence[Tensor] | None = None,
) -> Ascent:
    """Compare the step by (3) with the one by (1).

    What plain SGD will add is computed as it will compute it, weight by weight, so that a step
    which is lost in rounding counts as none and no copy of the shared part is made.

    Args:
        shared: Parameters as (1) has left them, with the gradients of (3); or as (3) has.
        before: What each parameter was before (1).
        rate: Of SGD, which has not stepped yet.
        between: What each parameter was before (3), where that has been done.
    """
    if between is not None:
        ends = flat_parts(shared, between, before)
        return compare((end - middle, middle - start) for end, middle, start in ends)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in shared]
    return compare(
        (torch.add(now, gradient, alpha=-rate) - now, now - start)
        for now, gradient, start in flat_parts(shared, gradients, before)
    )


def compare(steps: Iterable[tuple[Tensor, Tensor]]) -> Ascent:
    """Return share and angle of a step by (3), beside one by (1) on the same weights.

    Args:
        steps: Both steps of some weights, (N,), by (3) first.
    """
    parts = [
        torch.stack([vector_norm(climbed), vector_norm(taken), torch.dot(climbed, taken)])
        for climbed, taken in steps
    ]
    if not parts:
        return Ascent()
    each = torch.stack(parts).cpu().double()  # one wait
    above, below = vector_norm(each[:, :2], dim=0).tolist()
    if not (0 < below < math.inf and math.isfinite(above)):
        return Ascent()
    if above == 0:
        return Ascent(share=0.0)
    cosine = max(min(float(each[:, 2].sum()) / (above * below), 1.0), -1.0)
    return Ascent(share=above / below, angle=math.degrees(math.acos(cosine)))
