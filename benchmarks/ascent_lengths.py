"""Lengths of the ascent other than the one of `relative`, tried by strength_across_upstreams.py.

Equation (3') is lambda * |D| long, D the step that (1) has just taken. At a high learning rate such
steps undo one another in part, so that as many ascents of their length come further than (1) does.
Directions are the raw gradient's, or what is said below.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from spknorm.method.updates import Groups, Update

Lengths = tuple[Tensor, Tensor]
"""Of the direction and of what lambda is a multiple of."""

Length = Callable[["Measured", Tensor, Tensor, list[Tensor]], Lengths]


class Measured(Update):
    """An update whose ascent goes by another length of (1) than that of its last step.

    Attributes:
        fall: How far the running emotion loss has come below its lowest before, in nats.
        excess: The adversary's objective over that of a uniform guess, in nats, at this step.
        shares: Of the excess, which each step's ascent would take to first order if it were as long
            as lambda says; above 1 it overshoots.

    Args:
        groups: All trainable parameters.
        length: Keys of `LENGTHS`, one after the other; None: the step's, which is only measured.
        rest: Of `Update`.
    """

    def __init__(self, groups: Groups, *, length: str | None, **rest: Any) -> None:
        super().__init__(groups, **rest)
        self.fall = self.excess = 0.0
        self._lengths = [LENGTHS[one] for one in length.split(", ")] if length else []
        self.shares: list[float] = []
        self.net = [torch.zeros_like(p) for p in self._shared]  # the sum of all steps by (1)
        self.come = 0.0  # its length before this step

    @torch.no_grad()
    def _turn(self, norms: Mapping[str, Tensor]) -> list[Tensor]:
        size, taken = super()._turn(norms)
        last = [
            p - start
            for p, start in zip(self._shared, self._kept.before(self._shared), strict=True)
        ]
        far = self._method.speaker_lambda * float(taken)
        self.shares.append(far * float(size) / max(self.excess, 1e-6))
        for length in self._lengths:
            size, taken = length(self, size, taken, last)
        return [size, taken]


def grown(update: Measured, size: Tensor, taken: Tensor, last: list[Tensor]) -> Lengths:
    """How much further from the start this step has brought the sum of all."""
    torch._foreach_add_(update.net, last)
    before, update.come = update.come, norm(update.net)
    return size, torch.tensor(max(update.come - before, 0.0))


def fall(update: Measured, size: Tensor, taken: Tensor, last: list[Tensor]) -> Lengths:
    """What would take as large a share of the adversary's excess as (1) took nats of its loss."""
    return size, update.fall * update.excess / size


def at_most(share: float) -> Length:
    """Return the step's length, cut to what would take a share of the adversary's excess.

    The stochastic Polyak step with a bound (Loizou et al., AISTATS 2021), the bound as in (3').
    """

    def cut(update: Measured, size: Tensor, taken: Tensor, last: list[Tensor]) -> Lengths:
        bound = share * update.excess / (update._method.speaker_lambda * size)
        return size, torch.minimum(taken, bound)

    return cut


def by_tensor(update: Measured, size: Tensor, taken: Tensor, last: list[Tensor]) -> Lengths:
    """Each tensor's in proportion to that tensor's own step; all together as long as before."""
    for parameter, step in zip(update._shared, last, strict=True):
        if parameter.grad is not None:
            parameter.grad *= step.norm() / parameter.grad.norm().clamp(min=1e-30)
    return torch.tensor(norm([p.grad for p in update._shared if p.grad is not None])), taken


def orthogonal(update: Measured, size: Tensor, taken: Tensor, last: list[Tensor]) -> Lengths:
    """As long, along what of the direction is at right angles to the step."""
    pairs = [
        (p.grad, step) for p, step in zip(update._shared, last, strict=True) if p.grad is not None
    ]
    along = torch.stack([(grad * step).sum() for grad, step in pairs]).sum()
    for grad, step in pairs:
        grad -= along / taken.square().clamp(min=1e-30) * step
    return torch.tensor(norm([grad for grad, _ in pairs])), taken


def norm(tensors: list[Tensor]) -> float:
    """Return the norm of all tensors together."""
    return math.hypot(*torch.stack(torch._foreach_norm(tensors)).tolist())


SHARES = (0.1, 0.2, 0.5, 1.0, 2.0)
LENGTHS: dict[str, Length] = {
    "grown": grown,
    "fall": fall,
    **{f"at most {share:g}": at_most(share) for share in SHARES},
    "by tensor": by_tensor,
    "orthogonal": orthogonal,
}
