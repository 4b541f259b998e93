"""An upstream as parts that `packed` runs: what all forms of it have in common.

Legend: N frames of all utterances, L samples and T frames of one, C front end's and H upstream's
dimension.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from spknorm.upstreams.fast.description import Layer
from spknorm.upstreams.fast.layers import run_layer
from spknorm.upstreams.fast.layout import Begun, Layout
from spknorm.upstreams.fast.relative import position_bias


class Parts:
    """The parts of an upstream's model.

    Args:
        upstream: Under s3prl's contract.
        model: Its model, where it is within another.

    Attributes:
        model: Its model.
        layers: Transformer layers.
        final_norm: Behind the last of them; None where there is none.
        attention: The first layer's, with which those of the others agree in kind.
        behind: Hidden states that heads behind the layers give.
        names: Of hidden states, beside their numbers.
    """

    layers: nn.ModuleList | list[nn.Module]
    final_norm: nn.Module | None
    attention: Any

    def __init__(self, upstream: Any, model: Any = None) -> None:
        self._upstream = upstream
        self.model = upstream.model if model is None else model
        self.behind, self.names = 0, dict[str, int]()

    @staticmethod
    def reason_unsupported(upstream: Any) -> str | None:
        """Return why an upstream cannot be run without padding in one go; None if it can."""
        raise NotImplementedError

    def described(self, layer: Any) -> Layer | None:
        """Return what one of `layers` is made of; None of another build than most have."""
        return None

    def run_layer(
        self, layer: Any, x: Tensor, layout: Layout, bias: Tensor | None = None
    ) -> Tensor:
        """Return what one of `layers` makes of x (N, H); see `layers.run_layer`."""
        known = self.described(layer)
        assert known is not None
        return run_layer(known, x, layout, bias)

    @property
    def normalizes(self) -> bool:
        """Whether waveforms are normalised."""
        return bool(self._upstream.normalize)

    def normalized(self, wav: Tensor) -> Tensor:
        """Return a waveform (L,) with mean 0 and variance 1."""
        return functional.layer_norm(wav, wav.shape)

    @property
    def gradient_share(self) -> float:
        """How much of its gradient the front end gets, 0 to 1."""
        return float(self._upstream.feature_grad_mult)

    @property
    def convolutions(self) -> nn.Module:
        """The front end, (B, L) -> (B, C, T)."""
        module: nn.Module = self.model.feature_extractor
        return module

    def embed(self, x: Tensor, layout: Layout) -> Begun:
        """Return the first layer's input (N, H) of the convolutions' outputs (N, C)."""
        raise NotImplementedError

    def bias(self, longest: int) -> Tensor | None:
        """Return what is added for each two of `longest` frames, (heads, T, T), if anything."""
        return position_bias(self.attention, longest)

    def heads(self, x: Tensor) -> list[Tensor]:
        """Return what heads make of the last layer's output (N, H), if there are any."""
        return []
