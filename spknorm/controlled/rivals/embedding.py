"""The opposite hypothesis: the head is told who speaks, so that it can make allowance.

A speaker's embedding is the mean of that speaker's recordings on the axes that tell speakers of the
speaker corpus apart best (linear discriminant analysis), as far as they do. `appended` puts it
beside the features, `modulated` scales and shifts them by it (FiLM, Perez et al., AAAI 2018).
"""

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled.fitted import Fitted, behind
from spknorm.controlled.frozen import NUM_EMOTIONS, Data, Settings
from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.rivals.training import minimise
from spknorm.errors import DataError
from spknorm.probe.erasure import by_speaker
from spknorm.statistics.metrics import classes_of

_DIMENSIONS = 8
_LEAST = 2.0  # variance of speakers' means on an axis, times what chance alone gives


class Embedder:
    """Where a speaker is: the mean on the axes that tell speakers apart, standardised.

    Raises:
        DataError: A single speaker, or no utterance more than speakers.
    """

    def __init__(self, known: Data[Floats]) -> None:
        num_speakers = len(np.unique(known.speaker))
        if num_speakers < 2 or len(known.speaker) <= num_speakers:
            raise DataError(
                "A speaker embedding needs two speakers at least, and more utterances than "
                f"speakers, but the speaker corpus has {len(known.speaker)} of {num_speakers}."
            )
        size = min(_DIMENSIONS, known.neutral.shape[1], int(known.speaker.max()))
        axes = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.1, n_components=size)
        self._axes = axes.fit(known.neutral, known.speaker)
        self._used = np.arange(size)
        everybody = self._means(known.neutral, known.speaker)
        # By chance means differ by the axes' spread within speakers; an axis that tells nobody
        # apart would carry what else a speaker's mean holds, such as which emotions are frequent.
        placed = self._axes.transform(known.neutral)
        within = np.square(placed - everybody).mean(0) / np.bincount(known.speaker).mean()
        self._used = np.flatnonzero(everybody.var(0) >= _LEAST * within)
        everybody = everybody[:, self._used]
        self._mean, self._std = everybody.mean(0), everybody.std(0) + 1e-6
        self.num_parameters = known.neutral.shape[1] * len(self._used)

    def __call__(self, features: Floats, who: Integers) -> Floats:
        """Return (N, E): each row's speaker's embedding."""
        embedded: Floats = (self._means(features, who) - self._mean) / self._std
        return embedded.astype(np.float32)

    def _means(self, features: Floats, who: Integers) -> Floats:
        placed = self._axes.transform(features)[:, self._used]
        return by_speaker(lambda rows: rows.mean(0), placed, who)


def appended(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Put the embedding, times `strength`, beside the features."""
    embedder = Embedder(known)

    def with_embedding(features: Floats, who: Integers) -> Floats:
        return np.concatenate([features, strength * embedder(features, who)], axis=1)

    return behind(with_embedding, known, settings, seed, num_parameters=embedder.num_parameters)


def modulated(known: Data[Floats], settings: Settings, strength: float, seed: int) -> Fitted:
    """Scale and shift the features by the embedding, times `strength`."""
    embedder, width = Embedder(known), settings.gate_width

    def inputs(rows: Floats, who: Integers) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(rows), strength * torch.from_numpy(embedder(rows, who))

    generator, emotion = torch.Generator().manual_seed(seed), torch.from_numpy(known.emotion)
    features, embedding = inputs(known.emotional, known.who)
    dim = features.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        film = nn.Linear(embedding.shape[1], 2 * dim)
        nn.init.zeros_(film.weight)
        nn.init.zeros_(film.bias)
        head = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Dropout(settings.dropout),
                             nn.Linear(width, NUM_EMOTIONS))  # fmt: skip
        parameters = [*film.parameters(), *head.parameters()]

        def seen(rows: Tensor, embedded: Tensor) -> Tensor:
            scale, shift = film(embedded).chunk(2, dim=1)
            modulated: Tensor = rows * (1 + scale) + shift
            return modulated

        def loss_of(_: int, rows: Tensor) -> Tensor:
            logits = head(seen(features[rows], embedding[rows]))
            return functional.cross_entropy(logits, emotion[rows])

        groups = [{"params": parameters, "weight_decay": settings.weight_decay}]
        minimise(loss_of, groups, settings, len(emotion), generator)
    head.eval()

    @torch.no_grad()
    def predict(rows: Floats, who: Integers) -> Integers:
        return classes_of(head(seen(*inputs(rows, who))))

    @torch.no_grad()
    def represent(rows: Floats, who: Integers) -> Floats:
        found: Floats = seen(*inputs(rows, who)).numpy()
        return found

    size = sum(one.numel() for one in parameters) + embedder.num_parameters
    return Fitted(predict, represent, size)
