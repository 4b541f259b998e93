"""`load`, `info` and `save` as torchaudio had them before 2.9, by libsndfile.

`torch_and_torchaudio` puts them back where torchaudio's own do not work.
"""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
import torch

_SUBTYPES = {
    ("PCM_S", 16): "PCM_16",
    ("PCM_S", 24): "PCM_24",
    ("PCM_S", 32): "PCM_32",
    ("PCM_U", 8): "PCM_U8",
    ("PCM_F", 32): "FLOAT",
    ("PCM_F", 64): "DOUBLE",
    ("ULAW", 8): "ULAW",
    ("ALAW", 8): "ALAW",
}
"""libsndfile's names of torchaudio's encodings and their bits, in wav files."""
_DEFAULT_BITS = {"PCM_S": 32, "PCM_U": 8, "PCM_F": 32, "ULAW": 8, "ALAW": 8}
_OF_DTYPE = {
    torch.uint8: ("PCM_U", 8),
    torch.int16: ("PCM_S", 16),
    torch.int32: ("PCM_S", 32),
    torch.float32: ("PCM_F", 32),
    torch.float64: ("PCM_F", 64),
}
"""What torchaudio's wav files held unless told otherwise."""


class AudioMetaData(NamedTuple):
    """The header of an audio file, with the fields of the former `torchaudio.info`."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


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


def save(
    uri: str | os.PathLike[str] | BinaryIO,
    src: torch.Tensor,
    sample_rate: int,
    channels_first: bool = True,
    format: str | None = None,
    encoding: str | None = None,
    bits_per_sample: int | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
    compression: float | int | None = None,
) -> None:
    """Write samples to a file; the signature is torchaudio's, and so are the defaults.

    `src` is (channels, frames), without `channels_first` (frames, channels): floats in [-1, 1], or
    int16, int32, uint8. Unless given, the format (wav, flac, ogg, mp3, ...) is that of the path's
    suffix, and a wav's encoding (PCM_S, PCM_U, PCM_F, ULAW, ALAW) and bits are those of `src`.
    `buffer_size`, `backend` and `compression` are ignored.

    Raises:
        ValueError: `src` has not two dimensions, or a type that no file holds.
        RuntimeError: A format or an encoding that libsndfile cannot write.
    """
    if src.ndim != 2:
        raise ValueError(f"Expected 2D Tensor, got {src.ndim}D.")
    if src.dtype not in _OF_DTYPE:
        raise ValueError(f"Samples of type {src.dtype} cannot be saved: convert to float32.")
    is_path = isinstance(uri, (str, os.PathLike))
    name = format or (Path(os.fspath(uri)).suffix[1:] if is_path else "")  # type: ignore[arg-type]  # a path
    if not name:
        raise RuntimeError("`format` is required for a file object or a path without a suffix.")
    kind = {"vorbis": "OGG", "OPUS": "OGG", "SPH": "NIST"}.get(name, name).upper()
    samples = src.detach().cpu()
    if samples.dtype == torch.uint8:  # libsndfile takes no bytes: their range in 16 bits
        samples = ((samples.to(torch.int16) - 128) * 256).to(torch.int16)
    content = samples.T if channels_first else samples  # (frames, channels)
    soundfile.write(
        os.fspath(uri) if is_path else uri,  # type: ignore[arg-type]  # a path
        np.ascontiguousarray(content.numpy()),
        int(sample_rate),
        format=kind,
        subtype=_subtype(kind, src.dtype, encoding, bits_per_sample),
    )


def _subtype(kind: str, dtype: torch.dtype, encoding: str | None, bits: int | None) -> str | None:
    """Return libsndfile's name of how samples are stored; None: as the format does."""
    if kind == "FLAC":
        subtype = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}.get(bits or 16)
        if encoding is not None or subtype is None:
            raise RuntimeError("flac has no `encoding`, and 8, 16 or 24 `bits_per_sample`.")
        return subtype
    if kind not in ("WAV", "W64", "RF64", "NIST"):
        if encoding is not None or bits is not None:
            raise RuntimeError(f"{kind.lower()} has neither `encoding` nor `bits_per_sample`.")
        return None
    if encoding is None and bits is None:
        encoding, bits = _OF_DTYPE[dtype]
    elif encoding is None:
        encoding = "PCM_U" if bits == 8 else "PCM_S"
    bits = _DEFAULT_BITS.get(encoding, 0) if bits is None else bits
    if (encoding, bits) not in _SUBTYPES:
        known = ", ".join(f"{name} {number}" for name, number in _SUBTYPES)
        raise RuntimeError(f"No wav file has {encoding} with {bits} bits: one of {known}.")
    return _SUBTYPES[encoding, bits]
