"""Who runs the cells of a bench: this machine or Slurm. Before `experiment.py` in this folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spknorm import config
from spknorm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Who runs the cells; the names of submitit and Slurm where they have one."""

    kind: str = "local"
    """local or slurm."""
    max_parallel: int | None = None
    """Runs at a time; null: one per GPU, without a GPU cores // threads; slurm: no limit."""
    threads: int = 1
    """CPU threads of a run."""
    partition: str | None = None
    gpus: int | None = None
    """slurm: GPUs per run and node (null: 1). local: 0 keeps the runs off the GPUs."""
    nodes: int = 1
    """slurm: nodes of a run. With several, or several GPUs, torchrun starts its processes."""
    mem_gb: float | None = None
    """slurm: memory of a run on each node."""
    timeout_min: int | None = None
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
        ConfigError: An unknown key, a value of a wrong type, or what this kind cannot do.
    """
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{path}: `executor` must be a mapping such as {{kind: slurm}}.")
    executor = config.build(Executor, entry, path=f"{path}: executor")
    kind = executor.kind
    if kind not in ("local", "slurm"):
        raise ConfigError(f"{path}: `executor.kind` must be local or slurm, but is `{kind}`.")
    for key in ("threads", "nodes", "timeout_min", "max_parallel"):
        value = getattr(executor, key)
        if value is not None and value < 1:
            raise ConfigError(f"{path}: `executor.{key}` must be 1 or more, but is {value}.")
    if executor.gpus is not None and executor.gpus < 0:
        raise ConfigError(f"{path}: `executor.gpus` must be 0 or more, but is {executor.gpus}.")
    if executor.mem_gb is not None and not 0 < executor.mem_gb < float("inf"):
        raise ConfigError(
            f"{path}: `executor.mem_gb` must be above 0 and finite, but is {executor.mem_gb:g}."
        )
    if kind == "local" and executor.nodes > 1:
        raise ConfigError(f"{path}: `executor.nodes` above 1 needs `kind: slurm`.")
    return executor
