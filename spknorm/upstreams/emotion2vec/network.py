"""emotion2vec's network, built of funasr's modules, and its hidden states.

It is data2vec 2.0's of audio: convolutions, positions by convolutions, tokens before the frames,
and layers whose attention is biased by how far two frames are from each other (ALiBi). What only
pre-training needs, the decoder, and a head of emotions are left out.

Legend: b utterances of L samples and T frames, E tokens, M = E + T, H dimension.
"""

import functools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.compat.expressions import read_conv_layers
from spknorm.errors import CheckpointError, ConfigError


class Network(nn.Module):
    """The network; names of weights are funasr's.

    `settings` are `model_conf` of config.yaml, `package` is funasr's with its modules.

    Raises:
        CheckpointError: Settings that are missing or make no network.
        ConfigError: A build that emotion2vec does not have.
    """

    slopes: Tensor

    def __init__(self, settings: Mapping[str, Any], package: Any, *, source: str) -> None:
        super().__init__()
        try:
            audio = SimpleNamespace(**{**settings["modalities"]["audio"], "decoder": None})
            # funasr evaluates the text: it gets one of numbers alone.
            audio.feature_encoder_spec = repr(read_conv_layers(audio.feature_encoder_spec))
            audio.prenet_layerdrop = 0.0  # s3prl's own models drop no layers either
            if audio.use_alibi_encoder and audio.learned_alibi:
                raise ConfigError(f"{source} learns its ALiBi (learned_alibi), as no emotion2vec.")
            self._build(settings, audio, package)
        except (KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(
                f"{source} has a config.yaml whose model_conf builds no emotion2vec "
                f"({type(error).__name__}: {error})."
            ) from error

    def _build(self, given: Mapping[str, Any], audio: Any, package: Any) -> None:
        dim, heads, first = given["embed_dim"], given["num_heads"], bool(given["layer_norm_first"])
        norm = functools.partial(
            nn.LayerNorm, eps=given["norm_eps"], elementwise_affine=given["norm_affine"]
        )

        def block(drop_path: float) -> nn.Module:
            made: nn.Module = package.modules.AltBlock(
                dim,
                heads,
                given["mlp_ratio"],
                qkv_bias=True,
                drop=given["encoder_dropout"],
                attn_drop=given["attention_dropout"],
                mlp_drop=given["activation_dropout"],
                post_mlp_drop=given["post_mlp_drop"],
                drop_path=drop_path,
                norm_layer=norm,
                layer_norm_first=first,
                ffn_targets=not given["end_of_block_targets"],
            )
            return made

        encoder = package.audio.AudioEncoder(audio, dim, block, norm, first, {})
        self.modality_encoders = nn.ModuleDict({"AUDIO": encoder})
        steps = torch.linspace(
            given["start_drop_path_rate"], given["end_drop_path_rate"], given["depth"]
        )
        self.dropout_input = nn.Dropout(given["dropout_input"])
        self.blocks = nn.ModuleList([block(float(step)) for step in steps])
        self.norm = norm(dim) if first else None
        slopes = torch.zeros(0)
        if audio.use_alibi_encoder:
            slopes = -package.base.get_alibi(2, audio.num_alibi_heads)[:, 0, 1]
        self._num_heads = heads
        self.register_buffer("slopes", slopes, persistent=False)

    @property
    def audio(self) -> Any:
        """All before `blocks`."""
        return self.modality_encoders["AUDIO"]

    @property
    def feature_extractor(self) -> Any:
        """The convolutions, (b, L) -> (b, C, T)."""
        return self.audio.local_encoder

    @property
    def layers(self) -> list[nn.Module]:
        """All layers: those of `audio` and `blocks`."""
        return [*self.audio.context_encoder.blocks, *self.blocks]

    @property
    def num_tokens(self) -> int:
        """E."""
        tokens = self.audio.extra_tokens
        return 0 if tokens is None else int(tokens.shape[1])

    @property
    def scale(self) -> Tensor | None:
        """How much of ALiBi counts: (layers or 1, heads or 1, 1, 1)."""
        scale = self.audio.alibi_scale
        return None if scale is None else scale.clamp_min(0)[:, 0]

    def bias(self, longest: int, layer: int = 0) -> Tensor | None:
        """Return what a layer adds for each two of `longest` tokens and frames, (heads, M, M)."""
        if (scale := self.scale) is None:
            return None
        places = torch.arange(longest - self.num_tokens, device=scale.device)
        distances = (places[None] - places[:, None]).abs()
        own = scale[layer if len(scale) > 1 else 0]  # (heads or 1, 1, 1)
        bias = self.slopes[:, None, None] * -distances * own
        without = self._num_heads - len(bias)  # the last heads have no bias
        return functional.pad(bias, (self.num_tokens, 0, self.num_tokens, 0, 0, without))

    def begin(self, x: Tensor) -> Tensor:
        """Return the first layer's input of tokens and frames (..., H)."""
        encoder = self.audio.context_encoder
        if encoder.norm is not None:
            x = encoder.norm(x)
        return functional.dropout(x, encoder.dropout.p, self.training)

    def forward(self, wavs: Tensor) -> list[Tensor]:
        """Return every hidden state (b, T, H) of waveforms (b, L)."""
        x = self.audio.project_features(self.feature_extractor(wavs))  # (b, C, T) -> (b, T, H)
        x = x + self.audio.relative_positional_encoder(x)
        if (tokens := self.audio.extra_tokens) is not None:
            x = torch.cat([tokens.expand(len(x), -1, -1), x], dim=1)
        x = self.begin(x)
        states, first = [x], len(self.audio.context_encoder.blocks)
        for number, layer in enumerate(self.layers):
            bias = self.bias(x.shape[1], number)
            given = self.dropout_input(x) if number == first else x
            x, _ = layer(given, None, None if bias is None else bias[None])
            states.append(x)
        if self.norm is not None:
            states[-1] = self.norm(x)
        return [state[:, self.num_tokens :] for state in states]
