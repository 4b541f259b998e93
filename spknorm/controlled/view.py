"""The demo's transformer as fine-tuned models use it: from the front end's output to pooled rows.

Between `upstream.py` and `finetuning.py`. The convolutional front end stays frozen, as s3prl has
it, so its output is computed once.

Legend: B utterances, T frames, H dimensions of a frame, D = 2 H of a pooled utterance.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.upstream import mean_and_deviation
from spknorm.demo.synthesis import FloatArray
from spknorm.probe.erasure import Eraser, fit_leace

_BLOCK = 160


class View:
    """What the heads see of an utterance: pooled, standardised, and erased where that was asked.

    Args:
        encoder: The transformer.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self.scale: tuple[Tensor, Tensor] | None = None  # mean and deviation (D,)
        self.eraser: Eraser | None = None

    def __call__(self, frames: Tensor) -> Tensor:
        """Return (B, D) of (B, T, H)."""
        pooled = _pooled(self.encoder, frames)
        if self.scale is not None:
            pooled = (pooled - self.scale[0]) / self.scale[1]
        if self.eraser is not None:
            mean, matrix = (torch.from_numpy(one).float() for one in self.eraser[:2])
            pooled = pooled - (pooled - mean) @ matrix
        return pooled

    @torch.no_grad()
    def of_all(self, frames: Tensor) -> Floats:
        """Return (N, D) of (N, T, H), without a graph."""
        pooled: Floats = torch.cat([self(block) for block in torch.split(frames, _BLOCK)]).numpy()
        return pooled

    def erase(self, frames: Tensor, speaker: Integers, rank: int) -> None:
        """Fit the eraser of the `rank` strongest directions of the speaker, on (N, T, H)."""
        self.eraser = None
        self.eraser = fit_leace(self.of_all(frames), speaker, rank=rank)


@torch.no_grad()
def front_end(upstream: Any, waves: Iterable[FloatArray]) -> Tensor:
    """Return the output (N, T, H) of the frozen convolutions, normalised, for waves (L,)."""
    model = upstream.model
    rows = torch.stack([torch.from_numpy(wave).float() for wave in waves])
    parts = [
        model.layer_norm(model.forward_features(block).transpose(1, 2))
        for block in torch.split(rows, _BLOCK)
    ]
    return torch.cat(parts)


def _pooled(encoder: Any, frames: Tensor) -> Tensor:
    """Return (B, 2 H): the pooled sum of all hidden states, which are those of s3prl's expert."""
    first: list[Tensor] = []
    hook = encoder.layers[0].register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
    try:
        last, layers = encoder(frames.clone(), padding_mask=None)
    finally:
        hook.remove()
    hidden = [first[0].transpose(0, 1)]  # (T, B, H) -> (B, T, H)
    hidden += [layer[0].transpose(0, 1) for layer in layers[:-1]] + [last]
    normalised = [functional.layer_norm(one, one.shape[-1:]) for one in hidden]
    return mean_and_deviation(torch.stack(normalised).mean(0))
