"""WAV, AIFF, Wave64, CAF, AU and NIST SPHERE: whether the sound that a header promises is there.

libsndfile shortens a cut file without an error, so the sizes in the headers are compared with the
file. A size that a writer to a pipe could not go back to fill in promises nothing: it is found out,
and the true one put in its place where libsndfile would take it at its word. Nothing is known here
of samples.
"""

import os
import re
import struct
from typing import NamedTuple

_MAX_CHUNKS = 1000
_NEAR = 4096  # a placeholder is given or taken a header
_PLACEHOLDERS = (0x7F000000, 0x7FFFF000, 0x80000000, 0xFFFFF000, 1 << 32)
_UNKNOWN_FROM = 1 << 62
_EDIT_COUNT = 4  # of CAF
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_NIST_FIELD = re.compile(rb"(sample_count|channel_count|sample_n_bytes)\s+-i\s+(\d{1,18})\s")


class Patch(NamedTuple):
    """Bytes of a file that are to be read as these."""

    start: int
    content: bytes


class Finding(NamedTuple):
    """What a file lacks of what its container promises, or how its header has to be read."""

    lacking: str | None = None
    patch: Patch | None = None


WHOLE = Finding()


def is_placeholder(size: int) -> bool:
    """Return whether a 32-bit size is what writers put that do not know it yet.

    sox, ffmpeg, arecord and others put the largest size that they can think of, less some header,
    or a round number; those of hundreds of millions from 10**9 on are taken as such. (Ten hours at
    16 kHz are 1 152 000 000 bytes, which a recording may well have.)
    """
    if size >= 10**9 and size % 10**8 == 0:
        return True
    return any(abs(size - placeholder) <= _NEAR for placeholder in _PLACEHOLDERS)


def examine_riff(descriptor: int, start: int, size: int) -> Finding:
    """Look at a WAV (RIFF, RIFX, RF64) or AIFF file of `size` bytes that begins at `start`."""
    head = os.pread(descriptor, 12, start)
    order = "<" if head[:4] in (b"RIFF", b"RF64") else ">"
    whole = start + 8 + struct.unpack(f"{order}I", head[4:8])[0] if len(head) == 12 else 0
    wide_at: int | None = None
    position = start + 12
    for _ in range(_MAX_CHUNKS):
        header = os.pread(descriptor, 24, position)
        if len(header) < 8:
            cut = size < position <= whole or (size < whole and position <= whole)
            return Finding(_no_sound(whole - size)) if cut and not is_placeholder(whole) else WHOLE
        name, length = header[:4], struct.unpack(f"{order}I", header[4:8])[0]
        if name == b"ds64" and len(header) == 24:  # RF64: 64-bit sizes of the whole and of `data`
            wide_at = position + 16
        if name in (b"data", b"SSND"):
            if wide_at is not None:
                return _wide_data(descriptor, wide_at, position + 8, size)
            empty = 0 if name == b"data" else 8  # SSND has two numbers before the sound
            patch = Patch(
                position + 4, struct.pack(f"{order}I", min(size - position - 8, 2**32 - 1))
            )
            return _data(descriptor, length, position + 8, size, empty, patch, order)
        position += 8 + length + length % 2
    return WHOLE


def _data(
    descriptor: int, promised: int, begin: int, size: int, empty: int, patch: Patch, order: str
) -> Finding:
    there = size - begin
    if promised <= empty:
        rest = begin + promised
        streamed = rest < size and not _are_chunks(descriptor, rest, size, order)
        return Finding(patch=patch) if streamed else WHOLE
    return WHOLE if is_placeholder(promised) else _compared(promised, there)


def _wide_data(descriptor: int, wide_at: int, begin: int, size: int) -> Finding:
    promised = int.from_bytes(os.pread(descriptor, 8, wide_at), "little")
    there = size - begin
    if promised == 0 or promised >= _UNKNOWN_FROM:
        return Finding(patch=Patch(wide_at, struct.pack("<Q", there))) if there else WHOLE
    return _compared(promised, there)


