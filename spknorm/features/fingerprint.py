"""What a cached feature is known by: the upstream that computed it, and the audio it heard."""

import dataclasses
import hashlib
import itertools
import types
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from spknorm.audio import AudioIndex
from spknorm.batches import fixed_crop
from spknorm.corpora.records import Utterance
from spknorm.files import sha256_of


def fingerprint(*modules: nn.Module) -> str:
    """Return a hash of all that decides what the modules compute: structure, settings, weights."""
    digest = hashlib.sha256()
    for module in modules:
        for name, part in module.named_modules():
            kind = f"{type(part).__module__}.{type(part).__qualname__}"
            digest.update(f"{name} {kind} {part.extra_repr()} {_settings(part)}\n".encode())
        for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def content_keys(utterances: Sequence[Utterance], max_seconds: float | None) -> list[str]:
    """Return the key of each utterance's audio: its file's content, and where it is cropped."""
    hashes = AudioIndex.shared().hashes([utterance.path for utterance in utterances])
    return [
        _content_key(utterance, key, max_seconds)
        for utterance, key in zip(utterances, hashes, strict=True)
    ]


def _content_key(utterance: Utterance, key: str, max_seconds: float | None) -> str:
    if utterance.audio.suffix:
        key = sha256_of(f"{key} {utterance.audio.suffix}".encode())
    if max_seconds is not None:
        key = sha256_of(f"{key} {max_seconds} {fixed_crop(utterance)}".encode())
    return key


def _settings(module: nn.Module) -> list[tuple[str, str]]:
    """Return a module's plain attributes: those that its parameters and its class don't tell."""
    return sorted(
        (name, text)
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "training" and (text := _plain(value)) is not None
    )


def _plain(value: Any) -> str | None:
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType)):
        return value.__qualname__
    if isinstance(value, (list, tuple)):
        return repr([_plain(item) for item in value])
    if isinstance(value, dict):
        return repr([(repr(key), _plain(item)) for key, item in sorted(value.items(), key=repr)])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    return None
