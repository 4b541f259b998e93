"""Closed-form rivals: features are transformed, and the emotion head is trained on what is left.

By the speaker's own recordings: the mean alone, z-norm, the whole covariance (shrunk, Ledoit and
Wolf 2004); `by_neutral` is iterative feature normalisation (Busso et al., IEEE Transactions on
Affective Computing 2013), `adapted` AdaBN (Li et al. 2018), of which training knows nothing. By
directions found on the speaker corpus: `leace` is least-squares concept erasure (Belrose et al.,
NeurIPS 2023), `kernelised` the same in the space of a Gaussian kernel (Nystroem's features), `inlp`
iterative nullspace projection (Ravfogel et al., ACL 2020), here by linear discriminants, one
direction a round. None of the three takes out a direction that tells speakers apart by chance only.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import binom
from sklearn.covariance import ledoit_wolf
from sklearn.kernel_approximation import Nystroem

from spknorm.controlled import frozen
from spknorm.controlled.fitted import Fit, Fitted, Transform, behind, of_model
from spknorm.controlled.folds import leakage
from spknorm.controlled.frozen import Data, Settings
from spknorm.controlled.pool import Floats, Integers
from spknorm.corpora.records import EMOTIONS
from spknorm.demo.synthesis import FloatArray
from spknorm.probe.arrays import rank_in_class
from spknorm.probe.erasure import Eraser, by_speaker, count_directions, erase, fit_leace

_NEUTRAL = EMOTIONS.index("neu")
_ROUNDS = 5
_NUM_KERNELS = 256
_CHANCE = 1e-3


def per_speaker(of_one: Callable[[FloatArray, float], FloatArray]) -> Fit:
    """Return the rival that transforms each speaker's rows (P, D) by a share, its strength."""

    def fit(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
        return behind(_each(of_one, strength), known, settings, seed)

    return fit


def _each(of_one: Callable[[FloatArray, float], FloatArray], strength: float) -> Transform:
    return lambda features, who: by_speaker(lambda rows: of_one(rows, strength), features, who)


def centred(rows: FloatArray, strength: float) -> FloatArray:
    """Take a share `strength` of the mean out."""
    middle: FloatArray = rows - strength * rows.mean(0)
    return middle


def scaled(rows: FloatArray, strength: float, by: FloatArray | None = None) -> FloatArray:
    """Take a share of the mean, and that power of the deviation, out: of the rows or of others."""
    by = rows if by is None else by
    found: FloatArray = (rows - strength * by.mean(0)) / (by.std(0) + 1e-6) ** strength
    return found


def whitened(rows: FloatArray, strength: float) -> FloatArray:
    """Centre, and divide by that power of the square root of the covariance."""
    middle = rows - rows.mean(0)
    covariance, _ = ledoit_wolf(middle, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    power = np.maximum(values, 1e-6) ** (-strength / 2)
    found: FloatArray = middle @ (vectors * power) @ vectors.T
    return found


def by_neutral(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Normalise each speaker by what is neutral: by label in training, by the head in the test.

    Mean and deviation of what the head itself calls neutral are taken out, round after round.
    """
    by_all = _each(scaled, strength)

    def by_some(features: Floats, who: Integers, is_neutral: Integers) -> Floats:
        def of_one(rows: FloatArray, neutral: Integers) -> FloatArray:
            # Where nobody was heard to be neutral, all that is heard has to do.
            return scaled(rows, strength, rows[neutral] if neutral.sum() > 1 else rows)

        return by_speaker(of_one, features, who, is_neutral)

    seen = by_some(known.emotional, known.who, known.emotion == _NEUTRAL)
    everything = by_all(known.neutral, known.speaker)
    model = frozen.train(known._replace(emotional=seen, neutral=everything), settings, seed=seed)

    def predict(features: Floats, who: Integers) -> Integers:
        found = by_all(features, who)
        for _ in range(_ROUNDS):
            found = by_some(features, who, model.predict(found) == _NEUTRAL)
        return model.predict(found)

    return of_model(model, by_all)._replace(predict=predict)


def adapted(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Move each test speaker's mean and deviation a share `strength` towards the training's."""
    mean = known.emotional.mean(0).astype(np.float64)
    std = known.emotional.std(0).astype(np.float64) + 1e-6

    def of_one(rows: FloatArray) -> FloatArray:
        moved = (rows - rows.mean(0)) / (rows.std(0) + 1e-6) * std + mean
        mixed: FloatArray = (1 - strength) * rows + strength * moved
        return mixed

    model = frozen.train(known, settings, seed=seed)
    return of_model(model, lambda features, who: by_speaker(of_one, features, who))


def leace(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Erase the `strength` strongest directions (10, 20, ...), of those beyond chance."""
    eraser = _eraser(known.neutral, known.speaker, _rank(known, strength))
    size = 2 * known.neutral.shape[1] * eraser.rank
    return behind(lambda rows, _: erase(rows, eraser), known, settings, seed, num_parameters=size)


def inlp(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Project `strength` directions out, one after the other, while they tell speakers apart."""
    projection, rank = np.eye(known.neutral.shape[1]), 0
    while rank < _rank(known, strength):
        seen = known.neutral @ projection
        if not _tells_apart(seen, known.speaker):
            break
        direction = projection @ _first_discriminant(seen, known.speaker)
        direction /= np.linalg.norm(direction)
        projection = projection - np.outer(direction, direction @ projection)
        rank += 1
    matrix = projection.astype(np.float32)
    size = known.neutral.shape[1] * rank
    return behind(lambda rows, _: rows @ matrix, known, settings, seed, num_parameters=size)


def kernelised(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Erase as `leace` does, among the features of a Gaussian kernel."""
    everything = np.concatenate([known.emotional, known.neutral])
    gamma, size = 0.5 / everything.shape[1], min(_NUM_KERNELS, len(everything))
    kernel = Nystroem(gamma=gamma, n_components=size, random_state=seed).fit(everything)
    placed = kernel.transform(everything)
    mean, std = placed.mean(0), placed.std(0) + 1e-6

    def map_(rows: Floats) -> Floats:
        mapped: Floats = ((kernel.transform(rows) - mean) / std).astype(np.float32)
        return mapped

    eraser = _eraser(map_(known.neutral), known.speaker, round(strength))
    size = _NUM_KERNELS * (everything.shape[1] + _NUM_KERNELS + 2 * eraser.rank)
    return behind(
        lambda rows, _: erase(map_(rows), eraser), known, settings, seed, num_parameters=size
    )


def _eraser(rows: Floats, speaker: Integers, most: int) -> Eraser:
    return fit_leace(rows, speaker, rank=min(most, count_directions(rows, speaker)))


def _rank(known: Data[Floats], strength: float) -> int:
    dim: int = known.neutral.shape[1]
    return min(round(strength), dim - 1)


def _tells_apart(rows: FloatArray, speaker: Integers) -> bool:
    """Return whether a linear classifier names speakers of held-out rows (N, D) beyond chance.

    Every second utterance of a speaker is held out; beyond chance is what guessing reaches less
    than once in a thousand times. Of one speaker, or of two utterances each, nothing can be told.
    """
    held = rank_in_class(speaker) % 2 == 1
    num_speakers = len(np.unique(speaker))
    if num_speakers < 2 or not held.any() or (~held).sum() <= num_speakers:
        return False
    share = leakage(rows[~held], speaker[~held], rows[held], speaker[held])
    right = round(share * held.sum())
    return bool(binom.sf(right - 1, held.sum(), 1 / num_speakers) < _CHANCE)


def _first_discriminant(rows: FloatArray, speaker: Integers) -> FloatArray:
    """Return the direction (D,) along which speakers differ most against their own spread."""
    names, who = np.unique(speaker, return_inverse=True)
    means = np.stack([rows[speaker == one].mean(0) for one in names])
    within = rows - means[who]
    covariance = within.T @ within / len(within)
    dim = len(covariance)
    covariance += 0.1 * np.trace(covariance) / dim * np.eye(dim)
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    spread = root @ np.cov(means.T, bias=True) @ root.T
    _, vectors = np.linalg.eigh(spread)
    direction: FloatArray = root.T @ vectors[:, -1]
    return direction
