"""What a run computes in: fp32, bf16 or fp16.

Training and evaluation ask here, so that a checkpoint is judged as it was trained.
"""

import contextlib

import torch

from spknorm.config.device import computes_in_bf16
from spknorm.errors import ConfigError
from spknorm.schema import RunnerConfig

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def precision_of(run: RunnerConfig, device: torch.device) -> str:
    """Return fp32, bf16 or fp16: what a run computes in on `device`.

    Raises:
        ConfigError: bf16 was asked for, on a GPU that does not compute in it.
    """
    if run.fp16:
        return "fp16"
    native = device.type == "cuda" and computes_in_bf16(device.index)
    if run.precision == "auto":
        return "bf16" if native else "fp32"
    if run.precision == "bf16" and device.type == "cuda" and not native:
        name = torch.cuda.get_device_name(device)
        raise ConfigError(
            f"`config.runner.precision` is bf16, in which {name} does not compute natively: choose "
            "auto, fp32 or fp16."
        )
    return run.precision


def evaluation_precision(run: RunnerConfig, device: torch.device) -> str:
    """Return fp32 or bf16: what dev and test are predicted in.

    A GPU predicts as it trains, unless that is fp16, which overflows where a loss cannot say so;
    the CPU in float32.
    """
    trained = precision_of(run, device)
    return trained if device.type == "cuda" and trained == "bf16" else "fp32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context in which `device` computes in fp32, bf16 or fp16."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, DTYPES[precision])
