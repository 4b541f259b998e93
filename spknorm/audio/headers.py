"""Containers that promise more than they hold: what libsndfile passes over in silence.

A cut WAV or AIFF is shortened and a cut Ogg simply ends, all without an error; the sizes in their
headers tell.
"""

import os
import struct

_STREAMED = 0x7FFFF000  # writers that cannot seek back leave the largest size there
_MAX_CHUNKS = 1000
_MAX_OGG_PAGE = 27 + 255 + 255 * 255


def magic_of(start: bytes) -> str | None:
    """Return the container that a file's first 12 bytes name, None if they name none."""
    for name, marks in (
        ("wav", (b"RIFF", b"RIFX", b"RF64")),
        ("flac", (b"fLaC",)),
        ("ogg", (b"OggS",)),
        ("aiff", (b"FORM",)),
        ("mp3", (b"ID3",)),
    ):
        if start.startswith(marks):
            return name
    if len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0:
        return "mp3"
    return None


def missing_bytes(descriptor: int, size: int) -> str | None:
    """Say what an open file of `size` bytes lacks of what its container promises, or None."""
    start = os.pread(descriptor, 12, 0)
    container = magic_of(start)
    if container in ("wav", "aiff"):
        return _missing_in_chunks(descriptor, size, start)
    if container == "ogg":
        return _missing_in_ogg(descriptor, size)
    return None


def _missing_in_chunks(descriptor: int, size: int, start: bytes) -> str | None:
    order = "<" if start[:4] in (b"RIFF", b"RF64") else ">"
    wide_size: int | None = None
    position = 12
    for _ in range(_MAX_CHUNKS):
        header = os.pread(descriptor, 24, position)
        if len(header) < 8:
            return None
        name, length = header[:4], struct.unpack(f"{order}I", header[4:8])[0]
        position += 8
        if name == b"ds64" and len(header) == 24:  # RF64: 64-bit sizes of the whole and of `data`
            wide_size = struct.unpack("<Q", header[16:24])[0]
        if name in (b"data", b"SSND"):
            if length >= _STREAMED and wide_size is None:
                return None
            promised = length if wide_size is None else wide_size
            if position + promised > size:
                return f"the header promises {promised} bytes of audio, {size - position} are there"
            return None
        position += length + length % 2
    return None


def _missing_in_ogg(descriptor: int, size: int) -> str | None:
    begin = max(0, size - _MAX_OGG_PAGE)
    tail = os.pread(descriptor, size - begin, begin)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "its last Ogg page is cut"
    if not page[5] & 4:
        return "the Ogg stream has no last page"
    return None
