"""What the frozen convolutions of a fine-tuned upstream compute once instead of every epoch.

s3prl never trains the front end of HuBERT and wav2vec 2.0 (feature_grad_mult = 0), so its output is
a function of the audio and of the precision alone. It is kept as the training step computes it, and
for evaluation in float32, as that is done: a run's numbers are the same with and without.
"""

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


def keep_front_ends(
    encoder: Any,
    utterances: Sequence[Utterance],
    *,
    config: UpstreamConfig,
    device: torch.device | str = "cpu",
    precision: torch.dtype = torch.float32,
    max_seconds: float | None = None,
) -> Kept | None:
    """Compute what is not cached of a corpus, and return it; None if it may not be cached.

    Args:
        encoder: A `PackedEncoder` of spknorm.upstreams.fast, whose front end is frozen.
        utterances: All of the corpus, with distinct ids.
        config: `upstream` of the configuration: whether and where, and how much at most.
        device: Where the model is.
        precision: What the passes that will ask compute in.
        max_seconds: Crop longer utterances to this, each at its own fixed place.
    """
    device = torch.device(device)
    lower = precision is not torch.float32

    def compute(wavs: list[Tensor]) -> list[Array]:
        with torch.autocast(device.type, precision if lower else None, enabled=lower):
            frames = [one.cpu().contiguous() for one in encoder.front_ends(wavs)]
        return [  # numpy has no bfloat16
            (one.view(torch.int16) if one.dtype is torch.bfloat16 else one).numpy()
            for one in frames
        ]

    reader = CachedReader(
        compute,
        about={
            "front_end": fingerprint(encoder.parts.convolutions),
            "normalize": bool(encoder.parts.normalizes),
            "type": str(precision).removeprefix("torch."),
        },
        config=config,
        device=device,
    )
    return reader.keep(utterances, max_seconds=max_seconds, finish=encoder.transform)
