"""How much memory some lines hold at most, counted where torch makes tensors."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class HeldMemory(TorchDispatchMode):
    """Within it, `peak` is the most bytes that were alive at once of those allocated within it."""

    def __init__(self):
        super().__init__()
        self.peak = 0
        self._alive = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Do what is asked, and count what it made; what it was given is no making of its own."""
        given = {self._key(one) for one in tree_leaves((args, kwargs)) if torch.is_tensor(one)}
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if torch.is_tensor(tensor) and self._key(tensor) not in given:
                storage = tensor.untyped_storage()
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: one for key, one in self._alive.items() if not one[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return made

    @staticmethod
    def _key(tensor):
        return tensor.untyped_storage()._cdata
