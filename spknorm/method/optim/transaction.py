"""An iteration moves everything or nothing: what it is about to move is kept, and put back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from spknorm.errors import is_out_of_memory
from spknorm.method.optim.lists import apart, flat, parts, takes_lists, with_gradients
from spknorm.method.optim.world import World

_MOST = 1 << 24
"""Elements of a large copy: of larger ones more of a device's memory lies idle beside them."""


class ShortOfMemoryError(MemoryError):
    """Memory ran out in this process or another, all know it, and nothing has moved."""


class HalfMovedError(MemoryError):
    """Memory ran out within a step of which no copy was kept: some weights may have moved."""


class Copies:
    """Copies of tensors, on a GPU end to end in a few large ones: few calls make them.

    Args:
        tensors: On any devices, of any types; one tensor may come twice.
        on_host: Copies lie in the main memory.
    """

    @torch.no_grad()
    def __init__(self, tensors: Sequence[Tensor], *, on_host: bool = False) -> None:
        groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
        self._parts: list[tuple[list[Tensor], list[Tensor] | Tensor]] = []
        for (device, _), alike in groups.items():
            if on_host or not takes_lists(device):
                self._parts.append((alike, [one.to("cpu", copy=True) for one in alike]))
                continue
            for (part,) in parts(sorted(alike, key=Tensor.numel, reverse=True), most=_MOST):
                self._parts.append((part, flat(part) if len(part) > 1 else [part[0].clone()]))

    def _pairs(self) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """Yield tensors and the copies of them."""
        for part, copy in self._parts:
            yield part, apart(copy, part) if isinstance(copy, Tensor) else copy

    def of(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the copy of each tensor; one without a copy is where it was."""
        pairs = (pair for both in self._pairs() for pair in zip(*both, strict=True))
        found = {id(tensor): copy for tensor, copy in pairs}
        return [found.get(id(tensor), tensor) for tensor in tensors]

    @torch.no_grad()
    def put_back(self) -> None:
        """Make each tensor what it was, bit for bit; needs no memory."""
        for part, copies in self._pairs():
            torch._foreach_copy_(part, copies)


class Transaction:
    """Weights and optimiser states as they were before an iteration.

    It costs the memory of the weights that move and of what their optimisers know of them: under
    Adam three numbers per weight.

    Attributes:
        on_host: Copies lie in the main memory, for want of the device's.

    Args:
        world: Processes that move the same weights; None if this one is alone.
    """

    def __init__(self, world: World | None) -> None:
        self.on_host = False
        self._world = world
        self._weights: list[Copies] = []
        self._values: list[Copies] = []
        self._states: dict[Optimizer, dict[nn.Parameter, dict[str, Any]]] = {}
        self._error: BaseException | None = None

    def keep(self, optimizers: Iterable[Optimizer]) -> None:
        """Copy what a step of optimisers would change, unless that is kept already.

        That memory is short is told by `move`, when all processes are.
        """
        try:
            for optimizer in optimizers:
                self._keep(optimizer)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._error = error.with_traceback(None)  # which would hold on to memory

    def move(self, optimizers: Sequence[Optimizer], *, kept: bool) -> None:
        """Let optimisers step.

        Args:
            optimizers: With gradients.
            kept: By `keep`, so that `take_back` can undo it.

        Raises:
            ShortOfMemoryError: In some process; `take_back` puts it right in all.
            HalfMovedError: In this process, and no copy is kept.
        """
        error = self._error
        try:
            for optimizer in optimizers if error is None else ():
                optimizer.step()
        except (RuntimeError, MemoryError) as raised:
            if not is_out_of_memory(raised):
                raise
            error = raised
        if not kept:
            if error is not None:
                raise HalfMovedError(str(error)) from error
            return
        short = int(error is not None)
        if short if self._world is None else self._world.largest(short):
            raise ShortOfMemoryError(str(error or "in another process")) from error

    def _keep(self, optimizer: Optimizer) -> None:
        every, state = self._states.values(), optimizer.state
        moved = with_gradients(parameters_of(optimizer))
        new = [one for one in moved if not any(one in states for states in every)]
        known = self._states.get(optimizer, {})
        states = {one: dict(state.get(one, ())) for one in moved if one not in known}
        values = [v for one in states.values() for v in one.values() if isinstance(v, Tensor)]
        weights = Copies(new, on_host=self.on_host)
        self._values.append(Copies(values, on_host=self.on_host))
        self._weights.append(weights)
        self._states[optimizer] = {**known, **states}

    def before(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Return what each parameter was, not copied anew; one not kept is where it was."""
        found: list[Tensor] = list(parameters)
        for copies in self._weights:
            found = copies.of(found)
        return found

    def take_back(self) -> None:
        """Put everything back, bit for bit; needs no memory. Then nothing is kept any more."""
        for copies in (*self._weights, *self._values):
            copies.put_back()
        for optimizer, states in self._states.items():
            for parameter, state in states.items():
                if state:
                    optimizer.state[parameter] = state
                else:  # the optimiser makes it at the parameter's first step
                    optimizer.state.pop(parameter, None)
        self.forget()

    def forget(self) -> None:
        """Let the copies go."""
        self._weights, self._values, self._states, self._error = [], [], {}, None


class Statistics:
    """Running statistics of BatchNorm and its kin, which a forward pass moves.

    Args:
        modules: Those of their parts that are in training mode count.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        parts = [part for module in modules for part in module.modules() if part.training]
        norms = [part for part in parts if isinstance(part, nn.modules.batchnorm._NormBase)]
        self._kept = [(b, b.clone()) for part in norms for b in part.buffers()]

    def keep(self) -> None:
        """Copy them as they are; needs no memory."""
        for buffer, before in self._kept:
            before.copy_(buffer)

    def take_back(self) -> None:
        """Put them back to where they were kept."""
        for buffer, before in self._kept:
            buffer.copy_(before)


def parameters_of(*optimizers: Optimizer) -> list[nn.Parameter]:
    """Return the parameters of some optimisers, in their order."""
    return [p for optimizer in optimizers for g in optimizer.param_groups for p in g["params"]]


def summed_gradients(shared: Sequence[Tensor], world: World | None) -> list[Tensor]:
    """Return copies of the shared part's gradients, of all processes together."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in shared]
    if world is not None:
        world.sum_tensors(gradients)
    return gradients
