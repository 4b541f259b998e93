"""Opens sound files by content: what is accepted and whole, or the error that says what it is."""

import os
from pathlib import Path

import soundfile

from spknorm.audio import boxes
from spknorm.audio.chunks import Patch
from spknorm.audio.containers import (
    DEMUXED,
    examine,
    foreign_codec,
    foreign_kind,
    identify,
)
from spknorm.audio.demuxing import Demuxed
from spknorm.audio.faults import AudioError, audio_error, reason_of
from spknorm.errors import shortage
from spknorm.files import is_pointer


def open_descriptor(path: Path) -> int:
    """Open a file to be read, whatever it is.

    Raises:
        AudioError: It is not there, or may not be read.
        OSError: This process may open no more files, which is not the file's fault.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise audio_error("missing", path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL or a surrogate in the name
        if shortage(error) is not None:
            raise
        raise audio_error("permission", path, reason_of(error)) from error


class Decoder(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A SoundFile without the seek that soundfile ends each read with if a file is `seekable`.

    It costs time, fails where the length is unknown, and makes MP3 decode wrongly.
    """

    def seekable(self) -> bool:
        """Say no."""
        return False

    @property
    def can_seek(self) -> bool:
        """Whether a seek works and is exact; GSM, G.72x, NMS ADPCM and DWVW are read in order."""
        return super().seekable() and not self.subtype.startswith(("DWVW", "MPEG_LAYER"))


class _Patched:
    """An open file some bytes of whose header are read as others, as soundfile takes it."""

    def __init__(self, descriptor: int, patch: Patch) -> None:
        self._descriptor, self._patch = descriptor, patch
        self._size = os.fstat(descriptor).st_size
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        content = os.pread(self._descriptor, count, self._position)
        start, patch = self._patch.start - self._position, self._patch.content
        if -len(patch) < start < len(content):
            whole = bytearray(content)
            for place, byte in enumerate(patch, start):
                if 0 <= place < len(whole):
                    whole[place] = byte
            content = bytes(whole)
        self._position += len(content)
        return content


def open_decoder(path: Path, descriptor: int) -> Decoder | Demuxed:
    """Open by content, whatever the name's ending.

    Raises:
        AudioError: It is not sound, of a kind that is not read, truncated, corrupt or empty.
    """
    try:
        head, size = os.pread(descriptor, 64, 0), os.fstat(descriptor).st_size
    except OSError as error:  # a folder, a pipe
        raise audio_error("not_audio", path, reason_of(error)) from error
    if not head:
        raise audio_error("empty", path, "0 bytes")
    kind = identify(descriptor)
    if kind is None:
        name = foreign_kind(head)
        if name in DEMUXED:
            lacking = boxes.lacking(descriptor, name, size)
            if lacking is not None:
                raise audio_error("truncated", path, lacking)
            return Demuxed(path, name)
        raise _not_accepted(path, head, name, descriptor)
    codec = foreign_codec(kind, descriptor) if kind.name == "nist" else None
    if codec is None:  # else it is packed, and shorter than its header says
        finding = examine(descriptor, kind, size)
        if finding.lacking is not None:
            raise audio_error("truncated", path, finding.lacking)
        source = descriptor if finding.patch is None else _Patched(descriptor, finding.patch)
        try:
            return Decoder(source, closefd=False)
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
            codec = foreign_codec(kind, descriptor)
            if codec is None:
                raise audio_error("corrupt", path, reason_of(error)) from error
    if codec in DEMUXED:
        return Demuxed(path, codec)
    raise audio_error("unsupported", path, codec)


def _not_accepted(path: Path, head: bytes, name: str | None, descriptor: int) -> AudioError:
    if is_pointer(head):
        return audio_error("pointer", path)
    if name is None:
        try:
            with Decoder(descriptor, closefd=False) as file:
                name = f"{file.format_info}, where a cut cannot be told"
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError):
            return audio_error("not_audio", path, f"it starts with {head[:4]!r}")
    return audio_error("unsupported", path, name)
