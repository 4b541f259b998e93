"""Cheap rivals of the adversary in closed form on pooled features: linear erasure, z-normalisation.

Least-squares concept erasure (LEACE; Belrose et al. 2023, arXiv 2306.03819, theorem 4.3): the
smallest change of the features, in the least-squares sense, after which no linear classifier does
better on the label than a constant. `rank` erases only that many of the label's directions, the
strongest ones: with more speakers than dimensions nothing would be left otherwise.

Legend: N utterances, H dimensions, K classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spknorm.errors import DataError

Floats = NDArray[np.floating]


class Eraser(NamedTuple):
    """An affine map x -> x - (x - mean) @ matrix.

    Attributes:
        mean: (H,) mean of the features it was fitted on; it stays where it is.
        matrix: (H, H) projection of rank at most min(H, K - 1).
        rank: Number of directions that it removes.
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]
    rank: int


def fit_leace(features: Floats, labels: ArrayLike, *, rank: int | None = None) -> Eraser:
    """Return the eraser of `labels`.

    Args:
        features: (N, H).
        labels: (N,) class of each row, of any type that can be sorted.
        rank: Directions to erase, the strongest first; None: all of them, which is LEACE.

    Raises:
        DataError: Shapes that do not fit, non-finite features, or fewer than two classes.
    """
    names = np.asarray(labels)
    _check(features, names)
    _, index = np.unique(names, return_inverse=True)
    num_classes = int(index.max()) + 1
    if num_classes < 2:
        raise DataError("Erasure needs at least two classes.")
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    indicator = np.eye(num_classes)[index]
    covariance = centred.T @ centred / len(values)  # (H, H)
    cross = centred.T @ (indicator - indicator.mean(axis=0)) / len(values)  # (H, K)
    whiten, unwhiten = _square_roots(covariance)
    left, strength, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    present = int((strength > 1e-9 * max(float(strength[0]), 1e-12)).sum())
    kept = present if rank is None else min(rank, present)
    directions = left[:, :kept]  # (H, rank), orthonormal in the whitened space
    matrix = (unwhiten @ directions @ directions.T @ whiten).T
    return Eraser(mean=mean, matrix=matrix, rank=kept)


def erase(features: Floats, eraser: Eraser) -> Floats:
    """Return the features (N, H), in their own type, with what `eraser` removes taken out."""
    values = np.asarray(features, dtype=np.float64)
    erased: Floats = (values - (values - eraser.mean) @ eraser.matrix).astype(features.dtype)
    return erased


def normalise_per_speaker(features: Floats, speakers: ArrayLike) -> Floats:
    """Return the features (N, H) with each speaker's own mean and standard deviation taken out.

    It needs to know who speaks also at test time, and a speaker's emotions go out with the mean
    where they are unbalanced. A dimension that does not vary within a speaker becomes 0.

    Raises:
        DataError: Shapes that do not fit, or non-finite features.
    """
    names = np.asarray(speakers)
    _check(features, names)
    values = np.asarray(features, dtype=np.float64)
    normalised = np.empty_like(values)
    for name in np.unique(names):
        rows = names == name
        own = values[rows]
        spread = own.std(axis=0)
        scale = np.where(spread > 1e-9 * np.abs(own).max(), spread, np.inf)
        normalised[rows] = (own - own.mean(axis=0)) / scale
    result: Floats = normalised.astype(features.dtype)
    return result


def _square_roots(
    covariance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pseudo-inverse square root and the square root of a covariance matrix."""
    values, vectors = np.linalg.eigh(covariance)
    present = values > values[-1] * len(values) * np.finfo(np.float64).eps
    roots = np.sqrt(np.where(present, values, 1.0))
    return (vectors * (present / roots)) @ vectors.T, (vectors * (present * roots)) @ vectors.T


def _check(features: Floats, labels: NDArray[np.generic]) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise DataError(
            f"Features of shape {features.shape} and labels of shape {labels.shape}: "
            "expected (N, H) and (N,), N at least 1."
        )
    if not np.isfinite(features).all():
        raise DataError("The features hold NaN or infinity.")
