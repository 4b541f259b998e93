"""The uppermost layers of an upstream alone, for strength_across_upstreams.py."""

from typing import Any

import torch
from torch import Tensor

from spknorm.upstreams.fast.layout import Layout
from spknorm.upstreams.fast.packed import parts_of


class Upper:
    """The uppermost layers of an upstream; what is below is frozen, part of the front end."""

    def __init__(self, upstream: Any, layers: int) -> None:
        self._parts = parts_of(upstream)
        every = list(self._parts.layers)
        self._frozen, self.trained = every[:-layers], every[-layers:]

    @torch.no_grad()
    def front_ends(self, waves: list[Tensor]) -> list[Tensor]:
        """Return what the lowest trained layer reads of each waveform, (L_i,) -> (T_i, H)."""
        return [self._front_end(wave) for wave in waves]

    def _front_end(self, wave: Tensor) -> Tensor:
        convolved: Tensor = self._parts.convolutions(wave.unsqueeze(0))[0].T
        begun = self._parts.embed(convolved, Layout([len(convolved)], device=wave.device))
        return self._run(self._frozen, begun.x, begun.layout)

    def transform(self, fronts: list[Tensor]) -> list[Tensor]:
        """Return the last hidden states of some utterances, each (T_i, H)."""
        layout = Layout([len(front) for front in fronts], device=fronts[0].device)
        return list(layout.split(self._run(self.trained, torch.cat(fronts), layout)))

    def _run(self, layers: list[Any], x: Tensor, layout: Layout) -> Tensor:
        for layer in layers:
            x = self._parts.run_layer(layer, x, layout, None)
        return x
