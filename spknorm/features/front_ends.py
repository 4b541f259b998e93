"""What the frozen convolutions of a fine-tuned upstream compute once instead of every epoch.

s3prl never trains the front end of HuBERT and wav2vec 2.0 (feature_grad_mult = 0), so its output is
a function of the audio and of the precision alone. It is kept as the training step computes it, and
for evaluation in float32, as that is done: a run's numbers are the same with and without.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import fingerprint
from spknorm.features.kept import Kept
from spknorm.features.reader import CachedReader
from spknorm.features.store import Array
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

    def keep(
        self,
        utterances: Sequence[Utterance],
        *,
        precision: torch.dtype = torch.float32,
        max_seconds: float | None = None,
    ) -> Kept | None:
        """Compute what is not cached of a corpus, and return it; None if it may not be cached.

        Args:
            utterances: All of it, with distinct ids.
            precision: What the passes that will ask compute in.
            max_seconds: Crop longer utterances to this, each at its own fixed place.
        """
        reader = CachedReader(
            functools.partial(self._compute, precision=precision),
            about={
                "front_end": self._weights,
                "normalize": bool(self._encoder.normalize),
                "type": str(precision).removeprefix("torch."),
            },
            config=self._config,
            device=self._device,
        )
        return reader.keep(utterances, max_seconds=max_seconds, finish=self._encoder.transform)

    def _compute(self, wavs: list[Tensor], *, precision: torch.dtype) -> list[Array]:
        lower = precision is not torch.float32
        with torch.autocast(self._device.type, precision if lower else None, enabled=lower):
            frames = [one.cpu().contiguous() for one in self._encoder.front_ends(wavs)]
        return [  # numpy has no bfloat16
            (one.view(torch.int16) if one.dtype is torch.bfloat16 else one).numpy()
            for one in frames
        ]
