"""Where a bfloat16 step on the CPU goes, by torch's profiler, and what kept memory spares it."""

import contextlib
import multiprocessing
import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from speed.finetune import batch_of, size_of
from speed.loops import our_loop
from speed.measure import Figure, alternate, median, summary
from speed.world import Corpus, make_hubert
from spknorm.upstreams.fast.convolution import convolve
from spknorm.upstreams.fast.memory import keep_freed_memory

_WARMUP, _PROFILED = 5, 4  # steps; of those profiled the fastest counts
_PARTS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "transforms of the positional convolution": ("aten::_fft_r2c", "aten::_fft_c2r"),
    "attention's products and the transforms' own": ("aten::bmm", "aten::baddbmm"),
    "casts and copies": ("aten::copy_",),
}


class _EnoughError(Exception):
    """All steps were seen."""


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the parts of an emotion step with the front end cached, and its page faults."""
    shape, lengths = size_of(quick=quick, short=short)
    ckpt = make_hubert(folder / f"hubert-{shape['layers']}.pt", shape)
    corpus, batch = batch_of(folder / f"finetune-{sum(lengths)}", lengths)
    for kept in (False, True):  # each in a process of its own: what is kept is kept to its end
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            faults, seconds = process.submit(
                _profiled, ckpt, corpus, batch, folder / "cache", kept
            ).result()  # fmt: skip
        how = "memory kept" if kept else "memory given back"
        yield Figure(f"page faults of a step, {how}", faults, unit="")
    whole = sum(seconds.values())
    for part, names in _PARTS.items():
        yield Figure(
            f"bfloat16 step, part of {part}", sum(seconds.get(name, 0) for name in names) / whole,
            unit="of the time", note=f"of {whole:.2f} s under the profiler",
        )  # fmt: skip
    yield from _positional_convolution(shape["dim"], lengths, quick=quick)


def _profiled(
    ckpt: Path, corpus: Corpus, batch: Sequence[int], cache: Path, kept: bool
) -> tuple[int, dict[str, float]]:
    """Return the page faults of a step, and the fastest step's seconds by operation."""
    faults: list[int] = []
    profilers: list[Any] = []

    def tick() -> None:
        if profilers:
            profilers[-1].stop()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        if len(profilers) == _PROFILED:
            raise _EnoughError
        if len(faults) > _WARMUP:
            profilers.append(profile(activities=[ProfilerActivity.CPU]))
            profilers[-1].start()

    with contextlib.suppress(_EnoughError):
        our_loop(
            ckpt, corpus, tick, batch=batch, strategy="none", cache=cache,
            precision="bf16", upstream={"keep_freed_memory": kept},
        )  # fmt: skip
    seconds = min((_seconds(profiler) for profiler in profilers), key=lambda s: sum(s.values()))
    return faults[_WARMUP] - faults[_WARMUP - 1], seconds


def _seconds(profiler: Any) -> dict[str, float]:
    return {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}


def _positional_convolution(dim: int, lengths: Sequence[float], *, quick: bool) -> Iterator[Figure]:
    """Yield what the positional convolution costs multiplied out over what it costs here."""
    keep_freed_memory()  # as in training
    frames = [int(50 * length) for length in lengths]
    module = nn.Conv1d(dim, dim, 128, padding=64, groups=16, bias=False)

    def multiplied_out(x: Tensor) -> Tensor:
        weight = module.weight.to(x.dtype)
        parts = [
            module._conv_forward(part.T[None], weight, None) for part in torch.split(x, frames)
        ]
        return torch.cat([part[0, :, :-1].T for part in parts])

    def by_transforms(x: Tensor) -> Tensor:
        return convolve(x, frames, module.weight)

    def step(way: Callable[[Tensor], Tensor], x: Tensor) -> None:
        torch.autograd.backward(way(x).float().sum())

    for kind in (torch.float32, torch.bfloat16):
        x = torch.randn(sum(frames), dim, dtype=kind, requires_grad=True)
        times = alternate(
            {way.__name__: partial(step, way, x) for way in (multiplied_out, by_transforms)},
            rounds=2 if quick else 11, warmup=3,
        )  # fmt: skip
        yield Figure(
            f"positional convolution, {str(kind).removeprefix('torch.')}, forward and backward, "
            "multiplied out over by transforms",
            median(times["multiplied_out"]) / median(times["by_transforms"]),
            details=summary(times),
        )  # fmt: skip
