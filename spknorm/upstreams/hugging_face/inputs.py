"""What a model of transformers takes for waveforms: themselves, normalised or not, or log-mels.

Legend: b utterances of L samples each.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spknorm.batches.shipping import ship
from spknorm.errors import ConfigError

SAMPLE_RATE = 16_000
_TINY = 1.0e-7  # of Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm


class Waveforms:
    """Waveforms, each with mean 0 and variance 1 if the model was trained so.

    `epsilon` is added to the variance.
    """

    longest = math.inf

    def __init__(self, *, normalize: bool, epsilon: float = _TINY) -> None:
        self.normalize, self.epsilon = normalize, epsilon

    def normalized(self, wav: Tensor) -> Tensor:
        """Return a waveform (..., L) as the model takes it."""
        if not self.normalize:
            return wav
        centred = wav - wav.mean(dim=-1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + self.epsilon)

    def __call__(self, wavs: Sequence[Tensor], device: torch.device) -> dict[str, Tensor]:
        """Return the model's arguments on its device for b waveforms (L,) of one length."""
        return {"input_values": self.normalized(torch.stack(list(wavs)).to(device))}

    def preprocessor(self) -> dict[str, Any]:
        """Return preprocessor_config.json of an export."""
        return {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "do_normalize": self.normalize,
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
            "sampling_rate": SAMPLE_RATE,
            "normalize_epsilon": self.epsilon,
        }


class LogMels:
    """Log-mels, as the model's own feature extractor computes them on the CPU.

    `longest`: samples that the model takes at once.
    """

    normalize = False

    def __init__(self, extractor: Any, *, longest: float = math.inf) -> None:
        self._extractor, self.longest = extractor, longest

    def __call__(self, wavs: Sequence[Tensor], device: torch.device) -> dict[str, Tensor]:
        """Return the model's arguments on its device for b waveforms (L,) of one length."""
        arrays = [wav.detach().cpu().numpy() for wav in wavs]
        with torch.autocast("cpu", enabled=False):  # else its spectrum is of a type of no array
            given = self._extractor(arrays, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        # Whisper pads to 30 s and attends to all of it, as in its training.
        names = given if self.longest == math.inf else ["input_features"]
        return {name: ship([given[name]], device)[0] for name in names}

    def preprocessor(self) -> dict[str, Any]:
        """Return preprocessor_config.json of an export."""
        settings: dict[str, Any] = json.loads(self._extractor.to_json_string())
        return settings


def make_inputs(folder: Path, config: Any, main_input: str, *, source: str) -> Any:
    """Return `Waveforms` or `LogMels` for a model.

    Without preprocessor_config.json in the folder transformers' defaults count.

    Raises:
        ConfigError: The model takes something else, or another sampling rate.
    """
    if main_input not in ("input_values", "input_features"):
        raise ConfigError(
            f"{source} is a {config.model_type}, which takes {main_input}, not waveforms or "
            "log-mels: name a model of speech."
        )
    extractor = _extractor(folder, config)
    rate = getattr(extractor, "sampling_rate", SAMPLE_RATE)
    if str(rate) != str(SAMPLE_RATE):
        raise ConfigError(f"{source} takes {rate} Hz, but utterances are read at {SAMPLE_RATE} Hz.")
    if main_input == "input_values" and not hasattr(extractor, "num_mel_bins"):
        return Waveforms(
            normalize=bool(getattr(extractor, "do_normalize", True)),
            epsilon=float(getattr(extractor, "normalize_epsilon", _TINY)),
        )
    if extractor is None:
        raise ConfigError(
            f"{source} lacks preprocessor_config.json, which says how its log-mels are made."
        )
    whole = config.model_type == "whisper"
    return LogMels(extractor, longest=extractor.n_samples if whole else math.inf)


def _extractor(folder: Path, config: Any) -> Any:
    from transformers import (
        AutoFeatureExtractor,
        SeamlessM4TFeatureExtractor,
        WhisperFeatureExtractor,
    )

    files = ("preprocessor_config.json", "processor_config.json")
    if any((folder / name).is_file() for name in files):
        return AutoFeatureExtractor.from_pretrained(folder)
    if config.model_type == "whisper":
        return WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    if config.model_type == "wav2vec2-bert":
        return SeamlessM4TFeatureExtractor(num_mel_bins=config.feature_projection_input_dim // 2)
    return None
