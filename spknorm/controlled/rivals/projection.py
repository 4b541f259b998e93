"""Closed-form removal of the speaker's directions, found on the speaker corpus.

`leace`: least-squares concept erasure of the strongest directions (Belrose et al., NeurIPS 2023).
`inlp`: iterative nullspace projection (Ravfogel et al., ACL 2020), here by linear discriminants,
one direction a round. `kernelised`: LEACE in the space of a Gaussian kernel (Nystroem's features).
"""

import numpy as np
from sklearn.kernel_approximation import Nystroem

from spknorm.controlled import frozen
from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.rivals.world import Fitted, Known, behind
from spknorm.demo.synthesis import FloatArray
from spknorm.probe.erasure import erase, fit_leace

_NUM_KERNELS = 256


def leace(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Erase the `strength` strongest directions (10, 20, ...)."""
    eraser = fit_leace(known.neutral, known.speaker, rank=_rank(known, strength))
    size = 2 * known.neutral.shape[1] * round(strength)
    return behind(lambda rows, _: erase(rows, eraser), known, settings, seed, num_parameters=size)


def inlp(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Project `strength` directions out, one after the other."""
    projection = np.eye(known.neutral.shape[1])
    for _ in range(_rank(known, strength)):
        direction = _first_discriminant(known.neutral @ projection, known.speaker)
        direction = projection @ direction
        direction /= np.linalg.norm(direction)
        projection = projection - np.outer(direction, direction @ projection)
    matrix = projection.astype(np.float32)
    size = known.neutral.shape[1] * round(strength)
    return behind(lambda rows, _: rows @ matrix, known, settings, seed, num_parameters=size)


def kernelised(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Erase the `strength` strongest directions among the features of a Gaussian kernel."""
    everything = np.concatenate([known.emotional, known.neutral])
    kernel = Nystroem(
        gamma=0.5 / everything.shape[1],
        n_components=min(_NUM_KERNELS, len(everything)),
        random_state=seed,
    ).fit(everything)
    placed = kernel.transform(everything)
    mean, std = placed.mean(0), placed.std(0) + 1e-6

    def map_(rows: Floats) -> Floats:
        mapped: Floats = ((kernel.transform(rows) - mean) / std).astype(np.float32)
        return mapped

    eraser = fit_leace(map_(known.neutral), known.speaker, rank=round(strength))
    size = _NUM_KERNELS * (everything.shape[1] + _NUM_KERNELS + 2 * round(strength))
    return behind(
        lambda rows, _: erase(map_(rows), eraser), known, settings, seed, num_parameters=size
    )


def _rank(known: Known, strength: float) -> int:
    """Return how many directions, fewer than there are dimensions."""
    dim: int = known.neutral.shape[1]
    return min(round(strength), dim - 1)


def _first_discriminant(rows: FloatArray, speaker: Integers) -> FloatArray:
    """Return the direction (D,) along which speakers differ most against their own spread."""
    values = rows
    means = np.stack([values[speaker == one].mean(0) for one in np.unique(speaker)])
    within = values - means[np.unique(speaker, return_inverse=True)[1]]
    covariance = within.T @ within / len(within)
    dim = len(covariance)
    covariance += 0.1 * np.trace(covariance) / dim * np.eye(dim)
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    spread = root @ np.cov(means.T, bias=True) @ root.T
    _, vectors = np.linalg.eigh(spread)
    direction: FloatArray = root.T @ vectors[:, -1]
    return direction
