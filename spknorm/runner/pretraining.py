"""The speaker head learns its speakers before anything ascends against it.

Used by `engine.py` before step 1. What the head reads, the mean over time of what the upstream (and
under SNP the gate) gives as it comes, is computed once per utterance, each at its own fixed crop,
and kept in the cache where there is one; on these means a step costs no pass of the upstream. The
result is a function of seed and settings: a run that is killed before its first checkpoint does
the same again, and a later one finds it in the checkpoint.

Legend: N utterances, T frames, H upstream dimension, K speakers.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.batches import Order, Recordings, Stream
from spknorm.batches.seeds import seeded
from spknorm.config.memory import once_more
from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import fingerprint
from spknorm.features.kept import Floats
from spknorm.features.reader import CachedReader
from spknorm.method.model import SpeakerHead
from spknorm.runner.s3prl_runner import S3prlRunner
from spknorm.runs.evaluation import evaluating
from spknorm.upstreams.fast import make_encoder

logger = logging.getLogger(__name__)

BATCH_SIZE = 128
"""Utterances per step; they are rows of a table, so a batch costs no memory."""
RATE = 2.0e-3
"""Of the first step. A higher one loses the head, a lower one takes longer
(benchmarks/speaker_head.py, selection seed)."""
_CLIPPING = 1.0
_LOOKED_UP = 64
_EXAMINED = 4096
_SEED = 2_000_003  # other batches than those of the run


class Known(NamedTuple):
    """What a speaker head knows of some utterances: mean cross-entropy and accuracy."""

    loss: float
    accuracy: float


def pretrain_speaker_head(
    run: S3prlRunner, *, between: Callable[[], None], say: Callable[[str], None]
) -> dict[str, Any]:
    """Train a run's speaker head, in every process alike; return what metrics.jsonl keeps.

    The leader trains it, the others take it. `between` is called between batches and may raise,
    since nothing is lost before step 1; `say` takes what the user should read in log.log.
    """
    expert, data = run.expert, run.expert.data
    steps = run.settings.downstream_expert.spknorm.speaker_pretrain_steps
    utterances = (*data.speaker_utterances, *data.held_out.utterances)
    features = means_over_time(run, utterances, between=between)
    train, held = features[: len(data.speaker_labels)], features[len(data.speaker_labels) :]
    head: SpeakerHead = expert.heads.speaker_head
    values: dict[str, Any] = {"steps": steps, "log_num_speakers": math.log(expert.num_speakers)}
    if run.world.is_leader:
        untrained = {name: one.to("cpu", copy=True) for name, one in head.state_dict().items()}

        def train_head() -> Known:
            head.load_state_dict(untrained)
            labels, seed = data.speaker_labels, expert.seed
            return pretrain(head, train, labels, steps=steps, seed=seed, between=between)

        known = once_more(train_head)
        values |= {"speaker_loss": known.loss, "speaker_accuracy": known.accuracy}
        text = f"loss {known.loss:.3g}, accuracy {known.accuracy:.1%}"
        if len(held):
            other = once_more(lambda: examine(head, held, data.held_out.labels))
            values |= {"held_out_loss": other.loss, "held_out_accuracy": other.accuracy}
            text += (
                f"; on {len(held)} held-out ones ({data.held_out.origin}): loss {other.loss:.3g}, "
                f"accuracy {other.accuracy:.1%}"
            )
        say(
            f"the speaker head was trained for {steps} steps on the features of {len(train)} "
            f"utterances: {text}; a guess has {values['log_num_speakers']:.3g}, "
            f"{1 / expert.num_speakers:.1%}"
        )
    run.world.same_weights(head)
    return values


def pretrain(
    head: SpeakerHead,
    features: Tensor,
    labels: Sequence[int],
    *,
    steps: int,
    seed: int,
    between: Callable[[], None] = lambda: None,
) -> Known:
    """Train a speaker head on means over time; return what it knew in the last tenth of the steps.

    Adam, whatever optimiser the run has, at a rate that falls linearly from `RATE` to 0; each batch
    has as many different speakers as it can hold.

    Args:
        head: Changed in place.
        features: (N, H), on the head's device.
        labels: (N,) speaker indices.
        steps: 1 or more.
        seed: Of the batches and of dropout.
        between: Called before each step.
    """
    device, truth = features.device, torch.tensor(labels, device=features.device)
    order = Order(len(labels), batch_size=BATCH_SIZE, seed=seed + _SEED, classes=labels)
    optimizer = torch.optim.Adam(head.parameters(), lr=RATE)
    told, training = [], head.training
    head.train()
    with seeded("speaker pretraining", seed, device=device):
        for step in range(steps):
            between()
            rows = torch.tensor(order[step], device=device)
            logits = head.classify(features[rows])
            loss = functional.cross_entropy(logits, truth[rows])
            optimizer.param_groups[0]["lr"] = RATE * (1.0 - step / steps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(head.parameters(), _CLIPPING)
            optimizer.step()
            if step >= steps - max(1, steps // 10):
                hits = (logits.argmax(dim=-1) == truth[rows]).float().mean()
                told.append(torch.stack([loss.detach(), hits]))
    optimizer.zero_grad(set_to_none=True)
    head.train(training)
    return Known(*torch.stack(told).mean(dim=0).tolist())


def examine(head: SpeakerHead, features: Tensor, labels: Sequence[int]) -> Known:
    """Return what a speaker head knows of utterances given as means over time (N, H)."""
    truth = torch.tensor(labels, device=features.device)
    with evaluating([head]):
        parts = [head.classify(rows) for rows in torch.split(features, _EXAMINED)]
        logits = torch.cat(parts)
        loss = functional.cross_entropy(logits, truth)
    return Known(float(loss), float((logits.argmax(dim=-1) == truth).float().mean()))


def means_over_time(
    run: S3prlRunner, utterances: Sequence[Utterance], *, between: Callable[[], None]
) -> Tensor:
    """Return what the speaker head reads of each utterance, (N, H), as everything is now.

    A source that holds a frozen upstream's frames is asked for them; else the upstream is run, in
    evaluation mode, with `between` called before each pass.
    """
    upstream, featurizer, heads = run.upstream.model, run.featurizer.model, run.expert.heads
    source, config, modules = run.source, run.settings, [upstream, featurizer, heads]
    if not run.upstream.trainable and source.holds("speaker"):
        stream = Stream(
            Recordings(utterances, [0] * len(utterances)),
            Order(len(utterances), batch_size=_LOOKED_UP, shuffle=False),
        )
        batches = source.batches(stream, 0, len(stream.order), corpus="speaker", num_workers=0)

        def means(found: list[Tensor]) -> Tensor:
            return torch.stack([heads.gated(frames).mean(dim=0) for frames in found])

        with evaluating(modules):
            return torch.cat([source.in_parts(one, means, corpus="speaker") for one in batches])

    encode = make_encoder(upstream, featurizer, config.upstream, trainable=False)

    def compute(wavs: list[Tensor]) -> list[Floats]:
        between()
        with evaluating(modules):
            found = [heads.gated(frames.float()).mean(dim=0) for frames in encode(wavs)]
        return list(torch.stack(found).unsqueeze(1).cpu().numpy())  # B x (1, H)

    gate = [] if heads.gate is None else [heads.gate]
    reader = CachedReader(
        compute,
        about={
            "speaker_head_reads": fingerprint(upstream, featurizer, *gate),
            "packed": config.upstream.packed,
        },
        config=config.upstream,
        pooled=True,
        device=run.world.device,
    )
    seconds = config.downstream_expert.speaker_corpus.max_seconds
    keys = reader.fill(utterances, max_seconds=seconds)
    if keys is None:
        logger.info("Computing what the speaker head reads of %d utterances.", len(utterances))
    read = reader.read(utterances, keys, max_seconds=seconds)
    return torch.from_numpy(np.ascontiguousarray(read)).to(run.world.device)
