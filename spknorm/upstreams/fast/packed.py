"""An upstream of the wav2vec 2.0 kind, run over utterances without padding.

Legend: B utterances of T_i frames, N = sum of T_i, C front end's and H upstream's dimension, L
layers that are read.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spknorm.config.memory import LAYER_BYTES
from spknorm.schema import UpstreamConfig
from spknorm.upstreams import family_of
from spknorm.upstreams.alone import lengthened, needed_samples
from spknorm.upstreams.fast.attention import name_of
from spknorm.upstreams.fast.description import Layer, dropout_rate, weights_of
from spknorm.upstreams.fast.distiller import DistillerParts
from spknorm.upstreams.fast.emotion2vec import Emotion2vecParts
from spknorm.upstreams.fast.fairseq import FairseqParts
from spknorm.upstreams.fast.graphs import Graphs, records_on
from spknorm.upstreams.fast.hugging_face import HuggingFaceParts
from spknorm.upstreams.fast.layout import Layout, autocast_dtype
from spknorm.upstreams.fast.parts import Parts
from spknorm.upstreams.fast.whole import run_whole, runs_whole
from spknorm.upstreams.hugging_face.upstream import TransformersUpstream
from spknorm.upstreams.mixture import mixture

_SAMPLES_AT_ONCE = 64 * 16000
"""Beyond them the convolutions of a front end would be the step's peak of memory."""

_FORMS: dict[str, type[Parts]] = {"distiller": DistillerParts, "emotion2vec": Emotion2vecParts}
"""Of s3prl's experts; those of all others are fairseq's."""


