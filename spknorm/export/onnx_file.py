"""Upstream, gate and emotion head of a run as one ONNX file: a waveform in, logits out.

The upstream is transformers' model of the run's family, into which the trained weights are put as
for its folder, or its own model where transformers has none; waveforms are normalised within the
graph. Its length is free, its batch is 1.

Legend: L samples, T frames, H upstream dimension, C emotions.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spknorm.errors import ConfigError
from spknorm.export.exportable import Exportable
from spknorm.export.transformers_folder import FAIRSEQ_EPSILON, build_model
from spknorm.files import atomic_path
from spknorm.runs.trained import Trained
from spknorm.upstreams.fast.packed import layers_read, parts_of
from spknorm.upstreams.mixture import mixture
from spknorm.upstreams.weights import first_line

ONNX_FILE = "model.onnx"
_SECONDS = 1.1  # of the example that is traced; none of it is left in the graph
_SAMPLE_RATE = 16_000
_OPSET = 18
_CHECKED = (0.5, 2.3)
"""Seconds at which the file's logits are compared with the model's."""


class EmotionModel(nn.Module):
    """What the file holds: (1, L) at 16 kHz -> logits (1, C)."""

    def __init__(self, exportable: Exportable) -> None:
        super().__init__()
        upstream: Any = exportable.trained.upstream
        self.epsilon = FAIRSEQ_EPSILON
        self.is_own = exportable.form is None
        if exportable.form is None:
            self.model: Any = upstream.model
        else:
            form = exportable.form()
            form.config._attn_implementation = "eager"  # its products are ONNX's
            self.model = build_model(form).eval()
            self.epsilon = float(form.preprocessor.get("normalize_epsilon", 1e-7))
        self.parts = parts_of(upstream)
        self.heads_of_upstream = getattr(self.parts.model, "output_layer", None)  # run by `parts`
        self.normalize = exportable.normalize
        self.featurizer: Any = exportable.trained.featurizer
        self.wanted = layers_read(self.featurizer, self.parts) or []
        self.heads: Any = exportable.trained.heads

    def forward(self, wav: Tensor) -> Tensor:
        """Return logits (1, C) of a waveform (1, L)."""
        if self.normalize:
            wav = wav - wav.mean(dim=-1, keepdim=True)
            wav = wav / torch.sqrt(wav.square().mean(dim=-1, keepdim=True) + self.epsilon)
        states = self._states(wav)
        kept = [states[number] for number in self.wanted]
        read, told = kept[0], self.featurizer
        if len(kept) > 1:  # as s3prl's Featurizer does
            read = mixture(kept, told.weights, normalize=told.normalize)
        projected = self.heads.projector(self.heads.gated(read))
        lengths = torch._shape_as_tensor(projected)[1:2]  # a part of the graph, as len() is not
        logits: Tensor = self.heads.model(projected, lengths)[0]
        return logits

    def _states(self, wav: Tensor) -> list[Tensor]:
        """Return all hidden states (1, T, H) as the featurizer counts them."""
        if self.is_own:
            states: list[Tensor] = self.model(wav)
            return states
        output = self.model(wav, output_hidden_states=True)
        hidden = [*output.hidden_states[:-1], output.last_hidden_state]
        if self.parts.behind:  # distilHuBERT's first is what its projection gives
            features = self.model.feature_extractor(wav).transpose(1, 2)
            hidden[0] = self.model.feature_projection(features)
            hidden += [head[None] for head in self.parts.heads(hidden[-1][0])]
        return hidden


def write_onnx(path: Path, exportable: Exportable) -> None:
    """Write the file, whole or not at all.

    Raises:
        ConfigError: onnx or onnxruntime is not installed, or a family or head that it cannot hold.
    """
    trained = exportable.trained
    if not exportable.family.runs_packed:
        raise ConfigError(
            f"ONNX holds upstreams of the wav2vec 2.0 kind, but {exportable.name} is "
            f"{exportable.family.title}."
        )
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "ONNX needs onnx and onnxruntime, which are not installed: pip install 'spknorm[onnx]'"
        ) from error
    whole = EmotionModel(exportable).eval()
    wav = torch.randn(1, int(_SECONDS * _SAMPLE_RATE))
    with atomic_path(path) as temporary, torch.no_grad():
        try:
            torch.onnx.export(
                whole,
                (wav,),
                str(temporary),
                input_names=["waveform"],
                output_names=["logits"],
                dynamic_axes={"waveform": {1: "samples"}},
                opset_version=_OPSET,
                dynamo=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ConfigError(
                f"ONNX cannot hold this run's model ({first_line(error)}). Export without --onnx."
            ) from error
        _check(whole, temporary, trained)


def _check(whole: EmotionModel, path: Path, trained: Trained) -> None:
    """Refuse a file with other logits at other lengths, as of a head that a trace cannot hold."""
    import onnxruntime

    generator = torch.Generator().manual_seed(0)
    session = None
    for seconds in _CHECKED:
        wav = 0.1 * torch.randn(1, int(seconds * _SAMPLE_RATE), generator=generator)
        try:
            session = session or onnxruntime.InferenceSession(path.read_bytes())
            found = torch.from_numpy(session.run(None, {"waveform": wav.numpy()})[0])
            same = torch.allclose(found, whole(wav), rtol=0, atol=1e-4)
        except Exception:  # onnxruntime's own kinds
            same = False
        if not same:
            model = trained.settings.downstream_expert.modelrc
            raise ConfigError(
                f"ONNX cannot hold this run's emotion head, {model.select} with "
                f"{dict(getattr(model, model.select, {}))}: at {seconds} s its logits are others. "
                "Export without --onnx."
            )
