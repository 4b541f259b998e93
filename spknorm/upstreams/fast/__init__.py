"""s3prl's wav2vec 2.0 encoders without padding: the same parameters and the same maths, less work.

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
from spknorm.upstreams.fast.memory import keep_freed_memory
from spknorm.upstreams.fast.packed import PackedEncoder, layers_of, layers_read

__all__ = ["Encoder", "PackedEncoder", "keep_freed_memory", "make_encoder", "reason_unsupported"]

logger = logging.getLogger(__name__)

Encoder = Callable[[Sequence[Tensor]], list[Tensor]]


def make_encoder(
    upstream: nn.Module, featurizer: Any, config: UpstreamConfig, *, trainable: bool = True
) -> Encoder:
    """Return a function from B waveforms (L_i,) to B features (T_i, H).

    It is a `PackedEncoder` where the upstream is one of s3prl's wav2vec 2.0 family and
    `config.packed` is on, else s3prl's own `featurizer(wavs, upstream(wavs))`. Without
    `trainable` no graph is built through the upstream, only through the featurizer.
    """
    if config.packed:
        reason = reason_unsupported(upstream, featurizer)
        if reason is None:
            return PackedEncoder(upstream, featurizer, config, trainable=trainable)
        logger.info("The upstream runs as s3prl runs it, with padding: %s.", reason)

    def encode(wavs: Sequence[Tensor]) -> list[Tensor]:
        with torch.set_grad_enabled(trainable and torch.is_grad_enabled()):
            hidden = upstream(list(wavs))
        return list(featurizer(wavs, hidden))

    return encode


def reason_unsupported(upstream: nn.Module, featurizer: Any) -> str | None:
    """Return why the upstream cannot run without padding, or None if it can."""
    from s3prl.upstream.wav2vec2 import wav2vec2_model as fairseq

    if not (family_of(upstream).runs_packed and is_stock(upstream)):
        return f"{type(upstream).__module__} is not s3prl's HuBERT or wav2vec 2.0"
    assert isinstance(upstream, nn.Module)
    model: Any = upstream.model
    if type(model.encoder) is not fairseq.TransformerEncoder or model.encoder.layerdrop > 0:
        return "its encoder is not a plain transformer without layerdrop"
    if any(
        type(layer) is not fairseq.TransformerSentenceEncoderLayer for layer in layers_of(model)
    ):
        return "its layers are not plain transformer layers"
    if getattr(model, "input_quantizer", None) or getattr(model, "crop_seq_to_multiple", 1) > 1:
        return "it quantises or crops its input"
    if len(upstream.hooks) != len(layers_of(model)) + 1:  # type: ignore[arg-type]  # a list
        return "its hidden states are not those of its layers"
    if layers_read(featurizer, len(layers_of(model))) is None:
        return f"`{featurizer.feature_selection}` is not one of its hidden states"
    return None
