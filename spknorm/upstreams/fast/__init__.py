"""Encoders of the wav2vec 2.0 kind without padding: same parameters, same maths, less work.

Between the upstream and the heads, wherever an upstream of this type is run for training. s3prl
pads a batch to its longest utterance, and HuBERT Base's first layer normalises over time, so there
an utterance's features depend on its neighbours. Here each utterance passes the convolutions and
attention alone, and everything that works frame by frame runs on all frames of the batch end to
end: what comes out is what `featurizer(wavs, upstream(wavs))` gives for each utterance by itself.

Nothing of the upstream is changed: its modules are called in another order. Hidden states that the
featurizer does not read are not kept.

Legend: B utterances of L_i samples and T_i frames, H upstream dimension.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spknorm.schema import UpstreamConfig
from spknorm.upstreams import family_of, is_stock
from spknorm.upstreams.alone import AloneUpstream, by_length
from spknorm.upstreams.fast.memory import keep_freed_memory
from spknorm.upstreams.fast.packed import PackedEncoder, form_of, layers_read, parts_of

__all__ = [
    "AloneEncoder",
    "Encoder",
    "PackedEncoder",
    "keep_freed_memory",
    "make_encoder",
    "parts_of",
    "reason_unsupported",
]

logger = logging.getLogger(__name__)

Encoder = Callable[[Sequence[Tensor]], list[Tensor]]


class AloneEncoder:
    """Runs an upstream and what reads it over utterances, those of one length together.

    Attributes:
        reads_on_host: Waveforms may stay on the host.

    Args:
        encode: From waveforms of one length to features.
        upstream: That of `encode`.
    """

    def __init__(self, encode: Encoder, upstream: AloneUpstream) -> None:
        self._encode, self.reads_on_host = encode, upstream.reads_on_host

    def __call__(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return features (T_i, H) of waveforms (L_i,) at 16 kHz."""
        return by_length(self._encode, wavs)


def make_encoder(
    upstream: nn.Module, featurizer: Any, config: UpstreamConfig, *, trainable: bool = True
) -> Encoder:
    """Return a function from B waveforms (L_i,) to B features (T_i, H).

    It is a `PackedEncoder` where the upstream's family is run without padding and `config.packed`
    is on, else s3prl's own `featurizer(wavs, upstream(wavs))`; an `AloneEncoder` where the upstream
    takes each utterance by itself. Without `trainable` no graph is built through the upstream, only
    through the featurizer.
    """
    if config.packed:
        reason = reason_unsupported(upstream, featurizer)
        if reason is None:
            return PackedEncoder(upstream, featurizer, config, trainable=trainable)
        if isinstance(upstream, AloneUpstream):
            logger.info("The upstream runs over each utterance by itself: %s.", reason)
        else:
            logger.info("The upstream runs as s3prl runs it, with padding: %s.", reason)

    def encode(wavs: Sequence[Tensor]) -> list[Tensor]:
        with torch.set_grad_enabled(trainable and torch.is_grad_enabled()):
            hidden = upstream(list(wavs))
        return list(featurizer(wavs, hidden))

    if isinstance(upstream, AloneUpstream):
        return AloneEncoder(encode, upstream)
    return encode


def reason_unsupported(upstream: nn.Module, featurizer: Any) -> str | None:
    """Return why the upstream cannot run without padding, or None if it can."""
    if not (family_of(upstream).runs_packed and is_stock(upstream)):
        return f"{type(upstream).__module__} is no upstream that is run without padding"
    reason = form_of(upstream).reason_unsupported(upstream)
    if reason is None and layers_read(featurizer, parts_of(upstream)) is None:
        return f"`{featurizer.feature_selection}` is not one of its hidden states"
    return reason
