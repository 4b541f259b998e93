"""Several processes that train as one: torchrun's ranks, and sums over them.

Gradients are summed here instead of by DistributedDataParallel, which cannot follow two stages
over different parts of the model. Used by `passes.py` and `engine.py`.
"""

import atexit
import datetime
import logging
import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from spknorm.config.launcher import place
from spknorm.errors import ConfigError
from spknorm.method.optim.lists import apart, flat

logger = logging.getLogger(__name__)

TIMEOUT = datetime.timedelta(minutes=30)
"""How long a process waits for the others; on one machine torchrun ends them much earlier."""
JOIN_TIMEOUT = datetime.timedelta(minutes=2)
"""How long processes that no torchrun started wait for each other at the start."""
_BUCKET_ELEMENTS = 1 << 24


class World:
    """The processes of one run.

    Attributes:
        rank: Number of this process; 0 alone writes files.
        size: How many there are.
        device: Where this process computes.
    """

    def __init__(self, device: str | torch.device) -> None:
        """Join the processes that torchrun started; without torchrun this process is alone.

        Raises:
            ConfigError: There is no GPU for this process, or the others do not come.
        """
        self.device = torch.device(device)
        self.rank, self.size, local = place()
        if self.size == 1:
            return
        if self.device.type == "cuda":
            if local >= torch.cuda.device_count():
                raise ConfigError(
                    f"Process {local} of this machine has no GPU, since there are "
                    f"{torch.cuda.device_count()}: lower --nproc-per-node, or use --device cpu."
                )
            self.device = torch.device("cuda", local)
            torch.cuda.set_device(self.device)
        if not torch.distributed.is_initialized():
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            try:
                _join(backend, self.rank, self.size)
            except (RuntimeError, ValueError, OSError) as error:
                raise ConfigError(
                    f"WORLD_SIZE is {self.size}, but the other processes did not come to "
                    f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')} "
                    f"({type(error).__name__}). Unset WORLD_SIZE, RANK and MASTER_ADDR if they are "
                    "left over from another program, or start all processes with torchrun."
                ) from error

    @property
    def is_leader(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums of `values` over all processes."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(summed)
        return [float(value) for value in summed.tolist()]

    def largest(self, value: int) -> int:
        """Return the largest `value` of all processes: what one knows, all know."""
        if self.size == 1:
            return value
        agreed = torch.tensor(value, device=self.device)
        torch.distributed.all_reduce(agreed, op=torch.distributed.ReduceOp.MAX)
        return int(agreed.item())

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum `.grad` over all processes; what no process has a gradient for stays without one."""
        if self.size == 1 or not parameters:
            return
        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
        has = has.to(self.device)
        torch.distributed.all_reduce(has)
        used = [p for p, count in zip(parameters, has.tolist(), strict=True) if count]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.sum_tensors([parameter.grad for parameter in used if parameter.grad is not None])

    def sum_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Sum tensors over all processes, in place."""
        for bucket in _buckets(tensors if self.size > 1 else ()):
            joined = flat(bucket)  # of one tensor that tensor itself
            torch.distributed.all_reduce(joined)
            torch._foreach_copy_(bucket, apart(joined, bucket))

    def same_weights(self, *modules: nn.Module) -> None:
        """Give every process the leader's weights."""
        if self.size > 1:
            for module in modules:
                for tensor in (*module.parameters(), *module.buffers()):
                    torch.distributed.broadcast(tensor.data, src=0)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            torch.distributed.barrier()

    def leave(self) -> None:
        """End together."""
        if self.size > 1 and torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()


def rank_and_size() -> tuple[int, int]:
    """Return number of this process and how many there are, by torch, whoever started them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _join(backend: str, rank: int, size: int) -> None:
    # Imported later, as the optimizers do, it would keep the group as the default of its arguments:
    # threads of gloo that outlive the group can abort a process that has finished.
    import torch.distributed.nn.functional
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    # torchrun starts all of them; what another launcher has left over would be waited for in vain.
    wait = TIMEOUT if "TORCHELASTIC_RUN_ID" in os.environ else JOIN_TIMEOUT
    logger.info("Process %d of %d waits for the others.", rank, size)
    store, rank, size = next(rendezvous("env://", timeout=wait))
    # torchrun keeps the store over a restart, with the addresses of the processes that died.
    store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    torch.distributed.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT
    )
    if backend == "gloo":
        atexit.register(_end_threads)


def _end_threads() -> None:
    if torch.distributed.is_initialized():  # a run that ended otherwise than by `leave`
        torch.distributed.destroy_process_group()


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        full = sum(g.numel() for g in bucket) + gradient.numel() > _BUCKET_ELEMENTS
        if bucket and (full or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
