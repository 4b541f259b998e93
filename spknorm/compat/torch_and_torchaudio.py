"""What s3prl expects of torch and torchaudio and newer releases took away."""

import argparse
import importlib
import io
import os
import sys
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
import torch


class AudioMetaData(NamedTuple):
    """The header of an audio file, with the fields of the former `torchaudio.info`."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def apply() -> None:
    """Import torchaudio and put back what it lacks; existing functions are left as they are."""
    # s3prl's checkpoints carry their command line as a Namespace (torch.load: weights_only=True).
    torch.serialization.add_safe_globals([argparse.Namespace])
    torchaudio = _import_torchaudio()
    # These left with torchaudio 2.9; s3prl.hub calls the first (byol_s).
    _put(torchaudio, "set_audio_backend", _ignore_backend)
    _put(torchaudio, "get_audio_backend", lambda: "soundfile")
    _put(torchaudio, "list_audio_backends", lambda: ["soundfile"])
    _put(torchaudio, "info", info)
    if not _torchcodec_works():  # since 2.9 `load` needs torchcodec and a system FFmpeg
        torchaudio.load = load
    if not hasattr(torchaudio, "sox_effects"):  # gone in 2.9; s3prl.hub (mos_prediction) imports it
        torchaudio.sox_effects = sys.modules["torchaudio.sox_effects"] = _sox_effects()


def load(
    uri: str | os.PathLike[str] | BinaryIO,
    frame_offset: int = 0,
    num_frames: int = -1,
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
) -> tuple[torch.Tensor, int]:
    """Decode a file with libsndfile (wav, flac, ogg, mp3, ...); the signature is torchaudio's.

    Returns:
        float32 samples in [-1, 1], (channels, frames), without `channels_first` (frames, channels);
        and the sampling rate in Hz.

    Raises:
        RuntimeError: Not an audio file that libsndfile can read.
    """
    with soundfile.SoundFile(_openable(uri)) as file:
        file.seek(min(frame_offset, file.frames))
        samples = file.read(frames=num_frames, dtype="float32", always_2d=True)
        rate = int(file.samplerate)
    # (frames, channels)
    return torch.from_numpy(np.ascontiguousarray(samples.T if channels_first else samples)), rate


def info(
    uri: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
) -> AudioMetaData:
    """Return the header of an audio file without decoding it; the signature is torchaudio's."""
    header = soundfile.info(_openable(uri))
    bits = "".join(filter(str.isdigit, header.subtype))
    return AudioMetaData(
        sample_rate=int(header.samplerate),
        num_frames=int(header.frames),
        num_channels=int(header.channels),
        bits_per_sample=int(bits or 0),
        encoding=str(header.subtype),
    )


def _openable(uri: str | os.PathLike[str] | BinaryIO) -> Any:
    if isinstance(uri, str | os.PathLike):
        return os.fspath(uri)
    return uri if hasattr(uri, "seek") else io.BytesIO(uri.read())


def _import_torchaudio() -> Any:
    # torchaudio 2.11 refuses a torch built for another CUDA minor, although it is ABI-stable from
    # torch 2.11 on; it looks at torch.version.cuda, and only while it is being imported.
    if "torchaudio" in sys.modules:
        return sys.modules["torchaudio"]
    cuda = torch.version.cuda
    torch.version.cuda = None
    try:
        return importlib.import_module("torchaudio")
    finally:
        torch.version.cuda = cuda


def _torchcodec_works() -> bool:
    try:
        importlib.import_module("torchcodec.decoders")
    except Exception:  # without a matching FFmpeg its import ends in errors of several types
        return False
    return True


def _put(module: Any, name: str, value: Any) -> None:
    if not hasattr(module, name):
        setattr(module, name, value)


def _ignore_backend(backend: str | None) -> None:
    """There is one back end left, so that there is nothing to choose."""


def _sox_effects() -> ModuleType:
    module = ModuleType("torchaudio.sox_effects", "Refuses: torchaudio has had no sox since 2.9.")
    for name in ("apply_effects_file", "apply_effects_tensor", "effect_names"):
        setattr(module, name, _refuse_sox(name))
    return module


def _refuse_sox(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError(
            f"torchaudio.sox_effects.{name} is gone from torchaudio, and this s3prl task needs it. "
            "Install torchaudio<2.9 in an environment of its own to run this task."
        )

    return refuse
