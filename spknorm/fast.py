"""s3prl's wav2vec 2.0 encoders without padding: the same parameters and the same maths, less work.

Between the upstream and the heads, wherever an upstream of this type is run for training. s3prl
pads a batch to its longest utterance, and HuBERT Base's first layer normalises over time, so there
an utterance's features depend on its neighbours. Here each utterance passes the convolutions and
attention alone, and everything that works frame by frame runs on all frames of the batch end to
end: what comes out is what `featurizer(wavs, upstream(wavs))` gives for each utterance by itself.

Nothing of the upstream is changed: its modules are called in another order. Hidden states that the
featurizer does not read are not kept.

Legend: B utterances of T_i frames, N = sum of T_i, C front end's and H upstream's dimension.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from spknorm.schema import UpstreamConfig

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
        reason = why_not(upstream, featurizer)
        if reason is None:
            return PackedEncoder(upstream, featurizer, config, trainable=trainable)
        logger.info("The upstream runs as s3prl runs it, with padding: %s.", reason)

    def encode(wavs: Sequence[Tensor]) -> list[Tensor]:
        with torch.set_grad_enabled(trainable and torch.is_grad_enabled()):
            hidden = upstream(list(wavs))
        return list(featurizer(wavs, hidden))

    return encode


def why_not(upstream: nn.Module, featurizer: Any) -> str | None:
    """Return why the upstream cannot run without padding, or None if it can."""
    from s3prl.upstream.hubert.expert import UpstreamExpert as Hubert
    from s3prl.upstream.wav2vec2 import wav2vec2_model as fairseq
    from s3prl.upstream.wav2vec2.expert import UpstreamExpert as Wav2Vec2

    if getattr(type(upstream), "forward", None) not in (Hubert.forward, Wav2Vec2.forward):
        return f"{type(upstream).__module__} is not s3prl's HuBERT or wav2vec 2.0"
    assert isinstance(upstream, nn.Module)
    model: Any = upstream.model
    if type(model.encoder) is not fairseq.TransformerEncoder or model.encoder.layerdrop > 0:
        return "its encoder is not a plain transformer without layerdrop"
    if any(type(layer) is not fairseq.TransformerSentenceEncoderLayer for layer in _layers(model)):
        return "its layers are not plain transformer layers"
    if getattr(model, "input_quantizer", None) or getattr(model, "crop_seq_to_multiple", 1) > 1:
        return "it quantises or crops its input"
    if len(upstream.hooks) != len(_layers(model)) + 1:  # type: ignore[arg-type]  # a list
        return "its hidden states are not those of its layers"
    if _wanted(featurizer, len(_layers(model))) is None:
        return f"`{featurizer.feature_selection}` is not one of its hidden states"
    return None


class PackedEncoder:
    """Runs a HuBERT or wav2vec 2.0 of s3prl over utterances without padding.

    Args:
        upstream: s3prl's expert, of which `why_not` says None.
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
        self._trainable = trainable
        self._model: Any = upstream.model
        self._featurizer = featurizer
        task = getattr(upstream, "task_cfg", None)
        self.normalize = task.normalize if task else upstream.wav_normalize
        wanted = _wanted(featurizer, len(_layers(self._model)))
        assert wanted is not None
        self._wanted = wanted
        self._recompute = config.checkpoint_activations
        self._layer: Callable[..., Tensor] = _run_layer
        if config.compile:
            self._layer = torch.compile(_run_layer, dynamic=True)

    def __call__(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return features (T_i, H) of waveforms (L_i,) at 16 kHz."""
        return self.transform([self.front_end(wav) for wav in wavs])

    def front_end(self, wav: Tensor) -> Tensor:
        """Return what the convolutions make of a waveform, (L,) -> (T, C)."""
        if self.normalize:
            wav = functional.layer_norm(wav, wav.shape)
        model = self._model
        with torch.set_grad_enabled(torch.is_grad_enabled() and model.feature_grad_mult > 0):
            features: Tensor = model.feature_extractor(wav.unsqueeze(0))
        if model.feature_grad_mult not in (0.0, 1.0) and features.requires_grad:
            features = _scale_gradient(features, model.feature_grad_mult)
        return features.squeeze(0).transpose(0, 1)  # (1, C, T) -> (T, C)

    def transform(self, front_ends: Sequence[Tensor]) -> list[Tensor]:
        """Return features (T_i, H) of the convolutions' outputs (T_i, C)."""
        lengths = [len(frames) for frames in front_ends]
        with torch.set_grad_enabled(self._trainable and torch.is_grad_enabled()):
            kept = self._hidden_states(torch.cat(list(front_ends)), lengths)
        return list(torch.split(self._read(kept), lengths))

    def _hidden_states(self, x: Tensor, lengths: list[int]) -> list[Tensor]:
        """Return the hidden states (N, H) that the featurizer reads, of (N, C)."""
        model, encoder = self._model, self._model.encoder
        x = model.layer_norm(x)
        if model.post_extract_proj is not None:
            x = model.post_extract_proj(x)  # (N, C) -> (N, H)
        x = _drop(model.dropout_input, x)
        if encoder.pos_conv is not None:
            x = x + _positions(encoder.pos_conv, x, lengths)
        if not encoder.layer_norm_first:
            x = encoder.layer_norm(x)
        x = dropout(x, encoder.dropout if encoder.training else 0.0)
        kept = [x] if 0 in self._wanted else []
        last = max(self._wanted)
        layers = _layers(model)
        for number, layer in enumerate(layers[:last], start=1):
            if self._recompute and torch.is_grad_enabled():
                x = checkpoint(self._layer, layer, x, lengths, use_reentrant=False)
            else:
                x = self._layer(layer, x, lengths)
            if number == len(layers) and encoder.layer_norm_first:
                x = encoder.layer_norm(x)
            if number in self._wanted:
                kept.append(x)
        return kept

    def _read(self, kept: list[Tensor]) -> Tensor:
        """Return what the featurizer makes of one or several layers (N, H)."""
        if len(kept) == 1:
            return kept[0]
        stacked = torch.stack(kept)  # (L, N, H)
        if self._featurizer.normalize:
            stacked = functional.layer_norm(stacked, stacked.shape[-1:])
        weights: Tensor = self._featurizer.weights.softmax(dim=-1)
        return (weights[:, None, None] * stacked).sum(dim=0)


def _run_layer(layer: Any, x: Tensor, lengths: list[int]) -> Tensor:
    """Do what fairseq's TransformerSentenceEncoderLayer does, on (N, H)."""
    if layer.layer_norm_first:
        mixed = _attend(layer.self_attn, layer.self_attn_layer_norm(x), lengths)
        x = x + _drop(layer.dropout1, mixed)
        return x + _drop(layer.dropout3, _feed_forward(layer, layer.final_layer_norm(x)))
    mixed = _attend(layer.self_attn, x, lengths)
    x = layer.self_attn_layer_norm(x + _drop(layer.dropout1, mixed))
    normal: Tensor = layer.final_layer_norm(x + _drop(layer.dropout3, _feed_forward(layer, x)))
    return normal


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    hidden = layer.fc1(x)
    if layer.activation_fn.__name__ == "gelu":  # fairseq's goes through float32, as this does
        hidden = functional.gelu(hidden)
    else:
        hidden = layer.activation_fn(hidden)
    projected: Tensor = layer.fc2(_drop(layer.dropout2, hidden))
    return projected


def _attend(attention: Any, x: Tensor, lengths: list[int]) -> Tensor:
    """Self-attention of each utterance to itself, (N, H) -> (N, H)."""
    shape = (len(x), attention.num_heads, attention.head_dim)
    queries, keys, values = (
        project(x).view(shape).transpose(0, 1).split(lengths, dim=1)  # B x (heads, T_i, H / heads)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    rate = attention.dropout_module.p if attention.training else 0.0
    mixed = [
        _attention(q, k, v, dropout_rate=rate)
        for q, k, v in zip(queries, keys, values, strict=True)
    ]
    joined = torch.cat(mixed, dim=1).transpose(0, 1).reshape(len(x), -1)  # (N, H)
    projected: Tensor = attention.out_proj(joined)
    return projected


def _attention(q: Tensor, k: Tensor, v: Tensor, *, dropout_rate: float) -> Tensor:
    """Return attention of one utterance's heads, each (heads, T, H / heads)."""
    if dropout_rate == 0 or q.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.scaled_dot_product_attention(
            q[None], k[None], v[None], dropout_p=dropout_rate
        )[0]
    # On the CPU dropout keeps torch from fusing attention, and costs more than the rest of it.
    weights = torch.baddbmm(
        q.new_zeros(()), q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5
    ).softmax(dim=-1)
    return torch.bmm(dropout(weights, dropout_rate), v)


def _positions(convolution: Any, x: Tensor, lengths: list[int]) -> Tensor:
    """Return the positional convolution of each utterance, (N, H) -> (N, H)."""
    inputs = [part.T.unsqueeze(0) for part in x.split(lengths)]  # type: ignore[no-untyped-call]
    first = convolution[0]
    if isinstance(first, nn.Conv1d):  # its weight is normalised: once, not for each utterance
        for prepare in first._forward_pre_hooks.values():
            prepare(first, ())
        weight, bias = first.weight, first.bias
        inputs = [first._conv_forward(part, weight, bias) for part in inputs]
        convolution = convolution[1:]
    return torch.cat([convolution(part).squeeze(0).T for part in inputs])


def dropout(x: Tensor, rate: float) -> Tensor:
    """Return x with each element zeroed with probability `rate`, the others divided by 1 - rate.

    On the CPU torch draws one number after the other, which takes a tenth of a training step; here
    16 bits per element come from numpy's SFC64, seeded from torch's generator, so that a seed of
    torch fixes them, too. `rate` is thereby rounded to a multiple of 2 ** -16.
    """
    if rate == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.dropout(x, p=rate, training=rate > 0)
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.Generator(np.random.SFC64(seed)).integers(
        0, 2**64 - 1, (x.numel() + 3) // 4, dtype=np.uint64, endpoint=True
    )
    bits = torch.from_numpy(words.view(np.int16)[: x.numel()]).view(x.shape)
    kept = bits >= round(rate * 65536) - 32768
    return x * (kept.to(x.dtype) * (1.0 / (1.0 - rate)))


def _drop(module: nn.Dropout, x: Tensor) -> Tensor:
    return dropout(x, module.p if module.training else 0.0)


def _scale_gradient(features: Tensor, factor: float) -> Tensor:
    return features * factor + (features * (1.0 - factor)).detach()


def _layers(model: Any) -> nn.ModuleList:
    return model.encoder.layers  # type: ignore[no-any-return]


def _wanted(featurizer: Any, num_layers: int) -> list[int] | None:
    """Return the numbers of the hidden states that the featurizer reads, 0 ... num_layers."""
    selection, layer = featurizer.feature_selection, featurizer.layer_selection
    if selection == "hidden_states":
        every = list(range(num_layers + 1))
        return every if layer is None else [every[layer]]
    names = {"last_hidden_state": num_layers}
    names |= {f"hidden_state_{number}": number for number in range(num_layers + 1)}
    return [names[selection]] if selection in names else None
