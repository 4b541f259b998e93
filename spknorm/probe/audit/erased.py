"""What the head of an erasure baseline sees: the raw upstream's features without the speaker.

Computed as the runner does it (spknorm.probe.erasure), layer by layer before the featurizer's sum:
LEACE is fitted on the speaker corpus that the run was given, z-normalisation takes each speaker's
own mean and deviation out of each corpus.

Legend: N utterances, L layers that the featurizer reads, H upstream dimension.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import softmax

from spknorm.batches.task import read_speakers
from spknorm.features.reader import upstream_reader
from spknorm.features.reading import Reading
from spknorm.probe.arrays import Layers
from spknorm.probe.audit.pooling import (
    Floats,
    Model,
    PooledFeatures,
    read_questions,
    read_through,
    utterances_of,
)
from spknorm.probe.audit.questions import Question
from spknorm.probe.audit.runs import Run
from spknorm.probe.erasure import erase, fit_leace, normalise_layers


def pool_erased_features(
    run: Run, model: Model, questions: list[Question], *, device: str
) -> PooledFeatures:
    """Return what the head of a run of stage `leace` or `znorm` sees of the questions, (N, 1, H).

    Raises:
        DataError: A speaker with one utterance cannot be z-normalised.
    """
    expert = run.settings.downstream_expert
    reading = Reading.of(model.featurizer, pooled=True)
    reader = upstream_reader(model.upstream, reading, config=run.settings.upstream, device=device)
    reference: Layers | None = None
    labels: Sequence[int] = ()
    if run.stage == "leace":
        spoken, _, labels, *_ = read_speakers(
            expert.speaker_corpus, data=expert.datarc, seed=run.seed, work_dir=run.place
        )
        reference = read_through(run, reader, spoken, "speaker")
    read, places = read_questions(run, reader, questions)
    sums = {corpus: np.zeros((len(one), one.shape[2]), np.float32) for corpus, one in read.items()}
    for layer, weight in enumerate(_mixture(next(iter(read.values())).shape[1], model)):
        if reference is not None:
            eraser = fit_leace(reference.layer(layer), labels, rank=expert.spknorm.erasure_rank)
        for corpus, utterances in utterances_of(questions).items():
            features = read[corpus].layer(layer)
            if reference is not None:
                features = erase(features, eraser)
            else:
                speakers = [str(u.speaker or u.id) for u in utterances]
                features = normalise_layers(features[:, None], speakers)[:, 0]
            sums[corpus] += weight * features
    whole = np.concatenate(list(sums.values()))
    return PooledFeatures(Layers.of(whole[:, None]), places, gated=True)


def _mixture(num_layers: int, model: Model) -> Floats:
    """Return the weights (L,) of the featurizer's sum of layers."""
    if num_layers == 1:
        return np.ones(1, np.float32)
    with torch.no_grad():
        weights: Floats = softmax(model.featurizer.weights.detach().cpu().numpy())
    return weights.astype(np.float32)
