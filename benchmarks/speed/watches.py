"""What is watched in a step on a GPU in place of its time: waits, and what the profiler sees.

Each is a `relay.Watch`: entered before a step, left after it, once the GPU is done.
"""

import contextlib
import re
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

KINDS = {
    "attention": r"flash|fmha|attention",
    "positional convolution": r"cudnn|conv(?!ert)|[dw]grad|fprop|nchw|nhwc|weight_norm|fft",
    "matrix products": r"nvjet|gemm|gemv|cublas|cutlass|splitk",
    "optimiser and copies": r"multi_tensor_apply|adam|memcpy|memset|copy_kernel",
    "everything else": "",
}
"""What names of kernels say of what they are for; the first that is found holds."""
_ANNOTATION = re.compile(r"^(Optimizer\.|ProfilerStep|autograd::|## )")
_WAITS = re.compile(r"Synchronize|Memcpy")


@contextlib.contextmanager
def waits() -> Iterator[list[str]]:
    """Give the operations of a step at which the host waited, as torch's sync debug mode warns."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield told
        finally:
            torch.cuda.set_sync_debug_mode("default")
    every = [str(warning.message) for warning in caught]  # and one of the mode itself
    told += [message for message in every if message.startswith("called a synchronizing")]


@contextlib.contextmanager
def profile() -> Iterator[dict[str, Any]]:
    """Give what torch's profiler sees of a step: see `seen`. Operations of the CPU are left out."""
    found: dict[str, Any] = {}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        started = time.perf_counter()
        yield found
        taken = 1e3 * (time.perf_counter() - started)
    found.update(seen(profiler.events() or [], taken))


def seen(events: Iterable[Any], taken: float) -> dict[str, Any]:
    """Return what a step came to, of the profiler's events.

    Args:
        events: Kernels, copies and calls of the CUDA runtime. What torch annotates on the device,
            such as an optimiser's step, spans kernels that are counted by themselves, and is left
            out.
        taken: ms from the step's begin to its end.

    Returns:
        kernels and copies, their number; device_ms, in which at least one of them ran; host_ms, the
        step without the calls in which the host waits or copies; kinds, ms by kind.
    """
    spans: list[tuple[float, float]] = []
    kinds = dict.fromkeys(KINDS, 0.0)
    copies, waited = 0, 0.0
    for event in events:
        start, end = event.time_range.start, event.time_range.end
        if event.device_type.name != "CUDA":
            waited += (end - start) if _WAITS.search(event.name) else 0.0
        elif not (event.is_user_annotation or _ANNOTATION.match(event.name)):
            spans.append((start, end))
            copies += event.name.startswith(("Memcpy", "Memset"))
            kinds[kind_of(event.name)] += (end - start) / 1e3
    busy = reached = 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return {
        "kernels": len(spans) - copies,
        "copies": copies,
        "device_ms": busy / 1e3,
        "host_ms": taken - waited / 1e3,
        "kinds": kinds,
    }


def kind_of(kernel: str) -> str:
    """Return which of `KINDS` a kernel is."""
    return next(kind for kind, names in KINDS.items() if re.search(names, kernel, re.IGNORECASE))
