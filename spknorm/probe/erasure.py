"""Closed-form baselines on pooled features: linear erasure, and z-normalisation per speaker.

Least-squares concept erasure (LEACE; Belrose et al. 2023, arXiv 2306.03819, theorem 4.3): the
smallest change of the features, in the least-squares sense, after which no linear classifier does
better on the label than a constant. `rank` erases only that many of the label's directions, the
strongest ones: with more speakers than dimensions nothing would be left otherwise. Directions of
chance, which permuted labels have, too, can be left alone (`count_directions`).

Legend: N utterances, L layers, H dimensions, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from spknorm.errors import ConfigError, DataError

Floats = NDArray[np.floating]
F = TypeVar("F", bound=np.floating)

MIN_VARIANCE_LEFT = 0.01
"""Share of the features' variance below which an erasure has left too little to learn from.

What is left then has a tenth of the features' size or less: a head whose learning rate was chosen
for whole features learns next to nothing of it and names one class. It is a bound on what cannot be
judged, not on what is harmful; LEACE of all of H dimensions leaves rounding, some 1e-14.
"""


_PERMUTATIONS, _DEVIATIONS = 20, 4


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


def fit_leace(
    features: Floats, labels: ArrayLike, *, rank: int | Literal["auto"] | None = None
) -> Eraser:
    """Return the eraser of `labels`.

    Args:
        features: (N, H).
        labels: (N,) class of each row, of any type that can be sorted.
        rank: Directions to erase, the strongest first; None: all of them, which is LEACE; auto: as
            many as `count_directions` finds.

    Raises:
        DataError: Shapes that do not fit, non-finite features, or fewer than two classes.
    """
    centred, mean, index = _centred(features, labels)
    cross = _sums(centred, index).T / len(centred)  # (H, K): with what each class correlates
    whiten, unwhiten = _square_roots(centred.T @ centred / len(centred))
    left, strength, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    present = int((strength > 1e-9 * max(float(strength[0]), 1e-12)).sum())
    wanted = count_directions(features, labels) if rank == "auto" else rank
    kept = present if wanted is None else min(wanted, present)
    directions = left[:, :kept]  # (H, rank), orthonormal in the whitened space
    matrix = (unwhiten @ directions @ directions.T @ whiten).T
    return Eraser(mean=mean, matrix=matrix, rank=kept)


def count_directions(features: Floats, labels: ArrayLike) -> int:
    """Return how many directions tell the classes of rows (N, H) apart beyond chance.

    Parallel analysis (Horn, Psychometrika 1965): a direction counts while its strength is over four
    deviations above the mean of the strongest one of permuted labels. Here the covariance is shrunk
    (Ledoit and Wolf 2004): where dimensions are nearly as many as rows, permuted labels would
    correlate with something as well as true ones do.

    Raises:
        DataError: As `fit_leace` has it.
    """
    from sklearn.covariance import ledoit_wolf

    centred, _, index = _centred(features, labels)
    whitened = centred @ _square_roots(ledoit_wolf(centred, assume_centered=True)[0])[0]
    random = np.random.default_rng(0)
    found = np.linalg.svd(_sums(whitened, index), compute_uv=False)
    chance = [
        np.linalg.norm(_sums(whitened, random.permutation(index)), 2) for _ in range(_PERMUTATIONS)
    ]
    return int((found > np.mean(chance) + _DEVIATIONS * np.std(chance)).sum())


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

    def of_one(own: Floats) -> Floats:
        spread = own.std(axis=0)
        scale = np.where(spread > 1e-9 * np.abs(own).max(), spread, np.inf)
        centred: Floats = own - own.mean(axis=0)
        return centred / scale

    names = np.asarray(speakers)
    _check(features, names)
    return by_speaker(of_one, features, names)


def by_speaker(
    of_one: Callable[..., Floats], features: NDArray[F], who: NDArray[Any], *further: NDArray[Any]
) -> NDArray[F]:
    """Return (N, D), in their own type, with each speaker's rows replaced by `of_one` of them.

    Of the `further` arrays (N,) it is given the same speaker's rows, too.
    """
    found = np.empty_like(features)
    for speaker in np.unique(who):
        rows = who == speaker
        found[rows] = of_one(features[rows].astype(np.float64), *(one[rows] for one in further))
    return found


def fit_layers(
    features: Floats, labels: ArrayLike, *, rank: int | Literal["auto"] | None = None
) -> tuple[Eraser, ...]:
    """Return the eraser of `labels` for each layer of (N, L, H); see `fit_leace`."""
    return tuple(fit_leace(layer, labels, rank=rank) for layer in np.moveaxis(features, 1, 0))


def erase_layers(features: Floats, erasers: Sequence[Eraser]) -> Floats:
    """Return the features (N, L, H) with what each layer's eraser removes taken out."""
    layers = zip(np.moveaxis(features, 1, 0), erasers, strict=True)
    return np.stack([erase(layer, eraser) for layer, eraser in layers], axis=1)


def normalise_layers(features: Floats, speakers: Sequence[str]) -> Floats:
    """Return the features (N, L, H), z-normalised per speaker.

    Raises:
        DataError: A speaker with a single utterance, of which nothing would be left.
    """
    names, counts = np.unique(np.asarray(speakers), return_counts=True)
    alone = names[counts < 2]
    if len(alone):
        raise DataError(
            f"z-normalisation takes each speaker's own mean out, which leaves nothing of a single "
            f"utterance; {len(alone)} of {len(names)} speakers have one alone (such as "
            f"{', '.join(map(str, alone[:3]))}). Leave them out, or choose another baseline."
        )
    layers = np.moveaxis(features, 1, 0)
    return np.stack([normalise_per_speaker(layer, speakers) for layer in layers], axis=1)


def check_variance_left(before: Floats, after: Floats, *, num_classes: int) -> float:
    """Return the least share of variance that an erasure left in a layer of (N, L, H).

    Raises:
        ConfigError: It is below `MIN_VARIANCE_LEFT`: a score would be of features that are gone.
    """
    kept, whole = (
        [float(layer.var(axis=0, dtype=np.float64).sum()) for layer in np.moveaxis(one, 1, 0)]
        for one in (after, before)
    )
    share = min(left / max(all_of_it, 1e-300) for left, all_of_it in zip(kept, whole, strict=True))
    if share < MIN_VARIANCE_LEFT:
        raise ConfigError(
            f"LEACE of {num_classes} speakers leaves {share:.1e} of the variance of the emotion "
            f"corpus' features, which have {before.shape[2]} dimensions (the least is "
            f"{MIN_VARIANCE_LEFT}): what a head makes of the rest says nothing. Set "
            "config.downstream_expert.spknorm.erasure_rank to auto, or to a number of directions "
            "(10 in the controlled study), or lower speaker_corpus.max_speakers."
        )
    return share


def _centred(
    features: Floats, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Return centred rows (N, H), their mean (H,) and each row's class (N,) from 0."""
    names = np.asarray(labels)
    _check(features, names)
    _, index = np.unique(names, return_inverse=True)
    if index.max() < 1:
        raise DataError("Erasure needs at least two classes.")
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(axis=0)
    return values - mean, mean, index


def _sums(rows: NDArray[np.float64], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sum of each class' rows, (K, H)."""
    count = len(rows)
    members = csr_matrix((np.ones(count), (index, np.arange(count))))
    sums: NDArray[np.float64] = members @ rows
    return sums


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
