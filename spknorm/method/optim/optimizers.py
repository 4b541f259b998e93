"""The optimisers of equations (1), (2), (4), and the scale that one has found for each weight."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from spknorm.errors import ConfigError
from spknorm.schema import GroupConfig, OptimizerConfig

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "SGD": torch.optim.SGD,
    "Adamax": torch.optim.Adamax,
    "NAdam": torch.optim.NAdam,
    "RMSprop": torch.optim.RMSprop,
    "Adafactor": torch.optim.Adafactor,
}
_SQUARES = ("exp_avg_sq", "square_avg", "variance")  # Adam and its kin; RMSprop; Adafactor
_SIZES = ("exp_inf",)  # Adamax
_DAMPING = 1.0e-2
_TINY = 1.0e-30


def make_optimizer(config: OptimizerConfig, parameters: dict[str, list[nn.Parameter]]) -> Optimizer:
    """Return one optimiser of several roles, each with its own rate and decay.

    Args:
        config: The section `optimizer`.
        parameters: By role; a role without any is left out.

    Raises:
        ConfigError: The optimiser refuses an option.
    """
    groups = []
    for name, members in parameters.items():
        own = _own(config, name)
        group: dict[str, Any] = {"params": members, "name": name}
        group["lr"] = config.lr if own.lr is None else own.lr
        group["weight_decay"] = (
            config.weight_decay if own.weight_decay is None else own.weight_decay
        )
        if members:
            groups.append(group)
    options = {
        name: getattr(config, name)
        for name in ("momentum", "betas", "eps", "fused")
        if getattr(config, name) is not None
    }
    try:
        # Each group has its rate; s3prl's polynomial schedule asks for the optimiser's own.
        return OPTIMIZERS[config.torch_optim_name](groups, **{"lr": config.lr, **options})
    except (TypeError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"`config.optimizer`: {config.torch_optim_name} refuses {_names(options)}: {error}."
        ) from error


def _own(config: OptimizerConfig, name: str) -> GroupConfig:
    """Return what a role has for itself; the layers' weights go as the emotion head does."""
    if config.groups is None:
        return GroupConfig()
    own: GroupConfig = getattr(config.groups, name)
    if name != "featurizer":
        return own
    head = config.groups.emotion_head
    return GroupConfig(
        lr=head.lr if own.lr is None else own.lr,
        weight_decay=head.weight_decay if own.weight_decay is None else own.weight_decay,
    )


@torch.no_grad()
def precondition(parameters: Iterable[nn.Parameter], optimizer: Optimizer) -> None:
    """Divide each gradient by the size of the gradients that `optimizer` has seen there.

    The sizes are what Adam and its kin divide their own steps by: roots of the running mean of the
    squared gradient. They are taken relative to their root mean square s over all weights, and
    damped: g <- g / (v^(1/2) / s + 0.01). So no scale of the optimiser's losses is left in the
    direction, and a weight that they have never needed gains a factor of 100 at most. Bias
    corrections are left out: they are the same for all weights, and only the direction counts.

    The optimiser's state is only read. Where it has none (plain SGD) gradients stay as they are;
    where it has some, a weight that it has never moved loses its gradient.

    Args:
        parameters: With gradients.
        optimizer: Has stepped.
    """
    states = {p: optimizer.state.get(p, {}) for p in parameters}
    squares = [  # of one weight after the other: no further copy of all is made
        (size.square().sum(), size.numel())
        for size in map(_size, states.values())
        if size is not None
    ]
    if not squares:
        return
    total = torch.stack([square for square, _ in squares]).sum()
    typical = (total / sum(number for _, number in squares)).sqrt()
    for parameter, state in states.items():
        size = _size(state)
        if size is None:
            parameter.grad = None
        elif parameter.grad is not None:
            # a scale of 0: no gradient so far, so no weight is smaller than another
            scale = torch.where(typical > 0, size / typical + _DAMPING, torch.ones_like(size))
            parameter.grad.div_(scale)


def _size(state: dict[str, Any]) -> Tensor | None:
    for name in _SQUARES:
        if name in state:
            squares: Tensor = state[name]
            return squares.sqrt()
    if "row_var" in state:  # Adafactor keeps the means of rows and columns alone
        rows, columns = state["row_var"], state["col_var"]
        both: Tensor = (rows @ columns) / rows.mean(dim=-2, keepdim=True).clamp(min=_TINY)
        return both.sqrt()
    return next((state[name] for name in _SIZES if name in state), None)


def _names(options: Iterable[str]) -> str:
    return ", ".join(options) or "its options"
