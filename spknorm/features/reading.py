"""What is read off an upstream's output, in the words of s3prl's Featurizer.

Legend: B utterances of one length, T frames, L layers, H upstream dimension.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spknorm.errors import ConfigError


class Reading(NamedTuple):
    """What is read off an upstream's output, in the words of s3prl's Featurizer.

    Attributes:
        selection: Key of the output: hidden_states, last_hidden_state, ...
        layer: Index into a list of layers; None for all of them.
        normalize: Layer-normalise each of several layers.
        rate: Samples per frame.
        pooled: Keep the mean over time instead of the frames.
    """

    selection: str
    layer: int | None
    normalize: bool
    rate: int
    pooled: bool

    @classmethod
    def of(cls, featurizer: Any, *, pooled: bool) -> "Reading":
        """Return what s3prl's `featurizer` reads."""
        return cls(
            selection=featurizer.feature_selection,
            layer=featurizer.layer_selection,
            normalize=featurizer.normalize,
            rate=featurizer.downsample_rate,
            pooled=pooled,
        )

    def __call__(self, output: dict[str, Any], num_samples: int) -> Tensor:
        """Return (B, T or 1, L, H) of what the upstream said of B utterances of one length."""
        chosen = output.get(self.selection)
        if chosen is None:
            known = ", ".join(key for key in output if not key.startswith("_"))
            raise ConfigError(f"This upstream has no `{self.selection}` (-s); it has {known}.")
        if isinstance(chosen, dict):
            chosen = list(chosen.values())
        if isinstance(chosen, (list, tuple)) and self.layer is not None and len(chosen) > 1:
            chosen = chosen[self.layer]
        layers = list(chosen) if isinstance(chosen, (list, tuple)) else [chosen]
        num_frames = round(num_samples / self.rate)  # as Featurizer.tolist
        stacked = torch.stack([layer[:, :num_frames] for layer in layers], dim=2).float()
        if self.normalize and len(layers) > 1:
            stacked = nn.functional.layer_norm(stacked, stacked.shape[-1:])
        return stacked.mean(dim=1, keepdim=True) if self.pooled else stacked
