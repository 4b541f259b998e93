"""Randomness that is a function of names: a part of the run draws what it would draw alone.

Beside the batches, which are functions of a seed and a number, too. Global generators are as before
when a part ends, so nothing that runs between two steps can change the second, and a resumed run
draws what an undisturbed one does.
"""

import contextlib
import random
import zlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(*names: int | str, device: torch.device) -> Iterator[None]:
    """Seed Python, numpy and torch (on the CPU and `device`) with a hash of `names`, for a while.

    Their states are put back at the end.
    """
    seed = zlib.crc32(" ".join(map(str, names)).encode())
    python, array = random.getstate(), np.random.get_state()
    generators = [torch.default_generator, *_generator(device)]
    states = [generator.get_state() for generator in generators]
    try:
        random.seed(seed)
        np.random.seed(seed)
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _generator(device: torch.device) -> list[torch.Generator]:
    """Return the device's own generator; other devices' are nothing to a run on this one."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        number = torch.cuda.current_device() if device.index is None else device.index
        return [torch.cuda.default_generators[number]]
    if device.type == "mps":
        return [torch.mps._get_default_mps_generator()]
    return []
