"""The mechanism itself: what confounding teaches is each speaker's prior over emotions.

`calibrated` takes the training speakers' own priors out of what is learnt: their logarithms are
added to the logits in training alone (logit adjustment, Menon et al., ICLR 2021; balanced softmax,
Ren et al., NeurIPS 2020), by speaker instead of for the whole corpus. `matched` leaves training
alone and weighs the classes for each test speaker until that speaker's mean posterior is the
training prior (distribution alignment, Berthelot et al., ICLR 2020): it needs that speaker's
recordings, and believes that emotions are as frequent in them as in training.
"""

import numpy as np
import torch

from spknorm.controlled import frozen
from spknorm.controlled.fitted import Fitted, of_model
from spknorm.controlled.frozen import NUM_EMOTIONS, Data, Settings
from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.rivals.training import train
from spknorm.demo.synthesis import FloatArray
from spknorm.probe.erasure import by_speaker
from spknorm.statistics.metrics import classes_of

_ROUNDS = 100


def calibrated(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Train on logits to which the log prior of the utterance's speaker is added.

    Of the log prior `strength` is the share; 1 is what Bayes' rule asks for.
    """
    prior = np.empty((len(known.emotion), NUM_EMOTIONS), dtype=np.float32)
    for speaker in np.unique(known.who):
        rows = known.who == speaker
        counts = np.bincount(known.emotion[rows], minlength=NUM_EMOTIONS) + 1.0
        prior[rows] = np.log(counts / counts.sum())
    offset = torch.from_numpy(strength * prior)
    return train(known, settings, None, weight=0.0, seed=seed, offset=offset, gate=False)


def matched(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Train as strategy none does, and re-weight each test speaker's posteriors.

    The weights have `strength` as exponent; 1 is the method.
    """
    model = frozen.train(known, settings, seed=seed)
    counts = np.bincount(known.emotion, minlength=NUM_EMOTIONS) + 1.0
    trained = counts / counts.sum()

    def predict(features: Floats, who: Integers) -> Integers:
        gated = torch.from_numpy(model.represent(features))
        with torch.no_grad():
            posteriors = frozen.head_logits(model.heads, gated).double().softmax(-1).numpy()
        weighted = by_speaker(lambda rows: aligned(rows, trained, strength), posteriors, who)
        return classes_of(weighted)

    return of_model(model)._replace(predict=predict)


def aligned(posteriors: FloatArray, target: FloatArray, strength: float) -> FloatArray:
    """Return posteriors (N, C) times weights (C,) with which their mean is `target` (C,).

    Posteriors are one speaker's; with a strength of 0 they are left alone.
    """
    weights = np.ones_like(target)
    for _ in range(_ROUNDS):
        weighted = posteriors * weights
        weights *= target / (weighted / weighted.sum(1, keepdims=True)).mean(0)
    found: FloatArray = posteriors * weights**strength
    return found
