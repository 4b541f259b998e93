"""An iteration moves everything or nothing: what it is about to move is kept, and put back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from spknorm.errors import is_out_of_memory
from spknorm.method.optim.lists import with_gradients


class ShortOfMemoryError(MemoryError):
    """Memory ran out in this process or another, all know it, and nothing has moved."""


class HalfMovedError(MemoryError):
    """Memory ran out within a step of which no copy was kept: some weights may have moved."""


class Processes(Protocol):
    """The processes that do each step together (spknorm.method.optim.world.World)."""

    def largest(self, value: int) -> int:
        """Return the largest `value` of all processes."""
        ...

    def sum_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Sum tensors over all processes, in place."""
        ...


class Transaction:
    """Weights and optimiser states as they were before an iteration.

    It costs the memory of the weights that move and of what their optimisers know of them: under
    Adam three numbers per weight.

    Attributes:
        on_host: Copies lie in the main memory, for want of the device's.

    Args:
        world: Processes that move the same weights; None if this one is alone.
    """

    def __init__(self, world: Processes | None = None) -> None:
        self.on_host = False
        self._world = world
        self._weights: dict[nn.Parameter, Tensor] = {}
        self._states: dict[tuple[Optimizer, nn.Parameter], dict[str, Any]] = {}

    def move(self, optimizers: Sequence[Optimizer], *, kept: bool) -> None:
        """Let optimisers step.

        Args:
            optimizers: With gradients.
            kept: Keep copies first, so that `take_back` can undo it.

        Raises:
            ShortOfMemoryError: In some process; `take_back` puts it right in all.
            HalfMovedError: In this process, and no copy is kept.
        """
        error: BaseException | None = None
        try:
            for optimizer in optimizers if kept else ():
                self._keep(optimizer)
            for optimizer in optimizers:
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
        """Copy what a step of this optimiser would change, unless that is kept already."""
        moved = with_gradients(parameters_of(optimizer))
        new = [parameter for parameter in moved if parameter not in self._weights]
        weights = self._copies(new)
        states = {
            (optimizer, parameter): dict(optimizer.state.get(parameter, {}))
            for parameter in moved
            if (optimizer, parameter) not in self._states
        }
        places = [
            (state, name)
            for state in states.values()
            for name, value in state.items()
            if isinstance(value, Tensor)
        ]
        values = self._copies([state[name] for state, name in places])
        for (state, name), value in zip(places, values, strict=True):
            state[name] = value
        self._weights.update(zip(new, weights, strict=True))
        self._states.update(states)

    def _copies(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        if self.on_host:
            return [tensor.detach().to("cpu", copy=True) for tensor in tensors]
        return copies(tensors)

    def before(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Return what each parameter was, not copied anew; one not kept is where it was."""
        return [self._weights.get(parameter, parameter) for parameter in parameters]

    @torch.no_grad()
    def take_back(self) -> None:
        """Put everything back, bit for bit; needs no memory. Then nothing is kept any more."""
        for parameter, weight in self._weights.items():
            parameter.copy_(weight)
        for (optimizer, parameter), state in self._states.items():
            if state:
                now = optimizer.state[parameter]
                optimizer.state[parameter] = {
                    name: _put_back(now.get(name), value) for name, value in state.items()
                }
            else:  # the optimiser makes it at the parameter's first step
                optimizer.state.pop(parameter, None)
        self.forget()

    def forget(self) -> None:
        """Let the copies go."""
        self._weights.clear()
        self._states.clear()


def _put_back(now: Any, before: Any) -> Any:
    """Return what was before, in the place of what is now if a copy lies elsewhere."""
    if isinstance(before, Tensor) and isinstance(now, Tensor) and now.device != before.device:
        return now.copy_(before)
    return before


class Statistics:
    """Running statistics of BatchNorm and its kin, which a forward pass moves.

    Args:
        modules: Those of their parts that are in training mode count.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        parts = (part for module in modules for part in module.modules() if part.training)
        self._parts = [part for part in parts if isinstance(part, nn.modules.batchnorm._NormBase)]
        self._kept = [(b, b.clone()) for part in self._parts for b in part.buffers()]

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


@torch.no_grad()
def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return copies, each device's and type's made at once."""
    made = [torch.empty_like(tensor) for tensor in tensors]
    alike: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, tensor in enumerate(tensors):
        alike.setdefault((tensor.device, tensor.dtype), []).append(place)
    for places in alike.values():
        torch._foreach_copy_([made[i] for i in places], [tensors[i] for i in places])
    return made


@torch.no_grad()
def differences(ends: Iterable[Tensor], starts: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield how far each tensor has come: one at a time, so that no further copy of all is made."""
    for end, start in zip(ends, starts, strict=True):
        yield end - start.to(end.device)


def summed_gradients(shared: Sequence[Tensor], world: Processes | None) -> list[Tensor]:
    """Return copies of the shared part's gradients, of all processes together."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in shared]
    if world is not None:
        world.sum_tensors(gradients)
    return gradients
