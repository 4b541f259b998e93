"""s3prl's HuBERT, wav2vec 2.0, data2vec, WavLM and UniSpeech-SAT as parts that `packed` runs.

Legend: as in `parts.py`.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional

from spknorm.upstreams.fast.description import Layer, dropout_rate, products
from spknorm.upstreams.fast.dropout import drop, dropout, rate_of
from spknorm.upstreams.fast.layers import positions
from spknorm.upstreams.fast.layout import Begun, Layout
from spknorm.upstreams.fast.parts import Parts
from spknorm.upstreams.fast.products import project


class FairseqParts(Parts):
    """The parts of a model in fairseq's form."""

    def __init__(self, upstream: Any, model: Any = None) -> None:
        super().__init__(upstream, model)
        encoder = self.model.encoder
        self.layers = encoder.layers
        self.final_norm = encoder.layer_norm if encoder.layer_norm_first else None
        self.attention = encoder.layers[0].self_attn

    def described(self, layer: Any) -> Layer:
        """Return what a layer is made of."""
        attention, activation = layer.self_attn, layer.activation_fn
        projections, (mix,) = products(attention)
        behind = (layer.dropout1, layer.dropout2, layer.dropout3)
        if activation.__name__ == "gelu":  # fairseq's goes through float32, as torch's does
            activation = functional.gelu
        return Layer(
            layer.layer_norm_first, attention, projections, (mix, layer.fc1, layer.fc2),
            norms=(layer.self_attn_layer_norm, layer.final_layer_norm),
            rates=(dropout_rate(attention), *map(rate_of, behind)), activation=activation,
        )  # fmt: skip

    @property
    def normalizes(self) -> bool:
        """Whether waveforms are normalised."""
        for name in ("task_cfg", "cfg"):
            if (settings := getattr(self._upstream, name, None)) is not None:
                return bool(settings.normalize)
        return bool(self._upstream.wav_normalize)

    @property
    def gradient_share(self) -> float:
        """How much of its gradient the front end gets, 0 to 1."""
        return float(self.model.feature_grad_mult)

    def embed(self, x: Tensor, layout: Layout) -> Begun:
        """Return the first layer's input (N, H) of the convolutions' outputs (N, C)."""
        model, encoder = self.model, self.model.encoder
        x = model.layer_norm(x)
        if model.post_extract_proj is not None:
            x = project(model.post_extract_proj, x)  # (N, C) -> (N, H)
        x = drop(model.dropout_input, x)
        if encoder.pos_conv is not None:
            x = x + positions(encoder.pos_conv, x, layout)
        if not encoder.layer_norm_first:
            x = encoder.layer_norm(x)
        x = dropout(x, encoder.dropout if encoder.training else 0.0)
        return Begun(x, layout, x)

    @staticmethod
    def reason_unsupported(upstream: Any) -> str | None:
        """Return why a model cannot be run without padding; None if it can."""
        from s3prl.upstream.wav2vec2 import wav2vec2_model as fairseq
        from s3prl.upstream.wavlm import WavLM as microsoft  # noqa: N813  # a module

        model = upstream.model
        encoders = (fairseq.TransformerEncoder, microsoft.TransformerEncoder)
        if type(model.encoder) not in encoders or model.encoder.layerdrop > 0:
            return "its encoder is not a plain transformer without layerdrop"
        layers = (
            fairseq.TransformerSentenceEncoderLayer,
            microsoft.TransformerSentenceEncoderLayer,
        )
        if any(type(layer) not in layers for layer in model.encoder.layers):
            return "its layers are not plain transformer layers"
        if any(getattr(layer, "activation_name", "") == "glu" for layer in model.encoder.layers):
            return "its layers have gated linear units"
        if getattr(model, "input_quantizer", None) or getattr(model, "crop_seq_to_multiple", 1) > 1:
            return "it quantises or crops its input"
        if len(upstream.hooks) != len(model.encoder.layers) + 1:
            return "its hidden states are not those of its layers"
        return None
