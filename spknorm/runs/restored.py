"""Optimisers of a checkpoint that go on here: in the same groups, with this experiment's options.

Used by the runner's `iteration.py`.
"""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from spknorm.errors import CheckpointError


def check_groups(
    states: Mapping[str, Any] | None, asked: Mapping[str, list[dict[str, Any]]]
) -> None:
    """Check that a checkpoint's optimisers, if it has any, move the groups of this experiment's.

    Raises:
        CheckpointError: They do not, or it has none.
    """
    if states is None:
        raise CheckpointError(
            "The checkpoint holds weights alone (config.runner.keep), so no training can go on "
            "from it. Start a new one (-n or -p); -i takes the weights along."
        )
    for name, options in asked.items():
        before = [str(group.get("name")) for group in states.get(name, {}).get("param_groups", ())]
        now = [str(group.get("name")) for group in options]
        if before and before != now:
            raise CheckpointError(
                f"The optimisers' state does not fit this experiment: they move "
                f"{', '.join(before)}, but this experiment's {', '.join(now)}. Start a new one "
                "(-n or -p); -i takes weights alone along."
            )


def fused_as(asked: list[dict[str, Any]], state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimiser's state with the fusing of this device, not of that which it comes from.

    By it torch decides where the numbers of steps lie: for a fused optimiser beside the weights.
    """
    own = [
        {**group, **{key: options[key] for key in ("fused", "foreach") if key in options}}
        for group, options in zip(state["param_groups"], asked, strict=True)
    ]
    return {**state, "param_groups": own}


def options_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the options of an optimiser's groups."""
    return [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def restore_options(group: dict[str, Any], options: dict[str, Any], *, scheduled: bool) -> None:
    """Give a group that was read from a checkpoint the options of the configuration."""
    rate, base = group["lr"], group.get("initial_lr")
    group.update(options)
    if scheduled and "initial_lr" in options and base:
        # where the schedule stands, on the rate asked for; exactly as it was if that is the same
        same = options["initial_lr"] == base
        group["lr"] = rate if same else options["initial_lr"] * rate / base
