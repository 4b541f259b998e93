"""An upstream as parts that `packed` runs: what all forms of it have in common.

Legend: as in `fairseq.py`.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spknorm.upstreams.fast.layout import Begun, Layout


class Parts:
    """The parts of an upstream's model.

    Args:
        upstream: Under s3prl's contract.
        model: Its model, where it is within another.

    Attributes:
        model: Its model.
        layers: Transformer layers.
        final_norm: Behind the last of them; None where there is none.
        run_layer: Runs one of them.
        behind: Hidden states that heads behind the layers give.
        names: Of hidden states, beside their numbers.
    """

    layers: nn.ModuleList | list[nn.Module]
    final_norm: nn.Module | None
    run_layer: Callable[..., Tensor]

    def __init__(self, upstream: Any, model: Any = None) -> None:
        self._upstream = upstream
        self.model = upstream.model if model is None else model
        self.behind, self.names = 0, dict[str, int]()

    @staticmethod
    def reason_unsupported(upstream: Any) -> str | None:
        """Return why an upstream cannot be run without padding in one go; None if it can."""
        raise NotImplementedError

    @property
    def normalizes(self) -> bool:
        """Whether waveforms are normalised."""
        raise NotImplementedError

    @property
    def gradient_share(self) -> float:
        """How much of its gradient the front end gets, 0 to 1."""
        return float(self._upstream.feature_grad_mult)

    @property
    def convolutions(self) -> nn.Module:
        """The front end."""
        module: nn.Module = self.model.feature_extractor
        return module

    @property
    def attention(self) -> Any:
        """The first layer's, with which those of the others agree in kind."""
        raise NotImplementedError

    def normalized(self, wav: Tensor) -> Tensor:
        """Return a waveform (L,) with mean 0 and variance 1."""
        raise NotImplementedError

    def front_end(self, wav: Tensor) -> Tensor:
        """Return what the convolutions make of a waveform, (1, L) -> (1, C, T)."""
        features: Tensor = self.convolutions(wav)
        return features

    def embed(self, x: Tensor, layout: Layout) -> Begun:
        """Return the first layer's input (N, H) of the convolutions' outputs (N, C)."""
        raise NotImplementedError

    def heads(self, x: Tensor) -> list[Tensor]:
        """Return what heads make of the last layer's output (N, H), if there are any."""
        return []

    def bias(self, longest: int) -> Tensor | None:
        """Return what is added for each two of `longest` frames, (heads, T, T), if anything."""
        raise NotImplementedError
