"""Layers as CUDA graphs: a GPU is told once per shape what to do for them, then by one call.

What layers are made of (`whole.py`) takes a host hundreds of calls, and a GPU may be done with them
before the host is. Here all layers of a training pass are recorded, forward and backward, and then
replayed. A recording holds for one number of utterances, of frames, and of frames of the longest,
so these are rounded up: behind the utterances of a batch stands one that nobody reads, and whose
gradient is zero.

All recordings compute in the same memory. What one leaves there for its backward pass is
overwritten by the next forward pass, and computed once more where it is still needed. Gradients of
weights lie in one place, too: they are copied before another backward pass needs it.

Legend: B utterances, N frames of all of them, H upstream dimension.
"""

import collections
import contextlib
import logging
import weakref
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spknorm.upstreams.fast.description import Layer
from spknorm.upstreams.fast.layout import Layout
from spknorm.upstreams.fast.recorder import Recorder, Recording

logger = logging.getLogger(__name__)

_FRAMES, _LONGEST = 256, 128
"""N and the longest utterance are rounded up to multiples of these."""
_MOST = 64
"""Recordings; further shapes are not recorded."""
_OFTEN = 2
"""A shape is recorded when it comes for this time: by then its kernels have been loaded."""


class Graphs:
    """Runs layers of which `runs_whole` says yes, recorded where their shape comes often.

    Attributes:
        on: They are to be recorded; not any more once that has failed or memory was short.

    Args:
        final_norm: Behind the last layer; None where there is none.
        on: At first.
    """

    def __init__(self, final_norm: nn.Module | None, *, on: bool) -> None:
        self.on, self._turn = on, 0
        self._recorder = Recorder(final_norm)
        self._recordings: dict[Hashable, Recording] = {}
        self._open: weakref.WeakSet[_Turn] = weakref.WeakSet()
        self._seen: collections.Counter[Hashable] = collections.Counter()

    def __call__(self, x: Tensor, layout: Layout, layers: Sequence[Layer]) -> Tensor:
        """Return what layers make of x.

        Args:
            x: (N, H), in autocast's type.
            layout: Of the utterances.
            layers: All that x passes.

        Returns:
            (N, H), in the type that the last of them gives.
        """
        layout = _widened(layout)
        weights = self._recorder.weights(layers)
        wanted = tuple(weight.requires_grad for weight in weights)
        grads = torch.is_grad_enabled() and (x.requires_grad or any(wanted))
        key = (
            *(len(layout.lengths), sum(layout.lengths), layout.longest, x.dtype),
            *(grads and x.requires_grad, grads and wanted),
            *(tuple(layer.rates for layer in layers), tuple(map(Tensor.data_ptr, weights))),
        )
        recording = self._recordings.get(key) or self._recorded(key, x, layout, layers, grads)
        if recording is None:
            return self._recorder.run(_padded(x, layout), layout, layers, weights)[: len(x)]
        if not grads:
            self.play(recording, x, layout)
            return recording.out[: len(x)].clone()
        y: Tensor = _Replay.apply(self, recording, layout, x, *weights)  # type: ignore[no-untyped-call]
        return y

    @property
    def recorded(self) -> bool:
        """Whether there are recordings."""
        return bool(self._recordings)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave layers alone."""
        on, self.on = self.on, False
        try:
            yield
        finally:
            self.on = on

    def let_go(self) -> bool:
        """Record nothing from now on; return whether that gives memory back."""
        held = self.recorded
        self.on = False
        self._recordings = {}
        self._recorder.forget()
        return held

    def play(self, recording: Recording, x: Tensor, layout: Layout) -> "_Turn":
        """Let a recording compute its output; return whose the memory is then."""
        recording.x.write(x)
        recording.bounds.copy_(layout.bounds)
        recording.forward.replay()
        self._turn += 1
        return _Turn(self._turn)

    def opened(self, turn: "_Turn") -> "_Turn":
        """Remember that a backward pass may come, for as long as somebody holds its turn."""
        self._open.add(turn)
        return turn

    def is_overwritten(self, turn: "_Turn") -> bool:
        """Whether what a recording left for its backward pass is gone."""
        return turn.number != self._turn

    def is_alone(self, turn: "_Turn") -> bool:
        """Whether no other backward pass may come before the gradients of this have been used."""
        self._open.discard(turn)
        return not self._open

    def _recorded(
        self, key: Hashable, x: Tensor, layout: Layout, layers: Sequence[Layer], grads: bool
    ) -> Recording | None:
        """Return a recording if it is time for one, and if it can be made."""
        self._seen[key] += 1
        if self._seen[key] < _OFTEN or len(self._recordings) >= _MOST or not self.on:
            return None
        try:
            if not self._recorder.has_room(layout, layers):
                self._recordings = {}
                self.on = self._recorder.make_room(layout, layers)
            if not self.on:
                return None
            recording = self._recorder.record(_padded(x, layout), layout, layers, grads)
        except (RuntimeError, MemoryError) as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            logger.warning("Layers are not recorded as CUDA graphs: %s", why)
            self.let_go()
            return None
        self._recordings[key] = recording
        return recording


class _Turn:
    """A forward pass, by number."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Replay(torch.autograd.Function):
    """(N, H) and all weights -> (N, H)."""

    @staticmethod
    def forward(
        ctx: Any, graphs: Graphs, recording: Recording, layout: Layout, x: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.graphs, ctx.recording, ctx.layout, ctx.weights = graphs, recording, layout, weights
        ctx.state = torch.cuda.get_rng_state(x.device) if recording.random else None
        ctx.save_for_backward(x)
        ctx.turn = graphs.opened(graphs.play(recording, x, layout))
        return recording.out[: len(x)].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients where the replay writes them, or copies where that is not safe.

        The next replay writes there again: a weight that holds its gradient of an earlier pass gets
        a copy first, and copies are returned where another backward pass may come before autograd
        has used these.
        """
        (x,) = ctx.saved_tensors  # under `checkpoint` computed anew
        graphs: Graphs = ctx.graphs
        recording: Recording = ctx.recording
        alone = graphs.is_alone(ctx.turn)
        if graphs.is_overwritten(ctx.turn):
            with torch.random.fork_rng([x.device] if recording.random else []):
                if recording.random:
                    torch.cuda.set_rng_state(ctx.state, x.device)
                graphs.play(recording, x, ctx.layout)
        both = list(zip(ctx.weights, recording.places, strict=True))
        there = [w for w, p in both if w.grad is not None and w.grad.data_ptr() == p.data_ptr()]
        for weight, copy in zip(there, _copies([w.grad for w in there]), strict=True):
            weight.grad = copy  # to which what comes is added
        assert recording.gradient is not None
        recording.gradient.write(gradient)
        recording.backward.replay()
        back = None if recording.back is None else recording.back[: len(x)]
        if back is not None and not alone:
            back = back.clone()
        wanted = ctx.needs_input_grad[4:]
        asked = [place for place, one in zip(recording.places, wanted, strict=True) if one]
        found = iter([place.detach() for place in asked] if alone else _copies(asked))
        return None, None, None, back, *(next(found) if one else None for one in wanted)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    made = [torch.empty_like(tensor) for tensor in tensors]
    if made:
        torch._foreach_copy_(made, list(tensors))
    return made


def records_on(device: torch.device) -> bool:
    """Whether a device can be told by CUDA graphs what to do."""
    return device.type == "cuda"


def _widened(layout: Layout) -> Layout:
    """Return a layout with an utterance at the end, which makes its sizes round."""
    more = -sum(layout.lengths) % _FRAMES
    lengths = [*layout.lengths, more]
    return Layout(lengths, device=layout.device, together=True, rounded_to=_LONGEST)


def _padded(x: Tensor, layout: Layout) -> Tensor:
    """Return x with as many frames as a layout that has been widened."""
    return functional.pad(x, (0, 0, 0, sum(layout.lengths) - len(x)))
