"""Array types, and features that are larger than memory: read in blocks, or a layer at a time.

Legend: N utterances, L layers, H upstream dimension.
"""

import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

_ROWS_AT_ONCE = 4096
_BLOCK_ROWS = 16384
_KEPT_BYTES = 1_700_000_000
"""Standardised layers of at most this size, such as a sample's of HuBERT Large, are kept instead of
read anew for each step."""


class Layers:
    """Features (N, L, H) of which one layer is in memory at a time.

    Args:
        read: Returns a layer (N, H), float32, that the caller may change.
        shape: (N, L, H).
    """

    ndim = 3

    def __init__(self, read: Callable[[int], Floats], shape: tuple[int, int, int]) -> None:
        self._read, self.shape = read, shape

    @classmethod
    def of(cls, features: "Floats | Layers") -> "Layers":
        """Return an array (N, L, H) as such, layers as they are."""
        if isinstance(features, Layers):
            return features
        return cls(lambda layer: features[:, layer].astype(np.float32), features.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def layer(self, number: int) -> Floats:
        """Return a layer (N, H), counted from the end if negative."""
        return self._read(range(self.shape[1])[number])

    def __getitem__(self, rows: Integers | Sequence[int]) -> "Layers":
        """Return some of the utterances."""
        chosen = np.asarray(rows)
        return Layers(lambda layer: self._read(layer)[chosen], (len(chosen), *self.shape[1:]))

    def part(self, layers: slice) -> "Layers":
        """Return some of the layers."""
        chosen = range(self.shape[1])[layers]
        shape = (self.shape[0], len(chosen), self.shape[2])
        return Layers(lambda layer: self._read(chosen[layer]), shape)


class Scale(NamedTuple):
    """What standardises features: mean and factor, (H,) or (L, H); factor 0 takes one out."""

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]

    def apply(self, features: Floats) -> Floats:
        """Return standardised features (N, ...) in float32; no copy in float64 is made."""
        scaled = np.empty(features.shape, np.float32)
        for block in blocks_of(len(features)):
            scaled[block] = (features[block] - self.mean) * self.factor
        return scaled


def scale_of(train: "Floats | Layers") -> Scale:
    """Return what takes mean and standard deviation of the training features out.

    A dimension that varies by no more than rounding becomes 0 and is not blown up: what an erasure
    removed must stay removed.
    """
    if isinstance(train, Layers):
        found = [_moments(train.layer(layer)) for layer in range(train.shape[1])]
        mean, spread = (np.stack([one[place] for one in found]) for place in (0, 1))
        size = np.sqrt(np.mean([one[2] for one in found]))
    else:
        mean, spread, square = _moments(train)
        size = np.sqrt(square)
    flat = spread <= 1e-5 * size
    return Scale(mean, np.where(flat, 0.0, 1 / np.where(flat, 1.0, spread)))


def standardised(features: Layers, scale: Scale) -> Layers:
    """Return layers that are standardised as they are read, and kept where there is room."""
    kept: dict[int, Floats] = {}
    keep = np.prod(features.shape, dtype=np.float64) * 4 <= _KEPT_BYTES

    def read(layer: int) -> Floats:
        if layer in kept:
            return kept[layer]
        one = Scale(scale.mean[layer], scale.factor[layer]).apply(features.layer(layer))
        if keep:
            kept[layer] = one
        return one

    return Layers(read, features.shape)


def is_finite(features: "Floats | Layers") -> bool:
    """Tell whether there is neither NaN nor infinity."""
    if isinstance(features, Layers):
        return all(is_finite(features.layer(layer)) for layer in range(features.shape[1]))
    return all(np.isfinite(features[block]).all() for block in blocks_of(len(features)))


def let_go(*arrays: Floats) -> None:
    """Give back the memory of what was read of mapped files; they are read again where needed."""
    for file in {id(one): one for one in map(_file_of, arrays) if one is not None}.values():
        file.madvise(mmap.MADV_DONTNEED)


def _file_of(array: Any) -> mmap.mmap | None:
    """Return the mapped file that an array is a view of; None of one in memory."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def blocks_of(num_rows: int, rows: int = _BLOCK_ROWS) -> Iterator[slice]:
    """Yield the rows in blocks, so that what is made of one stays small."""
    for start in range(0, num_rows, rows):
        yield slice(start, start + rows)


def unit_length(features: Floats) -> Floats:
    """Return the rows of (N, H) scaled to length 1; a row of zeros stays."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit: Floats = features / np.maximum(norms, 1e-12)
    return unit


def rank_in_class(labels: Integers, generator: np.random.Generator | None = None) -> Integers:
    """Return the place (N,) of each row among those of its class, in random order if drawn."""
    size = len(labels)
    order = np.arange(size) if generator is None else generator.permutation(size)
    order = order[np.argsort(labels[order], kind="stable")]
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size) - np.searchsorted(labels[order], labels[order], side="left")
    return rank


def in_blocks(
    function: Callable[[Floats], Integers], features: Floats, *, rows: int = _ROWS_AT_ONCE
) -> Integers:
    """Return `function` of (N, H), called on blocks of rows so that memory stays bounded."""
    return np.concatenate([function(features[one]) for one in blocks_of(len(features), rows)])


def _moments(features: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64], np.float64]:
    """Return mean and standard deviation of each dimension, and the mean of all squares."""
    mean = features.mean(axis=0, dtype=np.float64)
    squares, deviations = 0.0, np.zeros(features.shape[1:])
    for block in blocks_of(len(features)):
        own = features[block].astype(np.float64)
        squares += float(np.square(own).sum())
        own -= mean
        deviations += np.square(own, out=own).sum(axis=0)
    return mean, np.sqrt(deviations / len(features)), np.float64(squares / features.size)
