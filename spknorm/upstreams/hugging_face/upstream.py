"""A model of transformers under s3prl's contract of an upstream.

Utterances go through it each by itself, or together with others of exactly their length, so that
no feature depends on padding; what comes out is padded only to be stacked.

Legend: B utterances of L_i samples and T_i frames, b of them of one length, H dimension.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from spknorm.compat.lengths import check_lengths
from spknorm.errors import CheckpointError, ConfigError
from spknorm.upstreams.hugging_face.folder import config_folder, fill, locate, read_weights
from spknorm.upstreams.hugging_face.inputs import SAMPLE_RATE, Waveforms, make_inputs

_FRAMES_EVERY = {"whisper": 320, "wav2vec2-bert": 320}
_DROPPED_LAYERS = ("layerdrop", "encoder_layerdrop")
_FROZEN = ("feature_extractor",)


class TransformersUpstream(nn.Module):
    """An upstream from a folder of transformers or a name of its hub.

    s3prl's own models mask nothing and drop no layers in training, and neither does this. The
    convolutional front end is frozen, as s3prl has it, until `feature_grad_mult` is set to 1.

    Args:
        source: Folder or name.

    Attributes:
        model: transformers' model, or the encoder of one that has a decoder.
        inputs: Makes its arguments.
        folder: Where its files are.

    Raises:
        MissingError: It is nowhere.
        CheckpointError: Weights are missing or damaged.
        ConfigError: It takes no speech, or gives no frames.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        from transformers import AutoConfig

        self.folder = locate(source)
        described = config_folder(self.folder)
        if not (described / "config.json").is_file():
            raise CheckpointError(
                f"{described} has no config.json, so that it is no folder of transformers."
            )
        config = AutoConfig.from_pretrained(described)
        for name in _DROPPED_LAYERS:
            if hasattr(config, name):
                setattr(config, name, 0.0)
        config.apply_spec_augment = False
        config.dtype = torch.float32
        self.model = _load(config, self.folder, source)
        self.inputs = make_inputs(
            described, config, self.model.main_input_name, source=f"hf:{source}"
        )
        self.frames_every = self._rate(config, source)
        self.gate: nn.Module | None = None  # see upstream_adapters/hugging_face
        self.feature_grad_mult = 0.0

    @property
    def feature_grad_mult(self) -> float:
        """1 where the convolutional front end is trained, else 0: as s3prl's models call it."""
        return float(any(p.requires_grad for part in self._front() for p in part.parameters()))

    @feature_grad_mult.setter
    def feature_grad_mult(self, value: float) -> None:
        for part in self._front():
            part.requires_grad_(value > 0)
            if hasattr(part, "_requires_grad"):
                part._requires_grad = value > 0  # type: ignore[assignment]  # its inputs'

    def get_downsample_rates(self, key: str = "") -> int:
        """Return samples per frame, of every layer."""
        return self.frames_every

    @check_lengths
    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """Return the hidden states of B waveforms (L_i,) at 16 kHz.

        Returns:
            `hidden_states`, a tuple of (B, T, H), zeros behind each utterance; each also as
            `hidden_state_N`, and the last as `last_hidden_state`.
        """
        states: dict[int, list[Tensor]] = {}
        order = sorted(range(len(wavs)), key=lambda index: len(wavs[index]))
        for _, same in itertools.groupby(order, key=lambda index: len(wavs[index])):
            members = list(same)
            layers = self._states([wavs[index] for index in members])
            for place, index in enumerate(members):
                states[index] = [layer[place] for layer in layers]
        rows = zip(*(states[index] for index in range(len(wavs))), strict=True)
        hidden = tuple(pad_sequence(list(row), batch_first=True) for row in rows)
        numbered = {f"hidden_state_{number}": layer for number, layer in enumerate(hidden)}
        return {"hidden_states": hidden, "last_hidden_state": hidden[-1], **numbered}

    def _states(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return every layer (b, T, H) of b waveforms of one length."""
        length, longest = len(wavs[0]), self.inputs.longest
        if longest == math.inf:
            return self._layers(self.inputs(wavs))
        pieces = []
        for start in range(0, length, int(longest)):
            piece = [wav[start : start + int(longest)] for wav in wavs]
            frames = math.ceil(len(piece[0]) / self.frames_every)
            pieces.append([layer[:, :frames] for layer in self._layers(self.inputs(piece))])
        return [torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True)]

    def _layers(self, arguments: dict[str, Tensor]) -> list[Tensor]:
        output = self.model(**arguments, output_hidden_states=True)
        hidden, last = list(output.hidden_states), output.last_hidden_state
        if hidden[-1].shape == last.shape:
            hidden[-1] = last  # behind the final norm, as in s3prl
            return hidden
        # Layers between pooling and upsampling: each frame counts as often as it stands for.
        return [*(_stretched(layer, last.shape[1]) for layer in hidden), last]

    def _rate(self, config: Any, source: str) -> int:
        if not getattr(config, "add_adapter", False):
            if isinstance(self.inputs, Waveforms) and hasattr(config, "inputs_to_logits_ratio"):
                return int(config.inputs_to_logits_ratio)
            if config.model_type in _FRAMES_EVERY:
                return _FRAMES_EVERY[config.model_type]
        self.model.eval()
        with torch.no_grad():
            one, two = (
                self._layers(self.inputs([torch.zeros(seconds * SAMPLE_RATE)]))[-1].shape[1]
                for seconds in (1, 3)
            )
        if two <= one:
            raise ConfigError(
                f"hf:{source} gives {one} vectors for one second and {two} for three: no frames, "
                "so that it cannot be an upstream."
            )
        return round(2 * SAMPLE_RATE / (two - one))

    def _front(self) -> list[nn.Module]:
        return [part for name in _FROZEN if (part := getattr(self.model, name, None)) is not None]


def _load(config: Any, folder: Path, source: str) -> Any:
    """Return the model with its weights."""
    from transformers import AutoModel

    model, weights = _empty(config, source), read_weights(folder)
    try:
        fill(model, weights, source=f"hf:{source}")
    except CheckpointError:
        if config.is_encoder_decoder or not (folder / "config.json").is_file():
            raise
        # transformers saves some models under other names than their own.
        model, found = AutoModel.from_pretrained(folder, config=config, output_loading_info=True)
        if found["missing_keys"]:
            raise
    return model


def _empty(config: Any, source: str) -> Any:
    """Return the model that a configuration describes, without its weights."""
    from transformers import AutoModel
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    if config.model_type == "whisper":  # without the decoder, which may be the larger half
        return WhisperEncoder(config)
    try:
        model = AutoModel.from_config(config)
    except ValueError as error:
        raise ConfigError(
            f"hf:{source} is a {config.model_type}, which has no model of its own."
        ) from error
    return model.get_encoder() if config.is_encoder_decoder else model


def _stretched(layer: Tensor, frames: int) -> Tensor:
    """Return a layer (b, t, H) with each frame repeated, (b, T, H)."""
    times = math.ceil(frames / layer.shape[1])
    return layer.repeat_interleave(times, dim=1)[:, :frames]
