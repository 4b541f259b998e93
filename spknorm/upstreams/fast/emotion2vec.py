"""emotion2vec as parts that `packed` runs.

Legend: as in `parts.py`; E tokens stand before each utterance's frames, M = N + B E.
"""

from typing import Any

import torch
from torch import Tensor, nn

from spknorm.batches.shipping import ship
from spknorm.upstreams.fast.description import products
from spknorm.upstreams.fast.dropout import drop
from spknorm.upstreams.fast.layers import attend
from spknorm.upstreams.fast.layout import Begun, Layout
from spknorm.upstreams.fast.linears import Linears
from spknorm.upstreams.fast.parts import Parts


class Emotion2vecParts(Parts):
    """The parts of an emotion2vec; `embed` and `bias` are of M tokens and frames."""

    def __init__(self, upstream: Any) -> None:
        super().__init__(upstream)
        self.layers = self.model.layers
        self.final_norm = self.model.norm
        self.attention = self.layers[0].attn

    def embed(self, x: Tensor, layout: Layout) -> Begun:
        """Return the first layer's input (M, H) of the convolutions' outputs (N, C)."""
        model, audio = self.model, self.model.audio
        x = audio.project_features[1:](x)  # [0] turns (C, T) round; (N, C) -> (N, H)
        tokens = () if audio.extra_tokens is None else (audio.extra_tokens[0],)
        parts = []
        for part in layout.split(x):
            part = part + audio.relative_positional_encoder(part.unsqueeze(0)).squeeze(0)
            parts += [*tokens, part]
        x = model.begin(torch.cat(parts))
        if not tokens:
            return Begun(x, layout, x)
        number = model.num_tokens
        lengths = [number + length for length in layout.lengths]
        wider = Layout(lengths, device=x.device, together=layout.together)
        rows = [torch.arange(start + number, start + length) for start, length in wider.places]
        (frames,) = ship([torch.cat(rows)], x.device)
        return Begun(x, wider, x, frames)

    def run_layer(
        self, layer: Any, x: Tensor, layout: Layout, bias: Tensor | None = None
    ) -> Tensor:
        """Do what funasr's AltBlock does, on (M, H)."""
        linears = Linears(layout, *products(layer.attn), (layer.mlp.fc1,), (layer.mlp.fc2,))
        given = layer.norm1(x) if layer.layer_norm_first else x
        mixed = attend(layer.attn, given, layout, bias, linears)
        x = x + drop(layer.attn.proj_drop, mixed)
        if layer.layer_norm_first:  # as it is written there: the feed-forward counts twice
            x = _feed_forward(layer.mlp, layer.norm2(x), linears)
            return x + drop(layer.post_mlp_dropout, x)
        x = layer.norm1(x)
        mixed = drop(layer.post_mlp_dropout, _feed_forward(layer.mlp, x, linears))
        normal: Tensor = layer.norm2(x + mixed)
        return normal

    def bias(self, longest: int) -> Tensor | None:
        """Return ALiBi of `longest` tokens and frames, (heads, M, M)."""
        bias: Tensor | None = self.model.bias(longest)
        return bias

    @staticmethod
    def reason_unsupported(upstream: Any) -> str | None:
        """Return why a model cannot be run without padding in one go; None if it can."""
        model = upstream.model
        if model.scale is not None and len(model.scale) > 1:
            return "each of its layers has a bias of its own"
        if model.dropout_input.p > 0 or any(
            type(layer.drop_path) is not nn.Identity for layer in model.layers
        ):
            return "it drops paths, or between layers"
        return None


def _feed_forward(mlp: Any, x: Tensor, linears: Linears) -> Tensor:
    hidden = drop(mlp.drop1, mlp.act(linears(x, mlp.fc1)))
    return drop(mlp.drop2, linears(hidden, mlp.fc2))
