"""Speakers aligned without a classifier: their distributions behind the gate are made alike.

`mmd`: maximum mean discrepancy with Gaussian kernels of several widths (Gretton et al., JMLR 2012;
Long et al., ICML 2015). `coral`: second moments (Sun and Saenko, ECCV workshops 2016), with means.
Both are taken between speakers of the speaker corpus, some of which are drawn at each step.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from spknorm.controlled import frozen
from spknorm.controlled.rivals import training
from spknorm.controlled.rivals.world import Fitted, Known
from spknorm.method.model import Heads

_SPEAKERS, _PER_SPEAKER = 6, 12
_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Alignment(training.Rule):
    """The mean distance between pairs of speakers behind the gate."""

    def __init__(self, known: Known, distance: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._batches = training.SpeakerBatches(
            known, num_speakers=_SPEAKERS, per_speaker=_PER_SPEAKER
        )
        self._distance = distance

    def forward(
        self, heads: Heads, batch: training.Batch, generator: torch.Generator
    ) -> training.Terms:
        """Return no loss of its own, and the mean distance."""
        features = self._batches.draw(generator)
        seen = torch.split(heads.gated(features), _PER_SPEAKER)
        pairs = itertools.combinations(seen, 2)
        distance = torch.stack([self._distance(one, other) for one, other in pairs]).mean()
        return training.Terms(distance.new_zeros(()), distance)


def mmd(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Penalise the kernel distance between speakers."""
    return training.train(known, settings, Alignment(known, _mmd), weight=strength, seed=seed)


def coral(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Penalise the distance between speakers' means and covariances."""
    return training.train(known, settings, Alignment(known, _coral), weight=strength, seed=seed)


def _mmd(one: Tensor, other: Tensor) -> Tensor:
    """Return the squared discrepancy, biased, of rows (P, D) and (P, D)."""
    both = torch.cat([one, other])
    squares = torch.cdist(both, both).square()
    scale = squares.detach().mean().clamp_min(1e-6)
    kernel = torch.stack([(-squares / (width * scale)).exp() for width in _WIDTHS]).mean(0)
    size = len(one)
    across = kernel[:size, size:].mean()
    return kernel[:size, :size].mean() + kernel[size:, size:].mean() - 2 * across


def _coral(one: Tensor, other: Tensor) -> Tensor:
    means = (one.mean(0) - other.mean(0)).square().mean()
    return means + (_covariance(one) - _covariance(other)).square().mean()


def _covariance(rows: Tensor) -> Tensor:
    middle = rows - rows.mean(0)
    return middle.T @ middle / len(rows)
