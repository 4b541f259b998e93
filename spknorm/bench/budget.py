"""What a grid needs before it is started: runs, disk, memory, time. Used by `--dry-run`.

Sizes follow from the upstream's shape and the settings (sizes.py). Time is known from runs that are
complete, here or in a `--quick` of the same file; before there is one, it is estimated from the
multiplications of a run.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spknorm.bench.cells import Cell
from spknorm.bench.sizes import (
    Shape,
    checkpoint_bytes,
    kept_checkpoints,
    memory_bytes,
    operations,
    shape_of,
)
from spknorm.errors import ConfigError
from spknorm.files import nearest_folder, read_json
from spknorm.schema import TaskConfig

ASSUMED_RATE = 200e12
"""Multiplications and additions a second of one GPU; it was measured on none."""


class Budget(NamedTuple):
    """What a grid needs.

    Attributes:
        disk_gb: Of their checkpoints, when all are complete.
        memory_gb: Of the largest run, on its device.
        hours: One after another, from runs that were measured; None before there is one.
        unknown: Upstreams whose size is not known: they are left out.
        gpu_hours: Of all runs at `ASSUMED_RATE`, an estimate.
    """

    num_runs: int
    disk_gb: float
    memory_gb: float
    hours: float | None
    unknown: tuple[str, ...]
    gpu_hours: float = 0.0


def budget(cells: Sequence[Cell], seconds: Mapping[str, float]) -> Budget:
    """Return what the cells need; `seconds` are those of one run by variant, where measured."""
    disk, memory, gpu_hours, unknown = 0.0, 0.0, 0.0, set()
    for cell in cells:
        shape = shape_of(cell.upstream.name, cell.upstream.ckpt)
        if shape is None:
            unknown.add(cell.upstream.name)
            continue
        settings, frozen = cell.config(), cell.frozen
        one = checkpoint_bytes(shape, settings, frozen=frozen)
        disk += one * kept_checkpoints(settings) / 1e9
        memory = max(memory, memory_bytes(shape, settings, frozen=frozen) / 1e9)
        gpu_hours += estimated_hours(shape, settings, frozen=frozen)
    hours = None
    if seconds:
        mean = sum(seconds.values()) / len(seconds)
        hours = sum(seconds.get(cell.variant, mean) for cell in cells) / 3600
    return Budget(len(cells), disk, memory, hours, tuple(sorted(unknown)), gpu_hours)


def estimated_hours(shape: Shape, settings: TaskConfig, *, frozen: bool) -> float:
    """Estimate the hours of a run on one GPU at `ASSUMED_RATE`, without evaluations."""
    return operations(shape, settings, frozen=frozen) / ASSUMED_RATE / 3600


def measured_seconds(cells: Iterable[Cell], out: Path) -> dict[str, float]:
    """Return the mean seconds of a run by variant, from results in `out` or its `--quick`.

    A quick run is short: its seconds are scaled by the steps that it did, so that they say at most.
    """
    found: dict[str, list[float]] = {}
    for cell in cells:
        for folder in (out, out.with_name(f"{out.name}-quick")):
            try:
                result = read_json(folder / cell.name / "result.json")
                seconds, steps = float(result["seconds"]), int(result["steps"])
            except (ConfigError, KeyError, TypeError, ValueError, OSError):
                continue
            scale = 1.0 if folder == out else cell.config().runner.total_steps / max(1, steps)
            found.setdefault(cell.variant, []).append(seconds * scale)
            break
    return {variant: sum(times) / len(times) for variant, times in found.items()}


def lines_of(budget: Budget, out: Path) -> list[str]:
    """Return the budget in words, with what does not fit."""
    free = _free_gb(out)
    lines = [f"Disk: about {_figure(budget.disk_gb)} GB of checkpoints; {free:.0f} GB are free"]
    if budget.disk_gb > free:
        lines[0] += ": they do not fit. Choose another folder (--out), or config.runner.keep"
    lines.append(f"Memory: about {_figure(budget.memory_gb)} GB on the device of a run")
    if budget.hours is None:
        lines.append(
            f"Time: {hours_words(budget.gpu_hours)} for {budget.num_runs} runs, one after another. "
            "Known better when a run, or a --quick of it, is complete"
        )
    else:
        lines.append(
            f"Time: at most about {_figure(budget.hours)} hours of one device for "
            f"{budget.num_runs} runs, one after another"
        )
    if budget.unknown:
        lines.append(f"Not counted, since their size is not known: {', '.join(budget.unknown)}")
    return lines


def hours_words(hours: float) -> str:
    """Return an estimate in words, marked as one."""
    amount = f"about {_figure(hours)}" if hours >= 0.01 else "less than 0.01"
    rate = f"{ASSUMED_RATE / 1e12:.0f} TFLOP/s"
    return f"{amount} GPU hours (an estimate: a step's operations at an assumed {rate})"


def refuse_what_cannot_fit(budget: Budget, out: Path) -> None:
    """Refuse a grid where what the runs to come keep is larger than the disk's room.

    Raises:
        ConfigError: It does not fit.
    """
    free = _free_gb(out)
    if budget.disk_gb > free:
        raise ConfigError(
            f"The {budget.num_runs} runs to come keep about {_figure(budget.disk_gb)} GB of "
            f"checkpoints, but {_figure(free)} GB are free at {out}: choose another folder "
            "(--out), or keep less of a complete run (config.runner.keep: weights or none)."
        )


def _free_gb(out: Path) -> float:
    return float(shutil.disk_usage(nearest_folder(out)).free) / 1e9


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"
