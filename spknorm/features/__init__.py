"""What a frozen upstream computes once instead of every epoch.

Between the upstream and the heads. `plan` says from the configuration what may be kept:

pooled  Nothing non-linear stands between the upstream's frames and their mean over time: weighted
        sum, projector and mean commute, so each utterance needs one vector per layer (a few kB).
frames  Something does (the gate of SNP, attentive pooling, another head): every frame is kept.
off     The upstream is trained, or runs with padding (`upstream.packed: false`): nothing is kept.

Utterances are computed one by one, or together with others of exactly their length, so that no
feature depends on padding. What may be kept is decided by settings alone: where the disk has no
room for it, or `upstream.cache` is off, the same numbers are computed again. A corpus that is read
as crops can be kept if these are fixed, one per utterance (`speaker_corpus.crops`).

Legend: N utterances, T frames, L layers, H upstream dimension.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from spknorm.batches.shipping import ship
from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import fingerprint
from spknorm.features.front_ends import FrontEnds
from spknorm.features.reader import Reading, upstream_reader
from spknorm.schema import TaskConfig, UpstreamConfig

__all__ = ["FrontEnds", "FrozenFeatures", "Plan", "fingerprint", "plan"]

Plan = Literal["pooled", "frames", "off"]
_ON_THE_DEVICE = 2 << 30
"""Bytes of a table of pooled features up to which it lies where it is used."""
Floats = npt.NDArray[np.float32]


def plan(config: TaskConfig, *, upstream_trainable: bool) -> Plan:
    """Return what of the upstream's output may be kept; see the top of this file."""
    method, model = config.downstream_expert.spknorm, config.downstream_expert.modelrc
    if upstream_trainable or not config.upstream.packed or config.runner.engine == "s3prl":
        return "off"
    pools_first = (
        model.select == "UtteranceLevel"
        and model.UtteranceLevel.get("pooling", "MeanPooling") == "MeanPooling"
        and model.UtteranceLevel.get("pre_net") is None
    )
    return "pooled" if method.strategy == "none" and pools_first else "frames"


class FrozenFeatures:
    """Features of a frozen upstream, from the cache, with the featurizer's weights still trained.

    Args:
        upstream: s3prl's, called as `upstream(wavs)`; it is put into evaluation mode for reading.
        featurizer: s3prl's Featurizer of that upstream.
        kind: What `plan` said, pooled or frames.
        config: `upstream` of the configuration: where, and how much at most.
        device: Where the upstream is and the features are wanted.
    """

    def __init__(
        self,
        upstream: nn.Module,
        featurizer: Any,
        *,
        kind: Plan,
        config: UpstreamConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        assert kind != "off"
        self._featurizer = featurizer
        self._device = torch.device(device)
        self._pooled = kind == "pooled"
        self._stores = config.cache != "off"
        reading = Reading.of(featurizer, pooled=self._pooled)
        self._reader = upstream_reader(upstream, reading, config=config, device=self._device)
        self._keys: dict[str, dict[str, str]] = {}
        self._tables: dict[str, tuple[dict[str, int], Tensor]] = {}

    def prepare(
        self, corpus: str, utterances: Sequence[Utterance], *, max_seconds: float | None = None
    ) -> bool:
        """Compute what is not cached of a corpus; return False if it has to be computed each time.

        Args:
            corpus: The name under which `features` will ask for it.
            utterances: All of it, with distinct ids: train, dev and test together.
            max_seconds: Crop longer utterances to this, each at its own fixed place.
        """
        keys = self._reader.fill(utterances, max_seconds=max_seconds) if self._stores else None
        ids = [utterance.id for utterance in utterances]
        if self._pooled:  # small enough for memory, be there room on the disk or not
            found = (
                self._reader.read(utterances, max_seconds=max_seconds)
                if keys is None
                else self._reader.gather(keys)
            )
            table = torch.from_numpy(found)
            if found.nbytes <= _ON_THE_DEVICE:
                table = table.to(self._device)
            self._tables[corpus] = {id: row for row, id in enumerate(ids)}, table  # (N, L, H)
            return True
        if keys is not None:
            self._keys[corpus] = dict(zip(ids, keys, strict=True))
        return keys is not None

    def holds(self, corpus: str, ids: Iterable[str]) -> bool:
        """Return whether `features` knows all of these utterances."""
        known = self._tables[corpus][0] if corpus in self._tables else self._keys.get(corpus, {})
        return all(id in known for id in ids)

    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return (T_i, H) of waveforms (L_i,) as `features` does of stored utterances."""
        arrays = self._reader.compute([wav.cpu().numpy() for wav in wavs])
        return [self._weighted(torch.from_numpy(one).to(self._device)) for one in arrays]

    def pooled(self, corpus: str) -> Floats:
        """Return the pooled features (N, L, H) of a prepared corpus in its order."""
        _, table = self._tables[corpus]
        return table.cpu().numpy()

    def replace_pooled(self, corpus: str, features: Floats) -> None:
        """Put other pooled features (N, L, H) in the place of a prepared corpus' own."""
        place, table = self._tables[corpus]
        self._tables[corpus] = place, torch.from_numpy(features).to(table.device)

    def sizes(self, corpus: str, ids: Sequence[str]) -> list[int]:
        """Return the number of frames of each utterance, 1 if pooled."""
        if corpus in self._tables:
            return [1] * len(ids)
        return [len(self._reader.store[self._keys[corpus][id]]) for id in ids]

    def stored(self, corpus: str, ids: Sequence[str]) -> list[Tensor]:
        """Return what is kept of each utterance, (T_i, L, H), where it lies; nothing if pooled."""
        if corpus in self._tables:  # some kilobytes, and mostly on the device
            return []
        return [torch.from_numpy(self._reader.store[self._keys[corpus][id]]) for id in ids]

    def features(
        self, corpus: str, ids: Sequence[str], there: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """Return (T_i, H) of each utterance, T_i = 1 if pooled, as the featurizer would.

        Args:
            corpus: As `prepare` has it.
            ids: Of the utterances.
            there: What `stored` gives of them, where it is on the device already.
        """
        if corpus in self._tables:
            place, table = self._tables[corpus]
            rows = torch.tensor([place[id] for id in ids])
            if table.device.type == "cpu":
                (layers,) = ship([table[rows]], self._device)
            else:
                layers = table[ship([rows], table.device)[0]]
            return list(self._weighted(layers).unsqueeze(1))  # (B, L, H) -> B x (1, H)
        frames = there or ship(self.stored(corpus, ids), self._device)
        return [self._weighted(layers) for layers in frames]

    def _weighted(self, layers: Tensor) -> Tensor:
        """Return the featurizer's weighted sum, (..., L, H) -> (..., H)."""
        if layers.shape[-2] == 1:
            return layers.squeeze(-2)
        weights: Tensor = self._featurizer.weights.softmax(dim=-1)
        return (weights.unsqueeze(-1) * layers).sum(dim=-2)
