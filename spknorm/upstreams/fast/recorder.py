"""Records what layers do in a pass as CUDA graphs, all in the same memory; used by `graphs.py`.

Legend: B utterances, N frames of all of them, H upstream dimension.
"""

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spknorm.upstreams.fast.description import Layer, Weights, weights_of
from spknorm.upstreams.fast.layout import Layout
from spknorm.upstreams.fast.whole import run_whole

logger = logging.getLogger(__name__)

_SPARE = 1.25
"""Of the memory that a layout needs, what is held: for those that are somewhat larger."""


class Rows:
    """A tensor (N, H) whose first rows are written, and whose others are zeros.

    What another batch has left there is not finite, maybe: it must not be multiplied even by 0.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self._written = tensor, len(tensor)

    def write(self, rows: Tensor) -> None:
        """Write the first rows (n, H)."""
        self.tensor[: len(rows)].copy_(rows)
        if len(rows) < self._written:
            self.tensor[len(rows) : self._written].zero_()
        self._written = len(rows)


class Recording(NamedTuple):
    """A pass over one layout, and the tensors that it reads and writes.

    Attributes:
        x: (N, H) its input.
        bounds: (B + 1,) of the utterances.
        out: (N, H).
        gradient: (N, H) of `out`; None where there is no backward pass.
        back: (N, H) the gradient of x; None where none is asked for.
        places: Of the weights' gradients.
        forward: Computes `out`.
        backward: Computes `back` and the weights' gradients.
        random: Something is dropped.
    """

    x: Rows
    bounds: Tensor
    out: Tensor
    gradient: Rows | None
    back: Tensor | None
    places: Sequence[Tensor]
    forward: Any
    backward: Any
    random: bool


class Recorder:
    """Makes recordings.

    Args:
        final_norm: Behind the last layer; None where there is none.
    """

    def __init__(self, final_norm: nn.Module | None) -> None:
        self._final_norm = final_norm
        self.forget()

    def forget(self) -> None:
        """Let go of the memory, once nobody holds recordings any more."""
        self._pool: Any = None
        self._side: Any = None  # the one stream whose memory this is
        self._held: tuple[int, Any] = 0, None
        self._gradients: list[Weights] = []
        self._places: list[Tensor] = []

    def weights(self, layers: Sequence[Layer]) -> list[Tensor]:
        """Return all that a backward pass gives gradients."""
        own = [] if self._final_norm is None else list(self._final_norm.parameters())
        return [weight for layer in layers for weight in weights_of(layer)] + own

    def run(
        self,
        x: Tensor,
        layout: Layout,
        layers: Sequence[Layer],
        weights: Sequence[Tensor],
        places: Sequence[Weights] = (),
    ) -> Tensor:
        """Return what layers, and the norm behind them, make of x (N, H).

        Args:
            x: In autocast's type.
            layout: Of the utterances.
            layers: All that x passes.
            weights: Theirs, as `weights` orders them, or others in their place.
            places: Where gradients of layers' weights are written; without, they are new tensors.
        """
        rest = iter(weights)
        for layer, into in itertools.zip_longest(layers, places):
            own = list(itertools.islice(rest, len(weights_of(layer))))
            x = run_whole(layer, x, layout, own, into)
        if self._final_norm is None:
            return x
        names = [name for name, _ in self._final_norm.named_parameters()]
        made: Tensor = functional_call(self._final_norm, dict(zip(names, rest, strict=True)), (x,))
        return made

    def has_room(self, layout: Layout, layers: Sequence[Layer]) -> bool:
        """Whether the memory held is enough for a layout."""
        return self._held[0] >= _bytes(layout, layers)

    def make_room(self, layout: Layout, layers: Sequence[Layer]) -> bool:
        """Hold memory in one piece, which all recordings share; forget those that there are.

        Returns:
            Whether so much is free that as much is left for what is not recorded; if not, none is
            held.
        """
        self.forget()
        needed = int(_bytes(layout, layers) * _SPARE)
        with torch.cuda.device(layout.device):
            torch.cuda.empty_cache()
            free, _ = torch.cuda.mem_get_info()
            if free < 2 * needed:
                logger.info(
                    "Layers are not recorded as CUDA graphs: that would hold %.1f of %.1f GB.",
                    needed / 1e9, free / 1e9,
                )  # fmt: skip
                return False
            self._pool = torch.cuda.graph_pool_handle()
            self._side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            with self._graph() as holder:
                torch.empty(needed, dtype=torch.uint8, device=layout.device)[:1].zero_()
        self._held = needed, holder
        return True

    def record(self, x: Tensor, layout: Layout, layers: Sequence[Layer], grads: bool) -> Recording:
        """Return a recording.

        Args:
            x: (N, H), in autocast's type.
            layout: For which there is room.
            layers: All that x passes.
            grads: A backward pass, too.
        """
        weights = self.weights(layers)
        if grads and not self._places:
            self._make_places(layers, weights)
        bounds = layout.bounds.clone()
        fixed = layout.with_bounds(bounds)
        taken = x.detach().clone()
        leaf = taken.detach().requires_grad_(grads and x.requires_grad)
        # Other leaves of the same memory: what autograd holds of the weights' own belongs to the
        # stream of other passes.
        leaves = [one.detach().requires_grad_(grads and one.requires_grad) for one in weights]
        back = gradient = backward = None
        with torch.cuda.device(x.device):
            with torch.set_grad_enabled(grads), self._graph() as forward:
                out = self.run(leaf, fixed, layers, leaves, self._gradients if grads else ())
            if grads:
                gradient = torch.zeros(out.shape, dtype=out.dtype, device=out.device)
                inputs = [one for one in (leaf, *leaves) if one.requires_grad]
                with self._graph() as backward:
                    found = list(torch.autograd.grad(out, inputs, gradient))
                    back = found.pop(0) if leaf.requires_grad else None
                    self._collect(leaves, found)
        places = self._places if grads else []
        random = any(rate > 0 for layer in layers for rate in layer.rates)
        written = None if gradient is None else Rows(gradient)
        return Recording(
            Rows(taken), bounds, out.detach(), written, back, places, forward, backward, random
        )

    def _make_places(self, layers: Sequence[Layer], weights: Sequence[Tensor]) -> None:
        """Make the places where the gradients of all weights are put."""
        made = [Weights.empty(weights_of(layer), torch.float32) for layer in layers]
        self._gradients = [room for room, _ in made]
        self._places = [place for _, places in made for place in places]
        self._places += map(torch.empty_like, weights[len(self._places) :])  # those of the norm

    def _collect(self, weights: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        """Put gradients into their places that are not there yet: those of `final_norm`."""
        wanted = [p for p, w in zip(self._places, weights, strict=True) if w.requires_grad]
        pairs = zip(wanted, found, strict=True)
        away = [(to, one) for to, one in pairs if to.data_ptr() != one.data_ptr()]
        if away:
            torch._foreach_copy_([to for to, _ in away], [one for _, one in away])

    @contextlib.contextmanager
    def _graph(self) -> Iterator[Any]:
        """Record into a new graph, in the memory that is shared."""
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        spare = generator.clone_state()
        try:
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local"
            ):
                yield graph
        except BaseException:  # after which the generator would go on waiting for the graph's end
            generator.graphsafe_set_state(spare.graphsafe_get_state())
            raise
        torch.cuda.current_stream().wait_stream(self._side)  # where seeds were written


def _bytes(layout: Layout, layers: Sequence[Layer]) -> int:
    """Return about how much memory a recording needs, forward and backward."""
    layer = layers[0]
    width, wide = int(layer.others[1].in_features), int(layer.others[1].out_features)
    kept = 2 * (8 * width + 2 * wide) + 4 * layer.heads
    dropped = (2 * width + wide) * any(rate > 0 for rate in layer.rates[1:])
    passing = 2 * (16 * width + 4 * wide)  # in the backward pass of one layer
    weights = sum(int(weight.numel()) for layer in layers for weight in weights_of(layer))
    return sum(layout.lengths) * (len(layers) * (kept + dropped) + passing) + 2 * weights
