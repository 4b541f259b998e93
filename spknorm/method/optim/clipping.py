"""Gradients within bounds: whose gradients share one norm."""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.linalg import vector_norm
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from spknorm.method.optim.groups import EMOTION
from spknorm.method.optim.lists import norms, read, with_gradients
from spknorm.method.optim.transaction import parameters_of

BOUNDED_TOGETHER: dict[str, tuple[tuple[str, ...], ...]] = {
    "joint": ((*EMOTION, "speaker_head"),),
    "stage": (EMOTION, ("speaker_head",)),
    "group": tuple((name,) for name in (*EMOTION, "speaker_head")),
}
"""The groups of parameters that share one norm, by the resolved `runner.clip`."""
_EPSILON = 1.0e-6  # of clip_grads_with_norm_


Also = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]
"""From each group's norms of gradients to further scalars."""


class Clipped(NamedTuple):
    """What `clip` has done.

    Attributes:
        norms: Each group's as it was before.
        factors: What the gradients of a group have been multiplied by, where they were too large.
        also: What has been read with the norms.
    """

    norms: dict[str, float]
    factors: dict[str, float]
    also: list[float]


def resolved(clip: str, engine: str) -> str:
    """Return the key of `BOUNDED_TOGETHER` that `runner.clip` means under `runner.engine`."""
    if clip != "auto":
        return clip
    return "joint" if engine == "s3prl" else "stage"


def clip(
    gradients: Mapping[str, Iterable[nn.Parameter]],
    largest: float,
    *,
    together: str,
    free: Container[str] = (),
    also: Also,
) -> Clipped:
    """Scale gradients down where they are too large.

    The host waits for the device once.

    Args:
        gradients: Parameters by group; those without a gradient do not count.
        largest: Norm above which gradients are scaled; infinity: never.
        together: A key of `BOUNDED_TOGETHER`.
        free: Groups whose gradients stay as they are.
        also: Is given the norm of each gradient by group; returns scalars to be read with them.

    """
    taken = {name: with_gradients(members) for name, members in gradients.items()}
    taken = {name: parameters for name, parameters in taken.items() if parameters}
    every = [p.grad for parameters in taken.values() for p in parameters if p.grad is not None]
    found = torch.split(norms(every), [*map(len, taken.values())]) if every else ()
    each = dict(zip(taken, found, strict=True))
    bounds: list[tuple[list[str], Tensor]] = []
    for names in BOUNDED_TOGETHER[together]:
        bounded = [name for name in names if name in each and name not in free]
        if not bounded:
            continue
        bounds.append((bounded, vector_norm(torch.cat([each[name] for name in bounded]))))
    own = [vector_norm(found) for found in each.values()]
    wanted = [*own, *(total + _EPSILON for _, total in bounds), *also(each)]
    values: list[float] = read(wanted)
    factors: dict[str, float] = {}
    for (bounded, total), value in zip(bounds, values[len(own) :], strict=False):
        if value > largest:
            clip_grads_with_norm_([p for name in bounded for p in taken[name]], largest, total)
            factors |= dict.fromkeys(bounded, largest / value)
    norms_before = dict(zip(each, values, strict=False))
    return Clipped(norms_before, factors, values[len(own) + len(bounds) :])


def all_finite(norms: Mapping[str, float]) -> bool:
    """Tell whether every norm is a number."""
    return all(math.isfinite(norm) for norm in norms.values())


def unscaled(
    optimizers: Sequence[Optimizer],
    groups: Mapping[str, Sequence[nn.Parameter]],
    scaler: GradScaler,
) -> dict[str, list[nn.Parameter]]:
    """Unscale what the optimisers move; return it by group."""
    for optimizer in optimizers if scaler.is_enabled() else ():
        if with_gradients(parameters_of(optimizer)):
            scaler.unscale_(optimizer)
    moved = set(map(id, parameters_of(*optimizers)))
    return {name: [one for one in members if id(one) in moved] for name, members in groups.items()}


def unscale_again(scaler: GradScaler) -> None:
    """Let the scaler unscale once more before it is updated, its scale as it is."""
    if scaler.is_enabled() and scaler._scale is not None:
        scaler.update(scaler.get_scale())
