"""Who runs the cells of a bench: this machine or Slurm. Before `experiment.py` in this folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from spknorm import config
from spknorm.errors import ConfigError
from spknorm.schema.marks import ABOVE_0, NOT_NEGATIVE


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Who runs the cells; the names of submitit and Slurm where they have one."""

    kind: Literal["local", "slurm"] = "local"
    max_parallel: Annotated[int | None, ABOVE_0] = None
    """Runs at a time; null: one per GPU, without a GPU cores // threads; slurm: no limit."""
    threads: Annotated[int, ABOVE_0] = 1
    """CPU threads of a run."""
    partition: str | None = None
    gpus: Annotated[int | None, NOT_NEGATIVE] = None
    """slurm: GPUs per run and node (null: 1). local: 0 keeps the runs off the GPUs."""
    nodes: Annotated[int, ABOVE_0] = 1
    """slurm: nodes of a run. With several, or several GPUs, torchrun starts its processes."""
    mem_gb: Annotated[float | None, ABOVE_0] = None
    """slurm: memory of a run on each node."""
    timeout_min: Annotated[int | None, ABOVE_0] = None
    """Minutes after which a run is stopped; null: 7 days, or what the partition allows."""
    requeue: bool = True
    """slurm: a run that reaches its limit, or whose node fails, goes back into the queue."""

    @property
    def minutes(self) -> int:
        """Minutes after which a run is stopped at the latest."""
        return 7 * 24 * 60 if self.timeout_min is None else self.timeout_min


def read_executor(entry: Any, path: Path) -> Executor:
    """Return the section `executor` of the experiment file `path`.

    Raises:
        ConfigError: An unknown key, a value of a wrong type or range, or what this kind cannot do.
    """
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{path}: `executor` must be a mapping such as {{kind: slurm}}.")
    executor = config.build(Executor, entry, path=f"{path}: executor")
    if executor.kind == "local" and executor.nodes > 1:
        raise ConfigError(f"{path}: `executor.nodes` above 1 needs `kind: slurm`.")
    return executor
