"""Who this process is among those that a launcher such as torchrun started, read without torch."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from spknorm.errors import ConfigError


class Place(NamedTuple):
    """Number of this process, how many there are, and its number on this machine."""

    rank: int
    size: int
    local_rank: int


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return the place that the launcher's variables give; alone without them.

    Raises:
        ConfigError: Some are missing or no numbers: they are left over from another program.
    """
    size = _number(environment, "WORLD_SIZE", "1")
    if size <= 1:
        return Place(0, 1, 0)
    needed = ("RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {size} without {' and '.join(missing)}: unset WORLD_SIZE if it is "
            "left over from another program, or start the run with torchrun."
        )
    rank = _number(environment, "RANK", "0")
    if not 0 <= rank < size:
        raise ConfigError(
            f"RANK is {rank}, but must be from 0 to {size - 1}, since WORLD_SIZE is {size}: unset "
            "both if they are left over from another program."
        )
    return Place(rank, size, _number(environment, "LOCAL_RANK", "0"))


def _number(environment: Mapping[str, str], name: str, default: str) -> int:
    text = environment.get(name) or default
    if not text.strip().isdigit():
        raise ConfigError(
            f"{name} is `{text}`, but must be a whole number: unset it if it is left over from "
            "another program."
        )
    return int(text)