def _are_chunks(descriptor: int, position: int, size: int, order: str, width: str = "I") -> bool:
    """Return whether nothing but whole chunks lies between here and the end.

    Chunks whose lengths have 64 bits (`width` q) are not padded.
    """
    head = 4 + struct.calcsize(f"{order}{width}")
    for _ in range(_MAX_CHUNKS):
        if position >= size:
            return True
        header = os.pread(descriptor, head, position)
        if len(header) < head or not header[:4].isascii() or not header[:4].decode().isprintable():
            return False
        length = struct.unpack(f"{order}{width}", header[4:])[0]
        position += head + length
        if length < 0 or position > size:
            return False
        position += length % 2 if width == "I" else 0
    return False


def examine_w64(descriptor: int, start: int, size: int) -> Finding:
    """Look at a Sony Wave64 file: chunks named by 16 bytes, sizes with their own header in them."""
    position = start + 40
    for _ in range(_MAX_CHUNKS):
        header = _read(descriptor, 24, position)
        if len(header) < 24:
            whole = int.from_bytes(os.pread(descriptor, 8, start + 16), "little")
            cut = size < start + whole < _UNKNOWN_FROM
            return Finding(_no_sound(start + whole - size)) if cut else WHOLE
        length = int.from_bytes(header[16:24], "little")
        if header[:16] == b"data" + _W64_TAIL:
            promised, there = length - 24, size - position - 24
            if os.pread(descriptor, 16, position + 24) == os.pread(descriptor, 16, start):
                return Finding("its header is there twice")  # sox, writing to a pipe
            return _compared(promised, there) if promised < _UNKNOWN_FROM else WHOLE
        position += max(24, length + -length % 8)
    return WHOLE


def examine_caf(descriptor: int, start: int, size: int) -> Finding:
    """Look at an Apple CAF file: `data` may be -1 long, which is all that follows.

    Its length counts the 4 bytes of an edit count before the sound. 0, which the specification
    does not allow, and 4 are what a recorder leaves that was not closed, where sound follows.
    """
    position = start + 8
    for _ in range(_MAX_CHUNKS):
        header = _read(descriptor, 12, position)
        if len(header) < 12:
            return Finding(_no_sound(0))
        name, length = header[:4], struct.unpack(">q", header[4:12])[0]
        begin = position + 12
        if name == b"data":
            there = size - begin
            rest = begin + length
            unknown = length < 0 or length >= _UNKNOWN_FROM
            few = length <= _EDIT_COUNT < there
            if unknown or (few and not _are_chunks(descriptor, rest, size, ">", "q")):
                return Finding(patch=Patch(position + 4, struct.pack(">q", there)))
            return _compared(length, there)
        if length < 0 or not name.isascii():
            return WHOLE  # corrupt, as libsndfile will say
        position = begin + length
    return WHOLE


def examine_au(descriptor: int, start: int, size: int) -> Finding:
    """Look at a Sun/NeXT file: where the sound begins, and how long it is."""
    header = os.pread(descriptor, 12, start)
    if len(header) < 12:
        return Finding(_no_sound(0))
    order = ">" if header[:4] == b".snd" else "<"
    begin, promised = struct.unpack(f"{order}II", header[4:12])
    there = size - start - begin
    if (promised == 0 or is_placeholder(promised)) and there > 0:
        return Finding(patch=Patch(start + 8, b"\xff\xff\xff\xff"))
    return _compared(promised, there)


def examine_nist(descriptor: int, start: int, size: int) -> Finding:
    """Look at a NIST SPHERE file that is not packed: a header of text that counts samples."""
    lines = os.pread(descriptor, 4096, start).partition(b"end_head")[0]
    length = lines[8:16].strip()
    fields = {name: int(value) for name, value in _NIST_FIELD.findall(lines)}
    if not length.isdigit() or b"sample_count" not in fields:
        return WHOLE
    width = fields.get(b"sample_n_bytes", 2 if b"pcm" in lines else 1)
    promised = fields[b"sample_count"] * fields.get(b"channel_count", 1) * width
    there = size - start - int(length)
    return _compared(promised, there)


def _read(descriptor: int, count: int, position: int) -> bytes:
    """Read at a place that 64 bits of a header may have put beyond any file."""
    return os.pread(descriptor, count, position) if position < _UNKNOWN_FROM else b""


def _compared(promised: int, there: int) -> Finding:
    text = f"the header promises {promised} bytes of audio, {max(there, 0)} are there"
    return Finding(text) if promised > there else WHOLE


def _no_sound(lacking: int) -> str:
    more = f", {lacking} bytes are lacking" if lacking > 0 else ""
    return f"it ends within its header{more}"
