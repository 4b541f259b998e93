"""Gradients within bounds: whose gradients share one norm."""

from collections.abc import Container, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.utils import clip_grads_with_norm_

from spknorm.method.optim.groups import EMOTION

BOUNDED_TOGETHER: dict[str, tuple[tuple[str, ...], ...]] = {
    "joint": ((*EMOTION, "speaker_head"),),
    "stage": (EMOTION, ("speaker_head",)),
    "group": tuple((name,) for name in (*EMOTION, "speaker_head")),
}
"""The groups of parameters that share one norm, by the resolved `runner.clip`."""
_EPSILON = 1.0e-6  # of clip_grads_with_norm_


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
) -> dict[str, float]:
    """Scale gradients down where they are too large; return each group's norm as it was before.

    Args:
        gradients: Parameters by group; those without a gradient do not count.
        largest: Norm above which gradients are scaled; infinity: never.
        together: A key of `BOUNDED_TOGETHER`.
        free: Groups whose gradients stay as they are.
    """
    taken = {name: with_gradients(members) for name, members in gradients.items()}
    each = {name: _norms(parameters) for name, parameters in taken.items() if parameters}
    for names in BOUNDED_TOGETHER[together]:
        bounded = [name for name in names if name in each and name not in free]
        if not bounded:
            continue
        total = vector_norm(torch.cat([each[name] for name in bounded]))
        if float(total + _EPSILON) > largest:
            for name in bounded:
                clip_grads_with_norm_(taken[name], largest, total)
    return {name: float(vector_norm(norms)) for name, norms in each.items()}


def with_gradients(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return those that have a gradient."""
    return [parameter for parameter in parameters if parameter.grad is not None]


def _norms(parameters: list[nn.Parameter]) -> Tensor:
    """Return the norm of each parameter's gradient, as clip_grad_norm_ takes it, bit for bit."""
    return torch.stack([vector_norm(p.grad) for p in parameters if p.grad is not None])
