"""What the frozen convolutions of a fine-tuned upstream compute once instead of every epoch.

s3prl never trains the front end of HuBERT and wav2vec 2.0 (feature_grad_mult = 0), so its output is
a function of the audio and of the precision alone. It is kept as the training step computes it, and
for evaluation in float32, as that is done: a run's numbers are the same with and without.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from spknorm.batches.shipping import ship
from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import fingerprint
from spknorm.features.reader import Array, CachedReader
from spknorm.schema import UpstreamConfig


class FrontEnds:
    """Features of a fine-tuned upstream whose front end is frozen and cached.

    Args:
        encoder: A `PackedEncoder` of spknorm.upstreams.fast.
        model: What `encoder.front_end` runs: its weights and settings are the cache's key.
        config: `upstream` of the configuration: where, and how much at most.
        device: Where the model is.
    """

    def __init__(
        self,
        encoder: Any,
        model: torch.nn.Module,
        *,
        config: UpstreamConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        self._encoder, self._device = encoder, torch.device(device)
        self._config, self._weights = config, fingerprint(model)
        self._keys: dict[str, tuple[CachedReader, dict[str, str]]] = {}

    def prepare(
        self,
        corpus: str,
        utterances: Sequence[Utterance],
        *,
        precision: torch.dtype = torch.float32,
        max_seconds: float | None = None,
    ) -> bool:
        """Compute what is not cached of a corpus; return False if it may not be cached.

        Args:
            corpus: The name under which `features` will ask for it.
            utterances: All of it, with distinct ids.
            precision: What the passes that will ask compute in.
            max_seconds: Crop longer utterances to this, each at its own fixed place.
        """
        if self._config.cache == "off":
            return False
        reader = CachedReader(
            functools.partial(self._compute, precision=precision),
            about={
                "front_end": self._weights,
                "normalize": bool(self._encoder.normalize),
                "type": str(precision).removeprefix("torch."),
            },
            folder=self._config.cache_dir,
            limit_gb=self._config.cache_limit_gb,
            device=self._device,
        )
        keys = reader.fill(utterances, max_seconds=max_seconds)
        if keys is None:
            return False
        ids = [utterance.id for utterance in utterances]
        self._keys[corpus] = reader, dict(zip(ids, keys, strict=True))
        return True

    def holds(self, corpus: str, ids: Iterable[str]) -> bool:
        """Return whether `features` knows all of these utterances."""
        return corpus in self._keys and all(id in self._keys[corpus][1] for id in ids)

    def sizes(self, corpus: str, ids: Sequence[str]) -> list[int]:
        """Return the number of frames of each utterance."""
        reader, keys = self._keys[corpus]
        return [len(reader.store[keys[id]]) for id in ids]

    def stored(self, corpus: str, ids: Sequence[str]) -> list[Tensor]:
        """Return what is kept of each utterance, (T_i, C), where it lies."""
        reader, keys = self._keys[corpus]
        arrays = [torch.from_numpy(reader.store[keys[id]]) for id in ids]
        return [
            array.view(torch.bfloat16) if array.dtype == torch.int16 else array for array in arrays
        ]

    def features(
        self, corpus: str, ids: Sequence[str], there: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """Return (T_i, H) of each utterance, as the encoder gives it.

        Args:
            corpus: As `prepare` has it.
            ids: Of the utterances.
            there: What `stored` gives of them, where it is on the device already.
        """
        front_ends = there or ship(self.stored(corpus, ids), self._device)
        features: list[Tensor] = self._encoder.transform(front_ends)
        return features

    def _compute(self, wavs: list[Tensor], *, precision: torch.dtype) -> list[Array]:
        lower = precision is not torch.float32
        with torch.autocast(self._device.type, precision if lower else None, enabled=lower):
            frames = [one.cpu().contiguous() for one in self._encoder.front_ends(wavs)]
        return [  # numpy has no bfloat16
            (one.view(torch.int16) if one.dtype is torch.bfloat16 else one).numpy()
            for one in frames
        ]
