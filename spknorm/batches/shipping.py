"""Arrays on their way to the device: a batch is one copy that nobody waits for."""

import ctypes
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

_ALIGNED = 16
"""Elements: each array begins where vectorised kernels can read it."""


def ship(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of one type on `device`, in their order.

    To a GPU they go end to end from page-locked memory, in one copy: the host does not wait for
    it, and what the device is told next comes after it. On the CPU they are what they were.
    """
    if device.type != "cuda" or not tensors:
        return [tensor.to(device) for tensor in tensors]
    tensors = [tensor.contiguous() for tensor in tensors]
    sizes = [-(-tensor.numel() // _ALIGNED) * _ALIGNED for tensor in tensors]
    *starts, total = itertools.accumulate(sizes, initial=0)
    flat = torch.empty(total, dtype=tensors[0].dtype, pin_memory=True)
    for start, tensor in zip(starts, tensors, strict=True):
        assert tensor.dtype is flat.dtype and tensor.device.type == "cpu"
        # by this thread alone: torch would share out each small copy among its threads
        ctypes.memmove(flat.data_ptr() + start * flat.itemsize, tensor.data_ptr(), tensor.nbytes)
    there = flat.to(device, non_blocking=True)
    return [
        there.as_strided(tensor.shape, tensor.stride(), start)
        for start, tensor in zip(starts, tensors, strict=True)
    ]
