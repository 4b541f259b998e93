"""What is kept of a corpus, looked up by the ids of utterances: on disk, or pooled in memory.

Legend: N utterances, T frames, L layers, H upstream dimension, C channels of a front end.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spknorm.batches.shipping import ship
from spknorm.config.memory import or_else
from spknorm.features.store import FeatureStore

Floats = npt.NDArray[np.float32]

_ON_THE_DEVICE = 2 << 30
"""Bytes of a table of pooled features up to which it lies where it is used."""


class Kept:
    """The stored array (T_i, ...) of each utterance, of which `finish` makes features (T_i, H)."""

    def __init__(
        self,
        store: FeatureStore,
        keys: Mapping[str, str],
        *,
        finish: Callable[[Sequence[Tensor]], list[Tensor]],
        device: torch.device,
    ) -> None:
        self._store, self._keys = store, keys
        self._finish, self._device = finish, device

    def __contains__(self, id: str) -> bool:
        return id in self._keys

    def sizes(self, ids: Sequence[str]) -> list[int]:
        """Return the number of frames of each utterance."""
        return [len(self._store[self._keys[id]]) for id in ids]

    def stored(self, ids: Sequence[str]) -> list[Tensor]:
        """Return what is kept of each utterance, (T_i, L, H) or (T_i, C), where it lies."""
        arrays = [torch.from_numpy(self._store[self._keys[id]]) for id in ids]
        return [  # numpy has no bfloat16
            array.view(torch.bfloat16) if array.dtype == torch.int16 else array for array in arrays
        ]

    def features(self, ids: Sequence[str], there: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return (T_i, H) of each; `there` is what of `stored` is on the device already."""
        return self._finish(there or ship(self.stored(ids), self._device))


class Pooled:
    """The pooled features (N, L, H) of a corpus, of which `finish` makes (N, H)."""

    def __init__(
        self,
        ids: Sequence[str],
        features: Floats,
        *,
        finish: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> None:
        self._places = {id: row for row, id in enumerate(ids)}
        self._finish, self._device = finish, device
        table = torch.from_numpy(features)
        if features.nbytes <= _ON_THE_DEVICE:
            table = or_else(lambda: table.to(device), lambda: table)
        self._table = table

    def __contains__(self, id: str) -> bool:
        return id in self._places

    def sizes(self, ids: Sequence[str]) -> list[int]:
        """Return 1 for each utterance."""
        return [1] * len(ids)

    def stored(self, ids: Sequence[str]) -> list[Tensor]:
        """Return nothing: it is some kilobytes, and mostly on the device."""
        return []

    def features(self, ids: Sequence[str], there: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return (1, H) of each utterance."""
        rows = torch.tensor([self._places[id] for id in ids])
        if self._table.device.type == "cpu":
            (layers,) = ship([self._table[rows]], self._device)
        else:
            layers = self._table[ship([rows], self._table.device)[0]]
        return list(self._finish(layers).unsqueeze(1))  # (B, L, H) -> B x (1, H)

    def every(self) -> Floats:
        """Return the features of all, (N, L, H), in their order."""
        return self._table.cpu().numpy()

    def replace(self, features: Floats) -> None:
        """Put other features (N, L, H) in their place."""
        self._table = torch.from_numpy(features).to(self._table.device)
