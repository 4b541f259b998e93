"""Fine-tuning the demo's upstream in memory: plain, under TAP, and behind a closed-form eraser.

Beside `frozen.py`, whose model is where fine-tuning starts: its emotion head is trained on the
upstream as it comes before the upstream moves (Kumar et al. 2022, arXiv 2202.10054), so that
fine-tuning can be told from a head that has to find its way. The transformer trains
under the product's heads and update; the convolutions below it are frozen (`upstream.py`).

Legend: B utterances, T frames, H dimensions of a frame, D = 2 H of a pooled utterance.
"""

import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spknorm import schema
from spknorm.controlled import frozen
from spknorm.controlled.frozen import Data, Model
from spknorm.controlled.upstream import View, load_encoder
from spknorm.method.model import Heads, SpeakerHead
from spknorm.method.updates import Update, strength
from spknorm.probe.erasure import erase, fit_leace

_HEAD_BATCH = 96


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How the upstream is fine-tuned; batches are utterances per step.

    Attributes:
        lr: Of AdamW for the upstream, with a cosine to 0.
        head_lr: Of the emotion head, as is `weight_decay`.
        update: Reading of lambda under TAP; `relative_to` and `ascent_direction` are of `relative`.
        speaker_lambda: Of that reading; with `adaptive`, the rate of the ascent.
        speaker_steps: Speaker batches per step; the ascent uses the last.
        speaker_pretrain_steps: Of the speaker head on the upstream as it comes.
        ramp: Part of the steps over which lambda grows from 0.
        rank: Directions that an eraser between upstream and heads takes out; 0: no eraser.
        refit_steps: Steps after which the eraser is fitted anew, on the whole speaker corpus.
    """

    steps: int = 100
    lr: float = 5e-4
    head_lr: float = 1e-3
    speaker_lr: float = 1e-2
    weight_decay: float = 0.5
    emotion_batch: int = 32
    speaker_batch: int = 32
    update: schema.Update = "relative"
    relative_to: Literal["step", "loss"] = "step"
    ascent_direction: Literal["raw", "preconditioned"] = "preconditioned"
    speaker_lambda: float = 4.0
    speaker_steps: int = 1
    speaker_pretrain_steps: int = 600
    ramp: float = 0.2
    rank: int = 0
    refit_steps: int = 20


def begin(data: Data[Tensor], settings: frozen.Settings, *, rank: int = 0, seed: int) -> Model:
    """Train the emotion head on the upstream as it comes: strategy none, frozen.

    Data are the front end's output (N, T, H); `rank` directions are erased before, if it is not 0.
    """
    view = View(load_encoder().eval())  # no dropout: a fifth of the time for a rate of .05
    emotional, neutral = view.of_all(data.emotional), view.of_all(data.neutral)
    known = np.concatenate([emotional, neutral])
    mean, std = known.mean(0), known.std(0) + 1e-6
    view.scale = torch.from_numpy(mean), torch.from_numpy(std)
    emotional, neutral = (emotional - mean) / std, (neutral - mean) / std
    if rank:
        view.eraser = fit_leace(neutral, data.speaker, rank=rank)
        emotional, neutral = erase(emotional, view.eraser), erase(neutral, view.eraser)
    pooled = Data(emotional, data.emotion, neutral, data.speaker)
    return frozen.train(pooled, settings, seed=seed)._replace(view=view)


def fine_tune(
    data: Data[Tensor],
    settings: FineTuning,
    *,
    start: Model,
    strategy: schema.Strategy,
    adversary: schema.Adversary = "ascent",
    seed: int,
) -> Model:
    """Fine-tune the transformer and the heads of `start`, which stays as it is.

    Data are the front end's output (N, T, H), the same as of the start, which has an eraser of
    `settings.rank` directions if that is not 0. The strategy is `none` or `TAP`.
    """
    method, optimizer = _recipe(settings, strategy, adversary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # layerdrop draws from numpy, whatever its rate
        view, heads = _copied(start, data, strategy)
        groups = frozen.groups_of(heads, view)
        update = Update(groups, method=method, optimizer=optimizer, clipping=1.0)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(update.emotion, settings.steps)
        generator = torch.Generator().manual_seed(seed)
        passes = frozen.PooledPasses(heads, data, settings, adversary, generator, view)
        further = settings.speaker_steps - 1 if strategy == "TAP" else 0
        if strategy == "TAP":
            before = torch.from_numpy(view.of_all(data.neutral))
            pooled = data._replace(neutral=before)
            batches = replace(settings, speaker_batch=_HEAD_BATCH)
            alone = frozen.PooledPasses(heads, pooled, batches, "ascent", generator)
            for _ in range(settings.speaker_pretrain_steps):
                update.train_speaker_head(alone.speaker)
        for step in range(settings.steps):
            if settings.rank and step % settings.refit_steps == 0:
                view.erase(data.neutral, data.speaker, settings.rank)
            by = strength(method, step=step, total_steps=settings.steps)
            head_passes = [passes.speaker] * further
            update.step(
                passes.emotion,
                passes.speaker,
                by,
                losses=passes.falling,
                head_passes=head_passes,
            )
            cosine.step()
        if settings.rank:
            view.erase(data.neutral, data.speaker, settings.rank)
    heads.eval()
    return Model(heads, passes.last_loss(), view)


def _recipe(
    settings: FineTuning, strategy: schema.Strategy, adversary: schema.Adversary
) -> tuple[schema.MethodConfig, schema.OptimizerConfig]:
    method = schema.MethodConfig(
        strategy=strategy,
        update=settings.update,
        adversary=adversary,
        speaker_lambda=settings.speaker_lambda,
        relative_to=settings.relative_to,
        ascent_direction=settings.ascent_direction,
        speaker_catch_up=None,
        ascent_lr=settings.speaker_lambda if settings.update == "adaptive" else None,
        schedule="linear",
        ramp=settings.ramp,
    )
    head = schema.GroupConfig(lr=settings.head_lr, weight_decay=settings.weight_decay)
    rates = schema.GroupsConfig(
        emotion_head=head, speaker_head=schema.GroupConfig(lr=settings.speaker_lr)
    )
    optimizer = schema.OptimizerConfig(
        torch_optim_name="AdamW", lr=settings.lr, fused=True, groups=rates
    )
    return method, optimizer


def _copied(start: Model, data: Data[Tensor], strategy: schema.Strategy) -> tuple[View, Heads]:
    """Return a copy of view and emotion head, with a speaker head where the strategy wants one."""
    view = copy.copy(start.view)
    assert view is not None
    view.encoder = copy.deepcopy(view.encoder)
    heads = copy.deepcopy(start.heads).train()
    heads.strategy = strategy
    if strategy == "TAP":
        dim, num_speakers = 2 * data.neutral.shape[-1], int(data.speaker.max()) + 1
        heads.speaker_head = SpeakerHead(dim, num_speakers, hidden=(64,), batch_norm=True)
    return view, heads
