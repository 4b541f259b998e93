"""Software, device, memory, disk and permissions."""

import os
import platform
import shutil
import tempfile
from importlib import import_module, metadata
from pathlib import Path

from spknorm.config import device
from spknorm.doctor import Check
from spknorm.errors import ConfigError
from spknorm.files import nearest_folder
from spknorm.schema import RunnerConfig

_PACKAGES = ("torch", "torchaudio", "s3prl", "soundfile", "numpy", "scipy", "librosa")
_LEAST_DISK_GB = 1.0
_ADVISED_DISK_GB = 20.0  # two checkpoints of a fine-tuned HuBERT Large with Adam's moments: 8 GB
_ADVISED_MEMORY_GB = 8.0


def check_machine(folder: Path) -> list[Check]:
    """Look at what every run needs, whatever its corpora."""
    return [
        Check("python", "ok", platform.python_version()),
        *map(_check_package, _PACKAGES),
        _check_s3prl(),
        _check_device(),
        _check_memory(),
        check_disk(folder),
        check_writing(folder),
    ]


def check_disk(folder: Path) -> Check:
    """Say how much room there is where `folder` is or would be."""
    free = shutil.disk_usage(nearest_folder(folder)).free / 1e9
    found = f"{free:.1f} GB free for {folder}"
    if free < _LEAST_DISK_GB:
        return Check("disk", "fail", f"{found}. A checkpoint would not fit: choose another with -p")
    if free < _ADVISED_DISK_GB:
        advice = f"HuBERT Large wants {_ADVISED_DISK_GB:.0f}"
        return Check("disk", "warn", f"{found}. {advice}; runner.max_keep: 1 saves some")
    return Check("disk", "ok", found)


def check_writing(folder: Path) -> Check:
    """Try to write where `folder` is or would be."""
    place = nearest_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        advice = "change its permissions or choose another folder with -p"
        return Check(
            "permission", "fail", f"{place} cannot be written ({error.strerror}): {advice}"
        )
    return Check("permission", "ok", f"{place} can be written")


def _check_package(name: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "fail", f"not installed: pip install {name}")


def _check_s3prl() -> Check:
    name = "s3prl's parts"
    try:
        import_module("spknorm.compat")  # puts back what s3prl needs
        hub = import_module("s3prl.hub")
    except Exception as error:  # whatever a library that does not fit raises
        return Check(name, "fail", f"cannot be imported: {type(error).__name__}: {error}")
    return Check(name, "ok", f"imported; {len(hub.options())} upstreams")


def _check_device() -> Check:
    try:
        import torch
    except Exception as error:  # as above
        return Check("device", "fail", f"torch cannot be imported: {type(error).__name__}: {error}")
    if not torch.cuda.is_available():
        if not device.are_hidden() and (reason := device.reason_unusable()) is not None:
            return Check("device", "fail", reason.rstrip("."))
        hidden = " (CUDA_VISIBLE_DEVICES hides GPUs)" if device.are_hidden() else ""
        found = f"CPU only{hidden}, {os.cpu_count()} cores"
        return Check("device", "warn", f"{found}. Fine for the demo, slow for a full HuBERT")
    count = torch.cuda.device_count()
    found = ", ".join(map(_card, range(count)))
    if (reason := device.reason_without_kernels(0)) is not None:
        usable = [n for n in range(count) if device.reason_without_kernels(n) is None]
        other = f"cuda:{usable[0]}" if usable else "cpu"
        return Check("device", "fail", f"{found}: {reason}, or use --device {other}")
    try:
        device.check_device("cuda")
    except ConfigError as error:
        return Check("device", "fail", f"{found}: {str(error).rstrip('.')}")
    free, total = torch.cuda.mem_get_info()
    if free < total / 2:
        advice = device.freer_card(0) or " Wait, or expect smaller pieces of a batch"
        return Check("device", "warn", f"{found}: others hold most of it.{advice.rstrip('.')}")
    for number in range(1, count):
        if (reason := device.reason_without_kernels(number)) is not None:
            return Check("device", "warn", f"{found}: leave out cuda:{number}, since {reason}")
    return Check("device", "ok", found)


def _card(number: int) -> str:
    """Return a card's name and memory, and what is left of that where others hold most of it."""
    import torch

    total = torch.cuda.get_device_properties(number).total_memory
    try:
        free = torch.cuda.mem_get_info(number)[0]
    except RuntimeError:  # another process has it alone
        free = total
    left = f", {free / 1e9:.1f} GB free" if free < total / 2 else ""
    return f"{torch.cuda.get_device_name(number)} ({total / 1e9:.0f} GB{left})"


def check_precision(run: RunnerConfig) -> list[Check]:
    """Say what a run computes in on the GPU; nothing where there is none."""
    import torch

    from spknorm.method.optim.precision import precision_of

    if not torch.cuda.is_available():
        return []
    try:
        found = precision_of(run, torch.device("cuda"))
    except ConfigError as error:
        return [Check("precision", "fail", str(error).rstrip("."))]
    said = f"{found}, by runner.precision auto" if run.precision == "auto" else found
    return [Check("precision", "ok", said)]


def _check_memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    found = f"{total:.0f} GB"
    if total < _ADVISED_MEMORY_GB:
        advice = f"less than {_ADVISED_MEMORY_GB:.0f}: set datarc.pre_load: false"
        return Check("memory", "warn", f"{found}, {advice}")
    return Check("memory", "ok", found)
