"""The demo's upstream as the controlled benchmark uses it: pooled when frozen, whole when trained.

Used by `pool.py` and `finetuning.py`.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm import registry
from spknorm.demo.synthesis import FloatArray


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
    """Return (B, 2 H): mean and deviation over time of the sum of all layers, each normalised."""
    wavs = [torch.from_numpy(wave).float() for wave in waves]
    layers = torch.stack(upstream(wavs)["hidden_states"])  # (layers, B, T, H)
    summed = functional.layer_norm(layers, layers.shape[-1:]).mean(0)  # (B, T, H)
    return mean_and_deviation(summed).numpy()


def mean_and_deviation(frames: Tensor) -> Tensor:
    """Pool (B, T, H) to (B, 2 H)."""
    return torch.cat([frames.mean(1), frames.std(1)], dim=-1)
