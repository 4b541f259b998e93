"""The trainable parameters by role."""

from typing import NamedTuple

from torch import nn


class Groups(NamedTuple):
    """The trainable parameters by role; the featurizer's weights count as the upstream's."""

    upstream: list[nn.Parameter]
    gate: list[nn.Parameter]
    emotion_head: list[nn.Parameter]
    speaker_head: list[nn.Parameter]

    def shared(self, strategy: str) -> list[nn.Parameter]:
        """Return what equation (3) moves: the gate under SNP, the upstream under TAP."""
        return {"none": [], "SNP": self.gate, "TAP": self.upstream}[strategy]
