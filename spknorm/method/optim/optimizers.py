"""The optimisers of equations (1), (2), (4), and the scale that one has found for each weight."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from spknorm.errors import ConfigError
from spknorm.method.optim.lists import flat, parts, with_gradients
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
_FUSED = ("Adam", "AdamW", "SGD")
_DAMPING = 1.0e-2
_TINY = 1.0e-30


def make_optimizer(
    config: OptimizerConfig,
    parameters: dict[str, list[nn.Parameter]],
    scales: Mapping[nn.Parameter, float] | None = None,
) -> Optimizer:
    """Return one optimiser of several roles, each with its own rate and decay.

    Args:
        config: The section `optimizer`.
        parameters: By role; a role without any is left out.
        scales: Of single parameters' learning rates, where they are not 1.

    Raises:
        ConfigError: The optimiser refuses an option.
    """
    groups = []
    for name, members in parameters.items():
        own = _own(config, name)
        rate = config.lr if own.lr is None else own.lr
        decay = config.weight_decay if own.weight_decay is None else own.weight_decay
        for scale, alike in _by_scale(members, scales or {}).items():
            group: dict[str, Any] = {"params": alike, "name": name}
            groups.append({**group, "lr": scale * rate, "weight_decay": decay})
    options = {
        name: getattr(config, name)
        for name in ("momentum", "betas", "eps", "fused")
        if getattr(config, name) is not None
    }
    every = [*itertools.chain(*parameters.values())]
    if config.fused is None and fuses(config.torch_optim_name, every):
        options["fused"] = True
    try:
        # Each group has its rate; s3prl's polynomial schedule asks for the optimiser's own.
        return OPTIMIZERS[config.torch_optim_name](groups, **{"lr": config.lr, **options})
    except (TypeError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"`config.optimizer`: {config.torch_optim_name} refuses "
            f"{', '.join(options) or 'its options'}: {error}."
        ) from error


def _by_scale(
    members: Iterable[nn.Parameter], scales: Mapping[nn.Parameter, float]
) -> dict[float, list[nn.Parameter]]:
    found: dict[float, list[nn.Parameter]] = {}
    for parameter in members:
        found.setdefault(scales.get(parameter, 1.0), []).append(parameter)
    return found


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


def fuses(name: str, parameters: Sequence[nn.Parameter]) -> bool:
    """Whether an optimiser takes its step in a few kernels that need no memory: on a GPU alone."""
    return name in _FUSED and all(parameter.device.type == "cuda" for parameter in parameters)


def needs_memory(optimizer: Optimizer) -> bool:
    """Whether an optimiser takes memory of a GPU in its steps, once its states are made."""
    on_gpu = any(one["params"][0].device.type != "cpu" for one in optimizer.param_groups)
    return on_gpu and not optimizer.defaults.get("fused")


@torch.no_grad()
def precondition(
    parameters: Iterable[nn.Parameter], optimizer: Optimizer, *, with_slope: bool = False
) -> list[Tensor]:
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
        with_slope: Whether that is asked for.

    Returns:
        The inner product of the gradients before and after, a scalar, if they have changed.
    """
    states = {p: optimizer.state.get(p, {}) for p in parameters}
    known = [parameter for parameter, state in states.items() if _size_names(state)]
    if not known:
        return []
    for parameter, state in states.items():
        if not _size_names(state):
            parameter.grad = None
    squares = [  # no further copy of all is made
        flat(_sizes([states[p] for p in few])).square().sum() for (few,) in parts(known)
    ]
    typical = (torch.stack(squares).sum() / sum(p.numel() for p in known)).sqrt()
    # a scale of 0: no gradient so far, so no weight is smaller than another
    unit, whole = torch.where(typical > 0, typical, 1.0), torch.where(typical > 0, 1.0, _DAMPING)
    slopes = []
    for (few,) in parts(with_gradients(known)):
        scales = torch._foreach_div(_sizes([states[p] for p in few]), unit)
        torch._foreach_add_(scales, _DAMPING)
        torch._foreach_div_(scales, whole)
        gradients = [p.grad for p in few if p.grad is not None]
        torch._foreach_div_(gradients, scales)
        if with_slope:
            torch._foreach_mul_(scales, gradients)
            slopes.append(torch.dot(flat(scales), flat(gradients)))
    return [torch.stack(slopes).sum()] if slopes else []


def _sizes(states: Sequence[dict[str, Any]]) -> list[Tensor]:
    """Return each weight's size of gradients, as the optimiser has found it."""
    squares = next((name for name in _SQUARES if all(name in state for state in states)), None)
    if squares is not None:
        return list(torch._foreach_sqrt([state[squares] for state in states]))
    return [_size(state) for state in states]


def _size(state: dict[str, Any]) -> Tensor:
    name = _size_names(state)[0]
    if name == "row_var":  # Adafactor keeps the means of rows and columns alone
        rows, columns = state["row_var"], state["col_var"]
        both: Tensor = (rows @ columns) / rows.mean(dim=-2, keepdim=True).clamp(min=_TINY)
        return both.sqrt()
    found: Tensor = state[name]
    return found.sqrt() if name in _SQUARES else found


def _size_names(state: dict[str, Any]) -> list[str]:
    return [name for name in (*_SQUARES, "row_var", *_SIZES) if name in state]
