"""A model of transformers under s3prl's contract of an upstream.

Legend: L samples, T frames, b utterances of one length, H dimension.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spknorm.compat.lengths import MIN_SAMPLES
from spknorm.errors import ConfigError, is_out_of_memory
from spknorm.upstreams.alone import AloneUpstream, lengthened, needed_samples
from spknorm.upstreams.hugging_face.folder import (
    MissingWeightsError,
    config_folder,
    fill,
    locate,
    read_weights,
)
from spknorm.upstreams.hugging_face.inputs import SAMPLE_RATE, Waveforms, make_inputs
from spknorm.upstreams.hugging_face.settings import empty_model, read_settings
from spknorm.upstreams.weights import first_line

_FRAMES_EVERY = {"whisper": 320, "wav2vec2-bert": 320}


class TransformersUpstream(AloneUpstream):
    """An upstream from a folder of transformers or a name of its hub.

    s3prl's own models mask nothing and drop no layers in training, and neither does this. Heads,
    and adapters behind the encoder that leave a frame in eight, are left out.

    Attributes:
        model: transformers' model, or the encoder of one that has a decoder.
        inputs: Makes its arguments.
        folder: Where its files are.
        shortest: Samples that it needs; what has fewer gets zeros behind it.

    Raises:
        MissingError: It is nowhere.
        CheckpointError: Weights are missing or damaged.
        ConfigError: It takes no speech, or gives no frames.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.folder = locate(source)
        described = config_folder(self.folder)
        config = read_settings(described, source=f"hf:{source}")
        self.model = _load(config, self.folder, source)
        self.inputs = make_inputs(
            described, config, self.model.main_input_name, source=f"hf:{source}"
        )
        self.reads_on_host = not isinstance(self.inputs, Waveforms)
        self.frames_every = self._rate(config, source)
        self.shortest = self._shortest()
        self.feature_grad_mult = 0.0

    def front_end_parts(self) -> list[nn.Module]:
        """Return the convolutions, if the model has any."""
        part = getattr(self.model, "feature_extractor", None)
        return [] if part is None else [part]

    def states(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return every layer (b, T, H) of b waveforms of one length."""
        length, longest = len(wavs[0]), self.inputs.longest
        if longest == math.inf:
            return self._layers([lengthened(wav, self.shortest) for wav in wavs])
        pieces = []
        for start in range(0, length, int(longest)):
            piece = [wav[start : start + int(longest)] for wav in wavs]
            frames = math.ceil(len(piece[0]) / self.frames_every)
            pieces.append([layer[:, :frames] for layer in self._layers(piece)])
        return [torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True)]

    def _layers(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        arguments = self.inputs(wavs, self.model.device)
        output = self.model(**arguments, output_hidden_states=True)
        hidden, last = list(output.hidden_states), output.last_hidden_state
        if hidden[-1].shape == last.shape:
            hidden[-1] = last  # behind the final norm, as in s3prl
            return hidden
        # Layers between pooling and upsampling: each frame counts as often as it stands for.
        frames = last.shape[1]
        times = [math.ceil(frames / layer.shape[1]) for layer in hidden]
        pairs = zip(hidden, times, strict=True)
        return [*(one.repeat_interleave(n, dim=1)[:, :frames] for one, n in pairs), last]

    def _rate(self, config: Any, source: str) -> int:
        """Return samples per frame, as config.json or the frames of two lengths tell it."""
        known = _FRAMES_EVERY.get(config.model_type, 0)
        if isinstance(self.inputs, Waveforms) and config.model_type != "speecht5":
            known = known or int(getattr(config, "inputs_to_logits_ratio", 0))
        self.model.eval()
        try:
            with torch.no_grad():
                one, *others = (
                    self._layers([torch.zeros(seconds * SAMPLE_RATE)])[-1].shape[1]
                    for seconds in ((1,) if known else (1, 9))
                )
        except Exception as error:  # each model fails in its own way
            if is_out_of_memory(error):
                raise
            raise ConfigError(
                f"hf:{source} is a {config.model_type}, which gives no hidden states of waveforms "
                f"or log-mels alone ({first_line(error)}): it cannot be an upstream."
            ) from error
        if known:
            return known
        (two,) = others
        if two <= one:
            raise ConfigError(
                f"hf:{source} gives {one} vectors for one second and {two} for nine: no frames, "
                "so that it cannot be an upstream."
            )
        return round(8 * SAMPLE_RATE / (two - one))

    def _shortest(self) -> int:
        if self.inputs.longest != math.inf:  # it gets zeros up to that anyway
            return 0
        samples = max([MIN_SAMPLES, *map(needed_samples, self.front_end_parts())])
        while samples < SAMPLE_RATE:  # which has been tried
            try:
                with torch.no_grad():
                    self._layers([torch.zeros(samples)])
            except Exception:  # each model fails in its own way
                samples *= 2
            else:
                break
        return samples


def _load(config: Any, folder: Path, source: str) -> Any:
    """Return the model with its weights."""
    from transformers import AutoModel

    model, weights = empty_model(config, source=f"hf:{source}"), read_weights(folder)
    try:
        fill(model, weights, source=f"hf:{source}")
    except MissingWeightsError:
        if config.is_encoder_decoder or not (folder / "config.json").is_file():
            raise
        # transformers saves some models under other names than their own.
        with _quiet():
            model, found = AutoModel.from_pretrained(
                folder, config=config, output_loading_info=True, trust_remote_code=False
            )
        if found["missing_keys"]:
            raise
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and its table of what is missing to itself: an error says it."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
