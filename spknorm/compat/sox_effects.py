"""`torchaudio.sox_effects`, which left with torchaudio 2.9: the effects that need no sox.

Channels, rate, gain, norm, pad and reverse are those of s3prl's tasks that plain arithmetic gives;
`silence` and `vad` are sox's own, and are refused by name.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional

from spknorm.compat.audio_files import load


def make_module() -> ModuleType:
    """Return what takes the module's place."""
    module = ModuleType("torchaudio.sox_effects", "The effects of sox that need no sox.")
    for function in (apply_effects_file, apply_effects_tensor, effect_names):
        setattr(module, function.__name__, function)
    return module


def effect_names() -> list[str]:
    """Return the names of the effects that there are."""
    return sorted(_EFFECTS)


def apply_effects_file(
    path: Any,
    effects: Sequence[Sequence[str]],
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
) -> tuple[torch.Tensor, int]:
    """Return a file's samples after the effects, and their rate; the signature is torchaudio's."""
    samples, rate = load(path)
    samples, rate = apply_effects_tensor(samples, rate, effects)
    return samples if channels_first else samples.T, rate


def apply_effects_tensor(
    tensor: torch.Tensor,
    sample_rate: int,
    effects: Sequence[Sequence[str]],
    channels_first: bool = True,
) -> tuple[torch.Tensor, int]:
    """Return samples after the effects, and their rate; the signature is torchaudio's.

    Raises:
        NotImplementedError: An effect of sox that is not among `effect_names()`.
    """
    samples, rate = (tensor if channels_first else tensor.T), int(sample_rate)
    for name, *options in effects:
        if name not in _EFFECTS:
            raise NotImplementedError(
                f"torchaudio has had no sox since 2.9, and its effect `{name}` is not among those "
                f"that need none ({', '.join(effect_names())}). Install torchaudio<2.9 in an "
                "environment of its own to run this s3prl task."
            )
        samples, rate = _EFFECTS[name](samples, rate, *options)
    return samples if channels_first else samples.T, rate


def _channels(samples: torch.Tensor, rate: int, number: str) -> tuple[torch.Tensor, int]:
    if int(number) == len(samples):
        return samples, rate
    return samples.mean(dim=0, keepdim=True).expand(int(number), -1).contiguous(), rate


def _rate(samples: torch.Tensor, rate: int, *options: str) -> tuple[torch.Tensor, int]:
    import torchaudio

    new = int(float(options[-1]))  # before it, sox's switches of quality
    return torchaudio.functional.resample(samples, rate, new), new


def _norm(samples: torch.Tensor, rate: int, decibels: str = "0") -> tuple[torch.Tensor, int]:
    peak = samples.abs().max() if samples.numel() else torch.tensor(0.0)
    return samples * (10 ** (float(decibels) / 20) / peak) if peak > 0 else samples, rate


def _pad(
    samples: torch.Tensor, rate: int, before: str = "0", after: str = "0"
) -> tuple[torch.Tensor, int]:
    seconds = (float(before), float(after))
    return functional.pad(samples, [round(one * rate) for one in seconds]), rate


_EFFECTS: dict[str, Callable[..., tuple[torch.Tensor, int]]] = {
    "channels": _channels,
    "gain": lambda samples, rate, decibels="0": (
        (samples * 10 ** (float(decibels) / 20)).clamp(-1, 1),
        rate,
    ),
    "norm": _norm,
    "pad": _pad,
    "rate": _rate,
    "reverse": lambda samples, rate: (samples.flip(-1), rate),
}
