"""Where a bfloat16 step on the CPU goes, by torch's profiler, and what kept memory spares it."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from speed.finetune import batch_of, size_of
from speed.loops import our_loop
from speed.measure import Figure
from speed.world import make_hubert

_PROFILED, _LAST = 6, 7
_PARTS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "transforms of the positional convolution": ("aten::_fft_r2c", "aten::_fft_c2r"),
    "attention's products and the transforms' own": ("aten::bmm", "aten::baddbmm"),
    "casts and copies": ("aten::copy_",),
}


class _EnoughError(Exception):
    """All steps were seen."""


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the parts of an emotion step with the front end cached, and its page faults.

    The run that gives memory back comes first: what is kept is kept until the process ends.
    """
    shape, lengths = size_of(quick=quick, short=short)
    ckpt = make_hubert(folder / f"hubert-{shape['layers']}.pt", shape)
    corpus, batch = batch_of(folder / f"finetune-{sum(lengths)}", lengths)
    for kept in (False, True):
        faults: list[int] = []
        profiler = profile(activities=[ProfilerActivity.CPU])

        def tick(faults: list[int] = faults, profiler: Any = profiler) -> None:
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
            if len(faults) == _PROFILED:
                profiler.start()
            if len(faults) == _LAST:
                profiler.stop()
                raise _EnoughError

        with contextlib.suppress(_EnoughError):
            our_loop(
                ckpt, corpus, tick, batch=batch, strategy="none", cache=folder / "cache",
                precision="bf16", upstream={"keep_freed_memory": kept},
            )  # fmt: skip
        how = "memory kept" if kept else "memory given back"
        yield Figure(f"page faults of a step, {how}", faults[-2] - faults[-3], unit="")
    seconds = {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}
    whole = sum(seconds.values())
    for part, names in _PARTS.items():
        yield Figure(
            f"bfloat16 step, part of {part}", sum(seconds[name] for name in names) / whole,
            unit="of the time", note=f"of {whole:.2f} s under the profiler",
        )  # fmt: skip
