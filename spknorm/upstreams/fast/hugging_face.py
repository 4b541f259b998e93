"""transformers' models of the wav2vec 2.0 kind as parts that `packed` runs.

Hubert, Wav2Vec2, WavLM, Data2VecAudio, UniSpeech and UniSpeechSat share one build: convolutions,
a projection, a positional convolution, layers with the norm before or behind.

Legend: as in `parts.py`.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional

from spknorm.upstreams.fast.description import Layer, dropout_rate, products
from spknorm.upstreams.fast.dropout import drop, rate_of
from spknorm.upstreams.fast.layers import positions
from spknorm.upstreams.fast.layout import Begun, Layout
from spknorm.upstreams.fast.parts import Parts


class HuggingFaceParts(Parts):
    """The parts of a model of transformers."""

    def __init__(self, upstream: Any) -> None:
        super().__init__(upstream)
        encoder = self.model.encoder
        self.layers = encoder.layers
        self._stable = bool(getattr(self.model.config, "do_stable_layer_norm", False))
        self.final_norm = encoder.layer_norm if self._stable else None
        self.attention = encoder.layers[0].attention

    def described(self, layer: Any) -> Layer:
        """Return what a layer is made of."""
        attention, feed_forward = layer.attention, layer.feed_forward
        projections, (mix,) = products(attention)
        behind = layer.dropout, feed_forward.intermediate_dropout, feed_forward.output_dropout
        activation = feed_forward.intermediate_act_fn
        if type(activation).__name__ == "GELUActivation":
            activation = functional.gelu
        return Layer(
            self._stable, attention, projections,
            (mix, feed_forward.intermediate_dense, feed_forward.output_dense),
            norms=(layer.layer_norm, layer.final_layer_norm),
            rates=(dropout_rate(attention), *map(rate_of, behind)), activation=activation,
        )  # fmt: skip

    @property
    def normalizes(self) -> bool:
        """Whether waveforms are normalised."""
        return bool(self._upstream.inputs.normalize)

    def normalized(self, wav: Tensor) -> Tensor:
        """Return a waveform (L,) with mean 0 and variance 1."""
        normal: Tensor = self._upstream.inputs.normalized(wav)
        return normal

    def embed(self, x: Tensor, layout: Layout) -> Begun:
        """Return the first layer's input (N, H) of the convolutions' outputs (N, C)."""
        encoder = self.model.encoder
        projected = self.model.feature_projection(x)
        x = projected if isinstance(projected, Tensor) else projected[0]  # (N, C) -> (N, H)
        x = x + positions(encoder.pos_conv_embed, x, layout)
        if not self._stable:
            x = encoder.layer_norm(x)
        x = drop(encoder.dropout, x)
        return Begun(x, layout, x)

    @staticmethod
    def reason_unsupported(upstream: Any) -> str | None:
        """Return why a model cannot be run without padding in one go; None if it can."""
        model = upstream.model
        if any(getattr(layer, "adapter_layer", None) is not None for layer in model.encoder.layers):
            return "its layers have adapters"
        if getattr(model.encoder.pos_conv_embed, "batch_norm", None) is not None:
            return "its positional convolution normalises over the batch"
        return None
