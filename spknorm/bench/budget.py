"""What a grid needs before it is started: runs, disk, memory, time. Used by `--dry-run`.

Sizes follow from the upstream's shape and the settings; what a frame of a layer takes was measured
(docs/performance.md). Time is known from runs that are complete, here or in a `--quick` of the
same file; before there is one, it is estimated from the multiplications of a step.
"""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spknorm import config
from spknorm.bench.cells import TASK, Cell
from spknorm.config.memory import LAYER_BYTES
from spknorm.errors import ConfigError
from spknorm.files import read_json
from spknorm.registry import config_path
from spknorm.schema import TaskConfig

_WEIGHT = 4  # bytes: weights stay float32 in every precision
_STATE_BYTES = {"SGD": 0, "RMSprop": 4, "Adafactor": 0.02}  # per weight; others: two moments
_OF_PRECISION = {"fp32": 1.0, "bf16": 0.5, "fp16": 0.5, "auto": 1.0}  # auto: at most
_RECOMPUTED = 1 / 6  # of them, with upstream.checkpoint_activations
_FLOPS = 6  # per weight and frame: forward once, backward twice, two each
_TAP_OVER_NONE = 1.99
"""A TAP iteration over a step of the emotion loss alone, measured (docs/performance.md)."""
ASSUMED_RATE = 200e12
"""Multiplications and additions a second of one GPU; it was measured on none."""
_PROCESS_GB = 0.7  # Python with torch and s3prl
_FRAMES_PER_SECOND, _SECONDS = 50, {"demo": 1.4}
_MEAN_SECONDS = 4.5  # of an utterance of IEMOCAP
_SPEAKERS = {"demo": 80}
_MANY_SPEAKERS = 1251  # VoxCeleb1


class Shape(NamedTuple):
    """What decides about an upstream's size."""

    layers: int
    width: int
    parameters: int