class PackedEncoder:
    """Runs an upstream over utterances without padding.

    Attributes:
        parts: The upstream's.
        recomputes: Each layer's activations are computed again in the backward pass.
        compiled: Layers go through torch.compile.
        graphs: Records layers as CUDA graphs, where that is asked for.
        attention: How it was computed in training mode, in words.

    Args:
        upstream: One of which `reason_unsupported` says None.
        featurizer: s3prl's Featurizer of it.
        config: `upstream` of the configuration.
        trainable: Build a graph through the upstream.
    """

    def __init__(
        self,
        upstream: nn.Module,
        featurizer: Any,
        config: UpstreamConfig,
        *,
        trainable: bool = True,
    ) -> None:
        self._trainable, self._featurizer = trainable, featurizer
        self.parts = parts = parts_of(upstream)
        self._shortest = needed_samples(parts.convolutions)
        wanted = layers_read(featurizer, parts)
        assert wanted is not None
        self._wanted = wanted
        self.recomputes, self.compiled = config.checkpoint_activations, config.compile
        self._layer: Callable[..., Tensor] = self._run_layer
        if self.compiled:
            self._layer = torch.compile(parts.run_layer, dynamic=True)
        records = config.graphs and trainable and not self.compiled
        self.graphs = Graphs(parts.final_norm, on=records)
        self._described: dict[Hashable, list[Layer]] = {}
        self.attention: set[str] = set()
        self._named: dict[tuple[object, ...], str] = {}

    @property
    def frame_bytes(self) -> float:
        """Of the activations that a frame leaves for the backward pass, about."""
        kept = max(1, *self._wanted) if self._trainable else 1
        return float(LAYER_BYTES * self._featurizer.output_dim * kept)

    def __call__(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return features (T_i, H) of waveforms (L_i,) at 16 kHz."""
        return self.transform(self.front_ends(wavs))

    def front_ends(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return what the convolutions make of waveforms, (L_i,) -> (T_i, C).

        On a GPU those of one length go together, where one by one they would leave it idle.
        """
        alike: dict[object, list[int]] = {}
        for place, wav in enumerate(wavs):
            alike.setdefault(place if wav.device.type == "cpu" else len(wav), []).append(place)
        found: dict[int, Tensor] = {}
        for places in alike.values():
            most = max(1, _SAMPLES_AT_ONCE // len(wavs[places[0]]))
            for start in range(0, len(places), most):
                few = places[start : start + most]
                found.update(zip(few, self._front_ends([wavs[p] for p in few]), strict=True))
        return [found[place] for place in range(len(wavs))]

    def _front_ends(self, wavs: list[Tensor]) -> Tensor:
        """Return (B, T, C) of waveforms of one length."""
        wavs = [lengthened(wav, self._shortest) for wav in wavs]
        if self.parts.normalizes:
            wavs = [self.parts.normalized(wav) for wav in wavs]
        share = self.parts.gradient_share
        trains = self._trainable and share > 0
        with torch.set_grad_enabled(trains and torch.is_grad_enabled()):
            features: Tensor = self.parts.convolutions(torch.stack(wavs))
        if share not in (0.0, 1.0) and features.requires_grad:
            features = features * share + (features * (1.0 - share)).detach()
        return features.transpose(1, 2)  # (B, C, T) -> (B, T, C)

    def transform(self, front_ends: Sequence[Tensor]) -> list[Tensor]:
        """Return features (T_i, H) of the convolutions' outputs (T_i, C)."""
        x = torch.cat(list(front_ends))  # (N, C)
        layout = Layout([len(frames) for frames in front_ends], device=x.device)
        with torch.set_grad_enabled(self._trainable and torch.is_grad_enabled()):
            kept = self._hidden_states(x, layout)
        return list(layout.split(self._read(kept)))

    def _hidden_states(self, x: Tensor, layout: Layout) -> list[Tensor]:
        """Return the hidden states (N, H) that the featurizer reads, of (N, C)."""
        parts = self.parts
        begun = parts.embed(x, layout)
        x, layout = begun.x, begun.layout.settle() if self.compiled else begun.layout
        kept = [begun.of(begun.first)] if 0 in self._wanted else []
        last = min(max(self._wanted), len(parts.layers))
        bias = parts.bias(layout.longest) if last else None
        if last:
            self._note_attention(x, layout, biased=bias is not None)
        if bias is None and (layers := self._recordable(layout, last)):
            lower = x.to(autocast_dtype(x.device))
            return [begun.of(self._given(self.graphs(lower, layout, layers)))]
        for number, layer in enumerate(parts.layers[:last], start=1):
            if self.recomputes and torch.is_grad_enabled():
                x = checkpoint(self._layer, layer, x, layout, bias, use_reentrant=False)
            else:
                x = self._layer(layer, x, layout, bias)
            if number == len(parts.layers) and parts.final_norm is not None:
                x = parts.final_norm(x)
            if number in self._wanted:
                kept.append(begun.of(self._given(x)))
        if self._wanted[-1] > len(parts.layers):
            predicted = parts.heads(begun.of(x))
            kept += [predicted[n - last - 1] for n in self._wanted if n > last]
        return kept

    def _run_layer(self, layer: Any, x: Tensor, layout: Layout, bias: Tensor | None) -> Tensor:
        """Return what a layer makes of (N, H), by as few kernels as can be."""
        if bias is None and (whole := self._whole(layer, layout)) is not None:
            return run_whole(whole, x, layout, weights_of(whole))
        return self.parts.run_layer(layer, x, layout, bias)

    def _recordable(self, layout: Layout, last: int) -> list[Layer]:
        """Return all layers where they are to be recorded as CUDA graphs, else none.

        That is in training, where nothing but what the last of them gives is read.
        """
        on = self.graphs.on and records_on(layout.device) and not self.recomputes
        every = self._wanted == [last] and last == len(self.parts.layers)
        if not (on and every and self.parts.attention.training):
            return []
        modes = tuple(layer.training for layer in self.parts.layers)
        kind = modes, self.parts.described(self.parts.layers[0]), autocast_dtype(layout.device)
        if kind not in self._described:  # for which the host takes as long as for a few layers
            layers = [self._whole(layer, layout) for layer in self.parts.layers]
            known = [layer for layer in layers if layer is not None]
            self._described[kind] = known if len(known) == len(layers) else []
        return self._described[kind]

    def _given(self, x: Tensor) -> Tensor:
        """Return a layer's output in the type that its norm gives it under autocast."""
        ends_in_norm = self.parts.final_norm is None
        return x.float() if ends_in_norm and autocast_dtype(x.device) is not None else x

    def _whole(self, layer: Any, layout: Layout) -> Layer | None:
        known = self.parts.described(layer) if layout.together else None
        return known if known is not None and runs_whole(known, layout) else None

    def _note_attention(self, x: Tensor, layout: Layout, *, biased: bool) -> None:
        """Remember by which kernels a layout is attended to in training."""
        attention = self.parts.attention
        if not attention.training:
            return
        rate = dropout_rate(attention)
        dtype = autocast_dtype(x.device) or x.dtype
        kind = dtype, rate, biased, layout.together and layout.differ
        if kind not in self._named:
            shape = attention.num_heads, x.shape[-1] // attention.num_heads
            whole = not (biased or self.compiled)
            whole = whole and self._whole(self.parts.layers[0], layout) is not None
            self._named[kind] = name_of(
                layout, shape, dtype=dtype, biased=biased, dropout_rate=rate, whole=whole
            )
        self.attention.add(self._named[kind])

    def _read(self, kept: list[Tensor]) -> Tensor:
        """Return what the featurizer makes of one or several layers (N, H)."""
        if len(kept) == 1:
            return kept[0]
        return mixture(kept, self._featurizer.weights, normalize=self._featurizer.normalize)


def form_of(upstream: Any) -> type[Parts]:
    """Return which parts an upstream has."""
    if isinstance(upstream, TransformersUpstream) or hasattr(upstream.model, "feature_projection"):
        return HuggingFaceParts  # s3prl's wrappers hold a model of transformers, too
    return _FORMS.get(family_of(upstream).expert, FairseqParts)


def parts_of(upstream: Any) -> Parts:
    """Return the parts that are run of an upstream."""
    return form_of(upstream)(upstream)


def layers_read(featurizer: Any, parts: Parts) -> list[int] | None:
    """Return the numbers of the hidden states that the featurizer reads, in order."""
    selection, layer = featurizer.feature_selection, featurizer.layer_selection
    every = list(range(len(parts.layers) + parts.behind + 1))
    if selection == "hidden_states":
        return every if layer is None else [every[layer]]
    names = {"last_hidden_state": every[-1], **parts.names}
    names |= {f"hidden_state_{number}": number for number in every}
    return [names[selection]] if selection in names else None
