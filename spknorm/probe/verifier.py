"""An independent judge of the speaker: Resemblyzer's d-vectors, which this project did not train.

Its encoder (Wan et al., ICASSP 2018; weights in its wheel, learnt on LibriSpeech and VoxCeleb)
takes recordings, not features. Of the recordings it measures whether speakers can be told apart at
all; of features, how much of the voice they still hold: d-vectors are regressed from features of
*other* speakers, and the equal error rate is that of a regressed d-vector against the d-vectors of
other recordings. The other probes are trained on the speakers that they name; this one is not.

Legend: N utterances, H upstream dimension, E = 256 of a d-vector.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError, DataError
from spknorm.probe.arrays import Floats, Integers, scale_of
from spknorm.probe.score import ProbeScore
from spknorm.probe.verification import NO_TRIALS, verify

DIM = 256
NUM_FOLDS, _INNER_FOLDS = 5, 3
_PENALTIES = 10.0 ** np.arange(-3, 4)  # times the mean square of a dimension, per utterance
Embed = Callable[[Floats], Floats]
"""Takes a waveform (L,) at 16 kHz, returns its d-vector (E,), zeros where nobody speaks."""


def load_verifier(device: str = "cpu") -> Embed:
    """Return the verifier.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            # scipy's, which it imports by old names
            warnings.simplefilter("ignore", DeprecationWarning)
            import resemblyzer
    except ImportError as error:
        raise ConfigError(
            f"The independent verifier needs Resemblyzer ({error}): pip install "
            "'spknorm[verifier]' && pip install --no-deps resemblyzer"
        ) from error
    encoder = resemblyzer.VoiceEncoder(device, verbose=False)

    def embed(wave: Floats) -> Floats:
        silent: Floats = np.zeros(DIM, np.float32)
        if not np.any(wave):
            return silent
        spoken = resemblyzer.preprocess_wav(np.asarray(wave, np.float32))
        if not len(spoken):
            return silent
        return np.asarray(encoder.embed_utterance(spoken), np.float32)

    return embed


def judge_recordings(
    vectors: Floats, labels: Integers, *, control: str | None, seed: int
) -> ProbeScore:
    """Return the verifier's own equal error rate, by cosine as it is meant to be used.

    Of d-vectors (N, E) of speakers (N,); `shuffled` permutes the speakers.

    Raises:
        DataError: See `verify`.
    """
    generator = np.random.default_rng(seed)
    return verify(vectors, generator.permutation(labels) if control else labels, seed=seed)


def judge_features(
    features: Floats, vectors: Floats, labels: Integers, *, control: str | None, seed: int
) -> ProbeScore:
    """Return the equal error rate of d-vectors regressed from features against true ones.

    Each speaker's are regressed by a ridge that has learnt on others, whose penalty has been chosen
    on others again. The mean d-vector, which separates nobody, is subtracted on both sides.

    Of features (N, H), d-vectors (N, E) and speakers (N,) of the same utterances; `shuffled`:
    the regression learns from permuted features.

    Raises:
        DataError: See `verify`.
    """
    if len(np.unique(labels)) < 2:
        raise DataError(NO_TRIALS)
    generator = np.random.default_rng(seed)
    folds = _folds(labels, NUM_FOLDS, generator)
    taught = features[generator.permutation(len(features))] if control else features
    regressed = np.zeros(vectors.shape)
    true = np.zeros(vectors.shape)
    for fold in range(int(folds.max()) + 1):
        out, known = folds == fold, folds != fold
        middle = vectors[known].mean(0)
        inner = _folds(labels[known], _INNER_FOLDS, generator)
        fit = _ridge(taught[known], vectors[known] - middle, inner)
        regressed[out], true[out] = fit(features[out]), vectors[out] - middle
    return verify(regressed, labels, others=true, seed=seed)


def _folds(labels: Integers, most: int, generator: np.random.Generator) -> Integers:
    """Return the fold (N,) of each utterance: speakers whole, as many of them in each."""
    _, index = np.unique(labels, return_inverse=True)
    num_speakers = int(index.max()) + 1
    of_speaker = generator.permutation(num_speakers) % min(most, num_speakers)
    folds: Integers = of_speaker[index]
    return folds


def _ridge(features: Floats, targets: Floats, folds: Integers) -> Callable[[Floats], Floats]:
    """Return the regression with the penalty that does best on held-out folds."""
    if len(np.unique(folds)) > 1:
        errors = sum(
            _Ridge(features[folds != fold], targets[folds != fold]).errors(
                features[folds == fold], targets[folds == fold]
            )
            for fold in np.unique(folds)
        )
        best = int(np.argmin(errors))
    else:  # of a single speaker, who cannot be held out
        best = len(_PENALTIES) - 1
    fitted = _Ridge(features, targets)
    return lambda rows: fitted.predict(rows, best)


class _Ridge:
    """Solutions for every penalty, from one decomposition."""

    def __init__(self, features: Floats, targets: Floats) -> None:
        self._scale = scale_of(features)
        rows = self._scale.apply(features).astype(np.float64)
        self._mean = targets.mean(0)
        self._values, self._vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        self._turned = self._vectors.T @ (rows.T @ (targets - self._mean)) / len(rows)

    def predict(self, features: Floats, penalty: int) -> Floats:
        """Return the targets (N, E) by the penalty of that place."""
        shrunk = self._turned / (self._values + _PENALTIES[penalty])[:, None]
        rows = self._scale.apply(features).astype(np.float64)
        found: Floats = rows @ (self._vectors @ shrunk) + self._mean
        return found

    def errors(self, features: Floats, targets: Floats) -> NDArray[Any]:
        """Return the sum of squared errors of each penalty."""
        places = range(len(_PENALTIES))
        return np.array([np.square(self.predict(features, p) - targets).sum() for p in places])
