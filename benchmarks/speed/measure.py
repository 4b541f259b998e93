"""Figures, clocks and machines; `alternate` lets plain functions take turns.

Whole training loops take turns in `relay.py`.
"""

import datetime
import importlib.metadata
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch  # imported where needed: a relay begins a process for each loop

ROUNDS = 5


def _processor_seconds() -> float:
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + waited_for.ru_utime + waited_for.ru_stime


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": _processor_seconds}
_clock = ["wall"]


def use_clock(name: str) -> None:
    """Measure time on the wall, or the processor's seconds in one thread.

    The latter is for a machine that others use, too: waiting for them does not count.
    """
    _clock[0] = name
    if name == "cpu":
        import torch

        torch.set_num_threads(1)


def clock_name() -> str:
    """Return which clock is used."""
    return _clock[0]


def now() -> float:
    """Return the clock's seconds."""
    return CLOCKS[_clock[0]]()


@dataclass
class Figure:
    """One number against its target.

    Attributes:
        name: What was measured.
        value: The number, None if it could not be measured.
        target: What it should be, with its direction: at least or at most.
        at_least: The direction.
        unit: Of the number.
        note: What has to be known of it; why it was missed or not measured.
        details: Medians and every single time, in seconds.
    """

    name: str
    value: float | None
    target: float | None = None
    at_least: bool = True
    unit: str = "times"
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Met, missed, or why there is nothing to judge."""
        if self.value is None:
            return "not measured"
        if self.target is None:
            return "-"
        good = self.value >= self.target if self.at_least else self.value <= self.target
        return "met" if good else "missed"

    def as_json(self) -> dict[str, Any]:
        """Everything, for the JSON line."""
        return {**asdict(self), "verdict": self.verdict}


def alternate(
    contenders: Mapping[str, Callable[[], Any]], *, rounds: int = ROUNDS, warmup: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of each call, the contenders taking turns: A B C A B C ..."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warmup + rounds):
        for name, call in contenders.items():
            started = now()
            call()
            if number >= warmup:
                seconds[name].append(now() - started)
    return seconds


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def summary(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return medians and all times, rounded, for a figure's details."""
    return {
        name: {
            "median_s": float(f"{median(values):.4g}"),
            "all_s": [float(f"{v:.4g}") for v in values],
        }
        for name, values in seconds.items()
    }


def matrix_rate(dtype: "torch.dtype", *, device: str = "cpu", size: int = 0) -> float:
    """Return the rate of a large matrix product in FLOP/s: the median of five."""
    import torch

    size = size or (8192 if device.startswith("cuda") else 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        a @ b
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return 2 * size**3 / median(alternate({"product": multiply}, warmup=2)["product"])


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return hardware, versions and load, without anything that names the machine."""
    import torch

    names = ("torch", "torchaudio", "s3prl", "transformers", "numpy")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "clock": _clock[0],
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in names},
        "matrix_gflops": {
            str(dtype).removeprefix("torch."): round(matrix_rate(dtype, device=device) / 1e9, 1)
            for dtype in (torch.float32, torch.bfloat16)
        },
    }


def _processor() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        yield from path.read_text().splitlines()
