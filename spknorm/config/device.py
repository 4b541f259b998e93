"""Which device a process computes on, and why one that is there cannot be used.

A GPU that torch cannot use is an error with its reason, never a quiet run on the CPU.
"""

from pathlib import Path

from spknorm.errors import ConfigError

_SIGNS_OF_A_DRIVER = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
_FIRST_BF16 = 8
"""Of NVIDIA's compute capabilities: Ampere."""


def default_device() -> str:
    """Return cuda where there is a GPU, else cpu.

    Raises:
        ConfigError: There is one, and torch cannot use it.
    """
    import torch

    if torch.cuda.is_available():
        check_device("cuda")
        return "cuda"
    reason = reason_unusable()
    if reason is not None:
        raise ConfigError(f"The GPU of this machine cannot be used: {reason} Or use --device cpu.")
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
        raise ConfigError(f"`--device {device}`: torch sees {seen} here, counted from 0.")
    missing = reason_without_kernels(number)
    if missing is not None:
        raise ConfigError(f"`--device {device}`: {missing}, or use --device cpu.")


def reason_unusable() -> str | None:
    """Return why a GPU whose driver is there cannot be used, as torch says it; None if none is."""
    import torch

    if not _driver_is_there() or not torch.version.cuda:
        return None
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return f"{str(error).strip().splitlines()[0].split(' Please ')[0].rstrip('.')}."
    return None


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
    """Return where float32 is rounded to TF32 on a device of this type: products, convolutions."""
    import torch

    if device != "cuda" or not computes_in_bf16(None):  # the same cards have both
        return []
    products = torch.get_float32_matmul_precision() != "highest"
    places = {"products": products, "convolutions": torch.backends.cudnn.allow_tf32}
    return [place for place, rounded in places.items() if rounded]


def _driver_is_there() -> bool:
    return any(Path(sign).exists() for sign in _SIGNS_OF_A_DRIVER)
