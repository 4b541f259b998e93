"""What the frozen convolutions of a fine-tuned upstream compute once instead of every epoch.

s3prl never trains the front end of HuBERT and wav2vec 2.0 (feature_grad_mult = 0), so its output is
a function of the audio alone. It is kept in float32; where that does not fit and the step computes
in bfloat16 anyway, in bfloat16.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import fingerprint
from spknorm.features.reader import Array, CachedReader
from spknorm.schema import UpstreamConfig


class FrontEnds:
    """Features of a fine-tuned upstream whose front end is frozen and cached.

    Args:
        encoder: A `PackedEncoder` of spknorm.fast.
        model: What `encoder.front_end` runs: its weights and settings are the cache's key.
        config: `upstream` of the configuration: where, and how much at most.
        precision: fp32, bf16 or fp16: what the training step computes in.
        device: Where the model is.
    """

    def __init__(
        self,
        encoder: Any,
        model: torch.nn.Module,
        *,
        config: UpstreamConfig,
        precision: str = "fp32",
        device: torch.device | str = "cpu",
    ) -> None:
        self._encoder, self._device = encoder, torch.device(device)
        self._keys: dict[str, tuple[CachedReader, dict[str, str]]] = {}
        weights = fingerprint(model)
        self._readers = [
            CachedReader(
                compute,
                about={"front_end": weights, "normalize": bool(encoder.normalize), "type": kind},
                folder=config.cache_dir,
                limit_gb=config.cache_limit_gb,
                device=device,
            )
            for kind, compute in (("float32", self._whole), ("bfloat16", self._halved))
            if kind == "float32" or precision == "bf16"
        ]

    def prepare(self, corpus: str, utterances: Sequence[Utterance]) -> bool:
        """Compute what is not cached of a corpus; return False if it may not be cached.

        Args:
            corpus: The name under which `features` will ask for it.
            utterances: All of it, with distinct ids; read whole.
        """
        for reader in self._readers:
            keys = reader.fill(utterances)
            if keys is not None:
                ids = [utterance.id for utterance in utterances]
                self._keys[corpus] = reader, dict(zip(ids, keys, strict=True))
                return True
        return False

    def features(self, corpus: str, ids: Sequence[str]) -> list[Tensor]:
        """Return (T_i, H) of each utterance, as the encoder gives it."""
        reader, keys = self._keys[corpus]
        arrays = [torch.from_numpy(reader.store[keys[id]]) for id in ids]
        if reader is not self._readers[0]:
            arrays = [array.view(torch.bfloat16) for array in arrays]
        front_ends = [array.to(self._device).float() for array in arrays]
        features: list[Tensor] = self._encoder.transform(front_ends)
        return features

    def _whole(self, wavs: list[Tensor]) -> list[Array]:
        return [self._encoder.front_end(wav).cpu().contiguous().numpy() for wav in wavs]

    def _halved(self, wavs: list[Tensor]) -> list[Array]:
        frames = (self._encoder.front_end(wav).bfloat16().cpu().contiguous() for wav in wavs)
        return [frame.view(torch.int16).numpy() for frame in frames]  # numpy has no bfloat16
