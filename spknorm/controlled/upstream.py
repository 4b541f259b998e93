"""The demo's upstream as the controlled benchmark uses it: pooled when frozen, whole when trained.

Used by `pool.py` and `finetuning.py`. The convolutional front end stays frozen, as s3prl has it, so
that fine-tuning computes its output once.

Legend: B utterances, T frames, H dimensions of a frame, D = 2 H of a pooled utterance.
"""

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm import registry
from spknorm.demo.synthesis import FloatArray
from spknorm.probe.erasure import Eraser, fit_leace

_BLOCK = 160


def load_upstream(checkpoint: Path | None = None) -> Any:
    """Return s3prl's expert on a checkpoint, the embedded one by default, in evaluation mode."""
    registry.register()
    hubconf = importlib.import_module("s3prl.upstream.demo_hubert.hubconf")
    return hubconf.spknorm_demo_hubert(checkpoint and str(checkpoint)).eval()


def load_encoder() -> Any:
    """Return the transformer of the embedded checkpoint, without the hooks of s3prl's expert."""
    upstream = load_upstream()
    upstream.remove_all_hooks()
    return upstream.model.encoder


@torch.no_grad()
def pool_layers(upstream: nn.Module, waves: Sequence[FloatArray]) -> npt.NDArray[np.float32]:
    """Return (B, D): mean and deviation over time of the sum of all layers, each normalised."""
    wavs = [torch.from_numpy(wave).float() for wave in waves]
    return _pooled(upstream(wavs)["hidden_states"]).numpy()


@torch.no_grad()
def front_end(upstream: Any, waves: Iterable[FloatArray]) -> Tensor:
    """Return the output (N, T, H) of the frozen convolutions, normalised, for waves (L,)."""
    model = upstream.model
    rows = torch.stack([torch.from_numpy(wave).float() for wave in waves])
    outputs = (model.forward_features(block).transpose(1, 2) for block in torch.split(rows, _BLOCK))
    return torch.cat([*map(model.layer_norm, outputs)])


class View:
    """What the heads see of an utterance: pooled, standardised, and erased where that was asked."""

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self.scale: tuple[Tensor, Tensor] | None = None  # mean and deviation (D,)
        self.eraser: Eraser | None = None

    def __call__(self, frames: Tensor) -> Tensor:
        """Return (B, D) of the front end's (B, T, H)."""
        pooled = _pooled(_hidden_states(self.encoder, frames))
        if self.scale is not None:
            pooled = (pooled - self.scale[0]) / self.scale[1]
        if self.eraser is not None:
            mean, matrix = (torch.from_numpy(one).float() for one in self.eraser[:2])
            pooled = pooled - (pooled - mean) @ matrix
        return pooled

    @torch.no_grad()
    def of_all(self, frames: Tensor) -> npt.NDArray[np.float32]:
        """Return (N, D) of (N, T, H), without a graph."""
        return torch.cat([self(block) for block in torch.split(frames, _BLOCK)]).numpy()

    def erase(self, frames: Tensor, speaker: npt.NDArray[np.int64], rank: int) -> None:
        """Fit the eraser of the `rank` strongest directions of the speaker, on (N, T, H)."""
        self.eraser = None
        self.eraser = fit_leace(self.of_all(frames), speaker, rank=rank)


def _hidden_states(encoder: Any, frames: Tensor) -> list[Tensor]:
    """Return what s3prl's expert has hooks for, each (B, T, H)."""
    first: list[Tensor] = []
    hook = encoder.layers[0].register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
    try:
        last, layers = encoder(frames.clone(), padding_mask=None)
    finally:
        hook.remove()
    inner = [first[0], *(layer[0] for layer in layers[:-1])]  # (T, B, H)
    return [*(hidden.transpose(0, 1) for hidden in inner), last]


def _pooled(hidden: Sequence[Tensor]) -> Tensor:
    """Pool layers, each (B, T, H), to (B, D)."""
    normalised = [functional.layer_norm(one, one.shape[-1:]) for one in hidden]
    summed = torch.stack(normalised).mean(0)
    return torch.cat([summed.mean(1), summed.std(1)], dim=-1)
