"""One loop for rivals that add a term to the emotion loss.

Gate, head, optimiser and schedule are those of SNP on frozen features; a rival says what is added,
and may bring a head of its own.

Legend: B utterances, D dimensions, C emotions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled import frozen
from spknorm.controlled.fitted import Fit, Fitted, of_model
from spknorm.controlled.frozen import Data, Settings
from spknorm.controlled.pool import Floats


class Batch(NamedTuple):
    """One step's emotion batch.

    Behind the gate (B, D), logits (B, C), cross-entropy, emotion and speaker of each (B,).
    """

    seen: Tensor
    logits: Tensor
    losses: Tensor
    emotion: Tensor
    who: Tensor


class Terms(NamedTuple):
    """What a rival adds: `own` trains its own parts, `penalty` (times its strength) all else."""

    own: Tensor
    penalty: Tensor


class Rule(nn.Module):
    """A rival's term, with its parameters: called with heads, `Batch` and generator -> `Terms`."""


def by_rule(make: Callable[[Data[Floats], Settings], Rule], *, gate: bool = True) -> Fit:
    """Return the rival whose strength weighs a rule's penalty."""

    def fit(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            rule = make(known, settings)
        return train(known, settings, rule, weight=strength, seed=seed, gate=gate)

    return fit


def train(
    known: Data[Floats],
    settings: Settings,
    rule: Rule | None,
    *,
    weight: float,
    seed: int,
    offset: Tensor | None = None,
    gate: bool = True,
) -> Fitted:
    """Train gate (if there is one) and head on cross-entropy + weight * penalty of a rule.

    Settings are those for SNP; `speaker_lr` is that of the rule's own parts, and the penalty grows
    over `ramp`. An `offset` (N, C) is added to the logits in training alone.
    """
    generator = torch.Generator().manual_seed(seed)
    features, emotion = torch.from_numpy(known.emotional), torch.from_numpy(known.emotion)
    who = torch.from_numpy(np.unique(known.who, return_inverse=True)[1].astype(np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = frozen.make_heads(known, settings, "SNP" if gate else "none")
        groups = [{"params": list(heads.parameters()), "weight_decay": settings.weight_decay}]
        if rule is not None:
            own = {"params": list(rule.parameters()), "lr": settings.speaker_lr}
            groups.append({**own, "weight_decay": 0.0})

        def loss_of(step: int, rows: Tensor) -> Tensor:
            seen = heads.gated(features[rows])
            logits = frozen.head_logits(heads, seen)
            adjusted = logits if offset is None else logits + offset[rows]
            losses = functional.cross_entropy(adjusted, emotion[rows], reduction="none")
            if rule is None:
                return losses.mean()
            terms = rule(heads, Batch(seen, logits, losses, emotion[rows], who[rows]), generator)
            grown = weight * min(1.0, step / max(1.0, settings.ramp * settings.steps))
            total: Tensor = losses.mean() + terms.own + grown * terms.penalty
            return total

        minimise(loss_of, groups, settings, len(emotion), generator)
    heads.eval()
    return of_model(frozen.Model(heads))


def minimise(
    loss_of: Callable[[int, Tensor], Tensor],
    groups: list[dict[str, Any]],
    settings: Settings,
    num_rows: int,
    generator: torch.Generator,
) -> None:
    """Descend on the loss of each step's rows by AdamW, with a cosine to 0."""
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for step in range(settings.steps):
        rows = torch.randint(num_rows, (settings.emotion_batch,), generator=generator)
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(step, rows))
        optimizer.step()
        cosine.step()
