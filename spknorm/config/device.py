"""Which device a process computes on, and why one that is there cannot be used.

A GPU that torch cannot use is an error with its reason, never a quiet run on the CPU.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from spknorm.errors import ConfigError, is_out_of_memory

_SIGNS_OF_A_DRIVER = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_FIRST_BF16 = 8
"""Of NVIDIA's compute capabilities: Ampere."""


def default_device() -> str:
    """Return cuda where there is a GPU that CUDA_VISIBLE_DEVICES does not hide, else cpu.

    Raises:
        ConfigError: There is one, and torch cannot use it.
    """
    import torch

    if torch.cuda.is_available():
        check_device("cuda")
        return "cuda"
    reason = None if are_hidden() else reason_unusable()
    if reason is not None:
        raise ConfigError(f"The GPU of this machine cannot be used: {reason}")
    return "cpu"


def check_device(device: str) -> None:
    """Refuse a GPU that is not there or cannot be used; loads torch only for a GPU.

    Raises:
        ConfigError: Which of these, and what to do.
    """
    if not str(device).startswith("cuda"):
        return
    import torch

    if not torch.cuda.is_available():
        reason = reason_unusable() or "torch sees no GPU here. Leave it out, or choose cpu."
        raise ConfigError(f"`--device {device}`: {reason}")
    number = int(str(device).partition(":")[2] or 0)
    count = torch.cuda.device_count()
    if number >= count:
        seen = "1 GPU" if count == 1 else f"{count} GPUs"
        visible = os.environ.get(_VISIBLE)
        left = "" if visible is None else f"; {_VISIBLE} is `{visible}`, and renumbers them"
        raise ConfigError(
            f"`--device {device}`: torch sees {seen} here, counted from 0{left}. Take a lower "
            "number, or use --device cpu."
        )
    missing = reason_without_kernels(number)
    if missing is not None:
        raise ConfigError(f"`--device {device}`: {missing}, or use --device cpu.")
    if "LOCAL_RANK" not in os.environ:  # under torchrun each process has another card
        _check_begins(device, number)


def _check_begins(device: str, number: int) -> None:
    """Refuse a card on which nothing can be put."""
    import torch

    try:
        torch.empty(1, device=f"cuda:{number}")
    except RuntimeError as error:
        reason = _first_line(error).removeprefix("CUDA error: ")
        if is_out_of_memory(error):
            reason = "it has no memory left, which others hold"
        raise ConfigError(
            f"`--device {device}`: {reason.rstrip('.')}.{freer_card(number)} Or wait, or use "
            "--device cpu."
        ) from error


def freer_card(number: int) -> str:
    """Return which other GPU has most memory free, as advice; nothing where none has more."""
    import torch

    free: dict[int, int] = {}
    for card in range(torch.cuda.device_count()):
        try:
            free[card] = torch.cuda.mem_get_info(card)[0]
        except RuntimeError:  # held by another process alone
            free[card] = 0
    best = max(free, key=lambda card: free[card])
    if best == number or free[best] <= 2 * free.get(number, 0):
        return ""
    return f" GPU {best} has {free[best] / 1e9:.1f} GB free: --device cuda:{best}."


def advice_of(error: BaseException) -> str:
    """Return what `freer_card` does about torch's error of a GPU without memory."""
    found = re.search(r"\bGPU (\d+) has a total capacity", str(error))
    return freer_card(int(found[1])) if found else ""


def are_hidden() -> bool:
    """Whether CUDA_VISIBLE_DEVICES is set to none: whoever does so wants the CPU."""
    return os.environ.get(_VISIBLE, "0").strip() in ("", "-1")


def reason_unusable() -> str | None:
    """Return why a GPU whose driver is there cannot be used, as torch says it, and what to do.

    None if there is no driver.
    """
    import torch

    if not _driver_is_there() or not torch.version.cuda:
        return None
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        visible = os.environ.get(_VISIBLE)
        reason = _first_line(error).split(" Please ")[0].rstrip(".")
        if are_hidden():
            reason = f"{_VISIBLE} is `{visible}`, which hides every GPU: unset it"
        elif visible is not None and "No CUDA GPUs" in str(error):
            reason = f"{_VISIBLE} is `{visible}`, which names none that `nvidia-smi -L` lists"
        return f"{reason}. Or use --device cpu."
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


def reason_without_kernels(number: int) -> str | None:
    """Return what to do about a card that this torch was built without kernels for; else None."""
    import torch

    major, minor = torch.cuda.get_device_capability(number)
    built = [entry for entry in torch.cuda.get_arch_list() if entry.startswith(("sm_", "compute_"))]
    for entry in built:
        kind, _, text = entry.partition("_")
        digits = text.rstrip("af")  # of kernels for one card alone
        known = int(digits[:-1]), int(digits[-1])
        if known <= (major, minor) and (kind == "compute" or known[0] == major):
            return None
    if not built:
        return None
    name = torch.cuda.get_device_name(number)
    return (
        f"this torch has no kernels for {name} (sm_{major}{minor}), only for {', '.join(built)}: "
        "install a torch that was built for it"
    )


def computes_in_bf16(number: int | None) -> bool:
    """Whether a GPU computes in bfloat16 natively."""
    import torch

    return torch.cuda.get_device_capability(number)[0] >= _FIRST_BF16


def tf32_in(device: str) -> list[str]:
    """Return where float32 is rounded to TF32 on a device: products, convolutions."""
    import torch

    kind, _, number = device.partition(":")
    if kind != "cuda" or not computes_in_bf16(int(number) if number else None):  # cards have both
        return []
    products = torch.get_float32_matmul_precision() != "highest"
    places = {"products": products, "convolutions": torch.backends.cudnn.allow_tf32}
    return [place for place, rounded in places.items() if rounded]


def check_compiler(device: str) -> None:
    """Refuse `upstream.compile` where torch.compile would have nothing to compile with.

    On a GPU triton takes CC, else gcc or clang; on the CPU torch takes CXX, else g++.

    Raises:
        ConfigError: There is no such compiler, or none that works, or Python's headers are missing.
    """
    variable, names = ("CC", ("gcc", "clang")) if device.startswith("cuda") else ("CXX", ("g++",))
    usual = next(filter(shutil.which, names), None)
    compiler = os.environ.get(variable) or usual
    if compiler is None:
        raise ConfigError(
            f"`config.upstream.compile` needs a compiler ({' or '.join(names)}, or what {variable} "
            "names), and there is none here: install one, or set it to false."
        )
    include = sysconfig.get_paths()["include"]
    try:
        subprocess.run(
            [compiler, f"-I{include}", "-E", "-x", "c", "-", "-o", os.devnull],
            input="#include <Python.h>\n",
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error)
        raise ConfigError(
            f"`config.upstream.compile` needs a compiler, but `{compiler}` does not compile for "
            f"this Python ({next(iter(said.strip().splitlines()), 'no word of it')}): install it "
            "and Python's headers (python3-dev), or set it to false."
        ) from error


def _driver_is_there() -> bool:
    return any(Path(sign).exists() for sign in _SIGNS_OF_A_DRIVER)
