"""Randomness that is a function of names: a part of the run draws what it would draw alone.

Before `runner.py`. Global generators are as before when a part ends, so nothing that runs between
two steps can change the second, and a resumed run draws what an undisturbed one does.
"""

import contextlib
import random
import zlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(*names: int | str, device: torch.device) -> Iterator[None]:
    """Seed Python, numpy and torch with a hash of `names`, and put their states back at the end."""
    seed = zlib.crc32(" ".join(map(str, names)).encode())
    python, array = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
