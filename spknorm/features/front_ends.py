"""What the frozen convolutions of a fine-tuned upstream compute once instead of every epoch.

s3prl never trains the front end of HuBERT and wav2vec 2.0 (feature_grad_mult = 0), so its output is
a function of the audio alone. It is kept in the type in which it is computed.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import fingerprint
from spknorm.features.reader import Array, CachedReader
from spknorm.schema import UpstreamConfig

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class FrontEnds:
    """Outputs of a frozen front end, from the cache.

    Args:
        encoder: Of spknorm.fast: `encoder.front_end(wav)` is (T, C) of a waveform (L,).
        model: What `front_end` runs: its weights and settings are the cache's key.
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
        self._dtype = _PRECISIONS[precision]
        self._keys: dict[str, dict[str, str]] = {}
        self._reader = CachedReader(
            self._compute,
            about={
                "front_end": fingerprint(model),
                "normalize": bool(encoder.normalize),
                "precision": precision,
            },
            folder=config.cache_dir,
            limit_gb=config.cache_limit_gb,
            device=device,
        )

    def prepare(self, corpus: str, utterances: Sequence[Utterance]) -> bool:
        """Compute what is not cached of a corpus; return False if it may not be cached."""
        keys = self._reader.fill(utterances)
        if keys is None:
            return False
        ids = [utterance.id for utterance in utterances]
        self._keys[corpus] = dict(zip(ids, keys, strict=True))
        return True

    def __call__(self, corpus: str, ids: Sequence[str]) -> list[Tensor]:
        """Return (T_i, C) of each utterance, for `PackedEncoder.transform`."""
        keys = self._keys[corpus]
        arrays = (torch.from_numpy(self._reader.store[keys[id]]) for id in ids)
        return [array.view(self._dtype).to(self._device) for array in arrays]

    def _compute(self, wavs: list[Tensor]) -> list[Array]:
        autocast: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if self._dtype != torch.float32:
            autocast = torch.autocast(self._device.type, self._dtype)
        with autocast:
            frames = [self._encoder.front_end(wav).to(self._dtype).cpu() for wav in wavs]
        if self._dtype == torch.bfloat16:  # numpy has no such type
            return [frame.contiguous().view(torch.int16).numpy() for frame in frames]
        return [np.ascontiguousarray(frame.numpy()) for frame in frames]
