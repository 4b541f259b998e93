"""Normalisation of each speaker's features by that speaker's own recordings.

`standardised` is z-norm, `centred` the speaker's mean alone, `whitened` the whole covariance
(shrunk, Ledoit and Wolf 2004), `by_neutral` iterative feature normalisation (Busso et al., IEEE
Transactions on Affective Computing 2013): mean and deviation of what is neutral, which in the test
is what the head itself calls neutral, round after round.
"""

import numpy as np
from sklearn.covariance import ledoit_wolf

from spknorm.controlled import frozen
from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.rivals.world import (
    Fitted,
    Known,
    behind,
    by_speaker,
    num_parameters_of,
)
from spknorm.corpora.records import EMOTIONS
from spknorm.demo.synthesis import FloatArray

NEUTRAL = EMOTIONS.index("neu")
_ROUNDS = 5


def centred(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Take a share `strength` of each speaker's mean out of that speaker's features."""

    def of_one(rows: FloatArray) -> FloatArray:
        middle: FloatArray = rows - strength * rows.mean(0)
        return middle

    return behind(lambda rows, who: by_speaker(of_one, rows, who), known, settings, seed)


def standardised(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Take a share of each speaker's mean, and that power of the deviation, out of the features."""

    def of_one(rows: FloatArray) -> FloatArray:
        scaled: FloatArray = (rows - strength * rows.mean(0)) / (rows.std(0) + 1e-6) ** strength
        return scaled

    return behind(lambda rows, who: by_speaker(of_one, rows, who), known, settings, seed)


def whitened(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Centre each speaker and divide by that power of the square root of the covariance."""

    def of_one(rows: FloatArray) -> FloatArray:
        middle = rows - rows.mean(0)
        covariance, _ = ledoit_wolf(middle, assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        power = np.maximum(values, 1e-6) ** (-strength / 2)
        whitened_: FloatArray = middle @ (vectors * power) @ vectors.T
        return whitened_

    return behind(lambda rows, who: by_speaker(of_one, rows, who), known, settings, seed)


def by_neutral(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Normalise each speaker by what is neutral: by label in training, by the head in the test.

    Args:
        known: What is trained on.
        settings: Of the head.
        strength: Share of mean and power of deviation that are taken out.
        seed: Of weights and batches.
    """

    def scale(rows: FloatArray, neutral: FloatArray) -> FloatArray:
        if len(neutral) < 2:
            neutral = rows  # nobody was heard to be neutral
        deviation = neutral.std(0) + 1e-6
        scaled: FloatArray = (rows - strength * neutral.mean(0)) / deviation**strength
        return scaled

    seen = np.empty_like(known.emotional)
    for speaker in np.unique(known.who):
        rows = known.who == speaker
        mine = known.emotional[rows].astype(np.float64)
        seen[rows] = scale(mine, mine[known.emotion[rows] == NEUTRAL])
    everything = by_speaker(lambda rows: scale(rows, rows), known.neutral, known.speaker)
    model = frozen.train(
        known._replace(emotional=seen, neutral=everything).data,
        settings,
        strategy="none",
        seed=seed,
    )

    def normalised(features: Floats, who: Integers) -> Floats:
        found = by_speaker(lambda rows: scale(rows, rows), features, who)
        for _ in range(_ROUNDS):
            is_neutral = model.predict(found) == NEUTRAL
            for speaker in np.unique(who):
                rows = who == speaker
                mine = features[rows].astype(np.float64)
                found[rows] = scale(mine, mine[is_neutral[rows]])
        return found

    return Fitted(
        lambda features, who: model.predict(normalised(features, who)),
        lambda features, who: model.represent(by_speaker(lambda r: scale(r, r), features, who)),
        num_parameters_of(model),
    )
