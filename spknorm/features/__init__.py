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

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import fingerprint
from spknorm.features.front_ends import keep_front_ends
from spknorm.features.kept import Kept, Pooled
from spknorm.features.reader import upstream_reader
from spknorm.features.reading import Reading
from spknorm.schema import TaskConfig, UpstreamConfig

__all__ = ["FrozenFeatures", "Kept", "Plan", "Pooled", "fingerprint", "keep_front_ends", "plan"]

Plan = Literal["pooled", "frames", "off"]


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
        reading = Reading.of(featurizer, pooled=self._pooled)
        self._reader = upstream_reader(upstream, reading, config=config, device=self._device)

    def keep(
        self, utterances: Sequence[Utterance], *, max_seconds: float | None = None
    ) -> Kept | Pooled | None:
        """Compute what is not cached of a corpus, and return it; None: it may not be cached.

        What is pooled is small enough for memory, be there room on the disk or not.

        Args:
            utterances: All of it, with distinct ids: train, dev and test together.
            max_seconds: Crop longer utterances to this, each at its own fixed place.
        """
        if not self._pooled:
            return self._reader.keep(utterances, max_seconds=max_seconds, finish=self._summed)
        keys = self._reader.fill(utterances, max_seconds=max_seconds)
        found = self._reader.read(utterances, keys, max_seconds=max_seconds)
        ids = [utterance.id for utterance in utterances]
        return Pooled(ids, found, finish=self._weighted, device=self._device)

    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return (T_i, H) of waveforms (L_i,) as `features` does of stored utterances."""
        return self._summed(self._reader.compute_here(wavs))

    def _summed(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """Return the weighted sum of each utterance, (T_i, L, H) -> (T_i, H)."""
        return [self._weighted(layers) for layers in frames]

    def _weighted(self, layers: Tensor) -> Tensor:
        """Return the featurizer's weighted sum, (..., L, H) -> (..., H)."""
        if layers.shape[-2] == 1:
            return layers.squeeze(-2)
        weights: Tensor = self._featurizer.weights.softmax(dim=-1)
        return (weights.unsqueeze(-1) * layers).sum(dim=-2)