class Budget(NamedTuple):
    """What a grid needs.

    Attributes:
        num_runs: How many runs.
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


_KNOWN = (  # a part of the name on s3prl's hub, layers, width; the first that is found counts
    ("distilhubert", 2, 768),
    ("xls_r_2b", 48, 1920),
    ("xls_r_1b", 48, 1280),
    ("xlarge", 48, 1280),
    ("extra_large", 48, 1280),
    ("large", 24, 1024),
    ("xls_r", 24, 1024),
    ("xlsr", 24, 1024),
    ("hubert", 12, 768),
    ("wav2vec2", 12, 768),
    ("wavlm", 12, 768),
    ("data2vec", 12, 768),
    ("unispeech", 12, 768),
)
_OWN = {"spknorm_demo_hubert": Shape(3, 64, 190_000)}


def shape_of(upstream: str, ckpt: str | None = None) -> Shape | None:
    """Return an upstream's shape by its name, or by the size of its file; None if unknown."""
    if upstream in _OWN:
        return _OWN[upstream]
    if upstream.startswith("hf:"):
        ckpt = upstream.removeprefix("hf:")
    if ckpt is not None and Path(ckpt).exists():
        path = Path(ckpt)
        files = [path] if path.is_file() else list(path.rglob("*"))
        parameters = sum(one.stat().st_size for one in files if one.is_file()) // _WEIGHT
        width = 1024 if parameters > 200e6 else 768 if parameters > 50e6 else 128
        return Shape(max(1, round(parameters / (12 * width**2))), width, parameters)
    for part, layers, width in _KNOWN:
        if re.search(part, upstream):
            position = width * (width // 16) * 128
            return Shape(layers, width, 12 * layers * width**2 + position + 4_700_000)
    return None


def budget(cells: Sequence[Cell], seconds: Mapping[str, float]) -> Budget:
    """Return what the cells need.

    Args:
        cells: Of one grid.
        seconds: Of one run, by variant, where runs were measured.
    """
    defaults = config.load_yaml(config_path(TASK))
    disk, memory, gpu_hours, unknown = 0.0, 0.0, 0.0, set()
    for cell in cells:
        shape = shape_of(cell.upstream, cell.upstream_ckpt)
        if shape is None:
            unknown.add(cell.upstream)
            continue
        settings = config.parse(config.merge(defaults, cell.changes))
        disk += (
            checkpoint_bytes(shape, settings, frozen=cell.frozen) * kept_checkpoints(settings) / 1e9
        )
        memory = max(memory, memory_bytes(shape, settings, frozen=cell.frozen) / 1e9)
        gpu_hours += estimated_hours(shape, settings, frozen=cell.frozen)
    hours = None
    if seconds:
        mean = sum(seconds.values()) / len(seconds)
        hours = sum(seconds.get(cell.variant, mean) for cell in cells) / 3600
    return Budget(len(cells), disk, memory, hours, tuple(sorted(unknown)), gpu_hours)


def checkpoint_bytes(shape: Shape, settings: TaskConfig, *, frozen: bool) -> float:
    """Return the size of one checkpoint: what trains, with its optimiser's state."""
    moved = _heads(shape, settings) + (0 if frozen else shape.parameters)
    return moved * (_WEIGHT + _state(settings))


def memory_bytes(shape: Shape, settings: TaskConfig, *, frozen: bool) -> float:
    """Return the peak of one run: weights, gradients, states, what a step may undo, activations."""
    data, method = settings.downstream_expert.datarc, settings.downstream_expert.spknorm
    heads = _heads(shape, settings)
    moved = heads + (0 if frozen else shape.parameters)
    held: float = _WEIGHT * (shape.parameters + heads) + (_WEIGHT + _state(settings)) * moved
    if method.strategy != "none" and method.update != "reversal":
        held += (_WEIGHT + _state(settings)) * moved  # stage 1 can be taken back
    seconds = data.train_batch_size * _SECONDS.get(data.corpus, _MEAN_SECONDS)
    if method.strategy == "TAP":  # one piece of the speaker batch at a time
        speakers = settings.downstream_expert.speaker_corpus
        piece = min(speakers.batch_size, speakers.micro_batch_size or speakers.batch_size)
        crop = _SECONDS.get(speakers.corpus, speakers.max_seconds or _MEAN_SECONDS)
        seconds = max(seconds, piece * crop)
    frames = seconds * _FRAMES_PER_SECOND
    precision = "fp16" if settings.runner.fp16 else settings.runner.precision
    each: float = (
        LAYER_BYTES * _OF_PRECISION[precision] * shape.width * (1 if frozen else shape.layers)
    )
    if settings.upstream.checkpoint_activations:
        each *= _RECOMPUTED
    return held + frames * each + _PROCESS_GB * 1e9


def estimated_hours(shape: Shape, settings: TaskConfig, *, frozen: bool) -> float:
    """Estimate the hours of a run on one GPU at `ASSUMED_RATE`, without evaluations.

    Six operations per weight and frame of the emotion batch, two where the upstream is frozen (at
    most: what is cached is computed once), times what an adversary costs.
    """
    run, data = settings.runner, settings.downstream_expert.datarc
    seconds = data.train_batch_size * _SECONDS.get(data.corpus, _MEAN_SECONDS)
    frames = seconds * _FRAMES_PER_SECOND * run.gradient_accumulate_steps
    operations = _FLOPS * shape.parameters * frames / (3 if frozen else 1)
    if settings.downstream_expert.spknorm.strategy != "none":
        operations *= _TAP_OVER_NONE
    return run.total_steps * operations / ASSUMED_RATE / 3600


def measured_seconds(cells: Iterable[Cell], out: Path) -> dict[str, float]:
    """Return the mean seconds of a run by variant, from results in `out` or its `--quick`.

    A quick run is short: its seconds are scaled by the steps that it did, so that they say at most.
    """
    found: dict[str, list[float]] = {}
    defaults = config.load_yaml(config_path(TASK))
    for cell in cells:
        for folder in (out, out.with_name(f"{out.name}-quick")):
            path = folder / cell.name / "result.json"
            if not path.is_file():
                continue
            try:
                result = read_json(path)
                seconds, steps = float(result["seconds"]), int(result["steps"])
            except (ConfigError, KeyError, TypeError, ValueError, OSError):
                continue
            wanted = config.parse(config.merge(defaults, cell.changes)).runner.total_steps
            scale = wanted / max(1, steps) if folder != out else 1.0
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
    """Refuse a grid before its first run where what it keeps is larger than the disk's room.

    Args:
        budget: Of the runs that are still to come.
        out: Folder of the bench.

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
    existing = next(place for place in (out.absolute(), *out.absolute().parents) if place.is_dir())
    return float(shutil.disk_usage(existing).free) / 1e9


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _state(settings: TaskConfig) -> float:
    return _STATE_BYTES.get(settings.optimizer.torch_optim_name, 8)


def kept_checkpoints(settings: TaskConfig) -> float:
    """How many checkpoints stay when a run is complete, in whole ones with the moments."""
    run = settings.runner
    if run.keep == "all":
        return run.max_keep + 1  # and dev-best.ckpt
    weights = _WEIGHT / (_WEIGHT + _state(settings))
    return {"last": 1 + weights, "best": 1, "weights": weights, "none": 0}[run.keep]


def _heads(shape: Shape, settings: TaskConfig) -> int:
    """Weights of the heads and of the gate."""
    expert = settings.downstream_expert
    heads = shape.width * expert.modelrc.projector_dim
    if expert.spknorm.strategy == "none":
        return heads
    widths = (shape.width, *expert.modelrc.speaker_head.hidden)
    speakers = expert.speaker_corpus.max_speakers or _SPEAKERS.get(
        expert.speaker_corpus.corpus, _MANY_SPEAKERS
    )
    heads += sum(a * b for a, b in zip(widths, (*widths[1:], speakers), strict=True))
    if expert.spknorm.strategy == "SNP":
        gate = expert.modelrc.gate
        width = gate.width or shape.width
        heads += 2 * shape.width * width + (gate.depth - 1) * width**2
    return heads
