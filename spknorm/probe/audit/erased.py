"""What the head of an erasure baseline sees: the raw upstream's features without the speaker.

Computed as the runner does it (spknorm.probe.erasure), layer by layer before the featurizer's sum:
LEACE is fitted on the speaker corpus that the run was given, z-normalisation takes each speaker's
own mean and deviation out of each corpus.

Legend: N utterances, L layers that the featurizer reads, H upstream dimension.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax

from spknorm.batches.task import read_speakers
from spknorm.features.reader import Reading, upstream_reader
from spknorm.probe.audit.models import Model
from spknorm.probe.audit.pooling import Floats, PooledFeatures, read_through, utterances_of
from spknorm.probe.audit.questions import Question
from spknorm.probe.audit.runs import Run
from spknorm.probe.erasure import Eraser, erase_layers, fit_layers, normalise_layers


def pool_erased_features(
    run: Run, model: Model, questions: list[Question], *, device: str, work_dir: Path
) -> PooledFeatures:
    """Return what the head sees of the questions' utterances, (N, 1, H).

    Raises:
        DataError: A speaker with one utterance cannot be z-normalised.
    """
    expert, config = run.settings.downstream_expert, run.settings.upstream
    reading = Reading.of(model.featurizer, pooled=True)
    reader = upstream_reader(model.upstream, reading, config=config, device=device)
    seconds = expert.speaker_corpus.max_seconds
    erasers: tuple[Eraser, ...] = ()
    if run.stage == "leace":
        spoken, _, labels, *_ = read_speakers(
            expert.speaker_corpus, data=expert.datarc, seed=run.seed, work_dir=work_dir
        )
        reference = read_through(reader, spoken, config=config, max_seconds=seconds)
        erasers = fit_layers(reference, labels, rank=expert.spknorm.erasure_rank)
    blocks: list[Floats] = []
    places: dict[tuple[str, str], int] = {}
    for corpus, utterances in utterances_of(questions).items():
        start = sum(len(block) for block in blocks)
        places |= {(corpus, u.id): start + number for number, u in enumerate(utterances)}
        layers = read_through(
            reader, utterances, config=config, max_seconds=seconds if corpus == "speaker" else None
        )  # (N, L, H)
        if erasers:
            layers = erase_layers(layers, erasers)
        else:
            layers = normalise_layers(layers, [str(u.speaker or u.id) for u in utterances])
        blocks.append(_summed(layers, model)[:, None])
    return PooledFeatures(np.concatenate(blocks), places, gated=True)


def _summed(layers: Floats, model: Model) -> Floats:
    """Return the featurizer's sum of layers, (N, L, H) -> (N, H)."""
    if layers.shape[1] == 1:
        return layers[:, 0]
    with torch.no_grad():
        weights = softmax(model.featurizer.weights.detach().cpu().numpy())
    summed: Floats = np.einsum("nlh,l->nh", layers, weights.astype(np.float32))
    return summed
