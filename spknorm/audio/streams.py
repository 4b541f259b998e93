"""Ogg and MP3: streams of pages and frames, each of which says how long it is."""

import os
import struct
import zlib
from typing import NamedTuple

from spknorm.audio.chunks import WHOLE, Finding, Patch

_MAX_OGG_PAGE = 27 + 255 + 255 * 255
_LAST = 4  # in the flags of a page
_BLOCK = 1 << 16
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_KBITS = {  # (MPEG 1?, layer) -> by index; 0 is free format, which tells no length
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)  # MPEG 1; halved in MPEG 2 and again in 2.5


def examine_ogg(descriptor: int, start: int, size: int) -> Finding:
    """Look at the end of an Ogg stream.

    A last page without the mark that says so is fine where it is whole, even if it says that its
    last packet goes on: encoders and editors leave streams like that. A cut between two pages can
    therefore not be told. Opus is given the mark, since libsndfile fails at its end without.
    """
    begin = max(start, size - _MAX_OGG_PAGE - 4)
    tail = os.pread(descriptor, size - begin, begin)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    length = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) >= 27 else 27
    if len(page) < length or len(page) < 27 + page[26]:
        return Finding("its last Ogg page is cut")
    if page[5] & _LAST:
        return WHOLE
    if len(page) > length:
        return Finding(f"{len(page) - length} bytes after its last Ogg page are none")
    if b"OpusHead" not in os.pread(descriptor, 64, start):
        return WHOLE
    marked = page[:5] + bytes([page[5] | _LAST]) + page[6:22] + bytes(4) + page[26:]
    checksum = struct.pack("<I", _ogg_checksum(marked))
    return Finding(patch=Patch(begin + at + 5, marked[5:22] + checksum))


def _ogg_checksum(page: bytes) -> int:
    """Return Ogg's CRC-32: zlib's of reversed bits, reversed, from 0 on and not inverted."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


class _Frame(NamedTuple):
    length: int  # 0 in free format
    side: int  # bytes between the header and an encoder's own frame count
    kind: tuple[int, int, int]


def mpeg_frame(header: bytes) -> _Frame | None:
    """Return what the 4 bytes of an MPEG audio frame's header say, None if they are not one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, index = header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or layer == 4 or rate == 3 or index == 15:
        return None
    first = version == 3
    bits = _KBITS[first, layer][index] * 1000
    frequency = _RATES[rate] >> (0 if first else 1 if version == 2 else 2)
    padding = header[2] >> 1 & 1
    if layer == 1:
        length = (12 * bits // frequency + padding) * 4
    else:
        length = (144 if first or layer == 2 else 72) * bits // frequency + padding
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return _Frame(length if bits else 0, side, (version, layer, rate))


def examine_mp3(descriptor: int, start: int, size: int) -> Finding:
    """Look at an MP3 stream, going from frame to frame.

    Its last frame has to be whole, and where the encoder left a count of frames or bytes
    (`Xing`, `Info`, `VBRI`), they have to be there. Without such a count a cut between two frames
    leaves a shorter stream, whole in itself.
    """
    position = _next_frame(descriptor, start, size)
    if position is None:
        return WHOLE
    begin, promise, count = position, _promise(descriptor, position), -1
    while position < size:
        frame = mpeg_frame(os.pread(descriptor, 4, position))
        if frame is None:
            position_after = _next_frame(descriptor, position, size)
            if position_after is None:
                break  # tags, or padding
            position = position_after
            continue
        if frame.length == 0:
            return WHOLE  # free format
        if position + frame.length > size:
            return Finding(f"its last MP3 frame has {size - position} of {frame.length} bytes")
        position += frame.length
        count += 1
    if promise is None:
        return WHOLE
    frames, num_bytes = promise
    if num_bytes and num_bytes > size - begin:
        return Finding(f"the header promises {num_bytes} bytes of MP3, {size - begin} are there")
    if frames and count < frames - 1:
        return Finding(f"the header promises {frames} MP3 frames, {count} are there")
    return WHOLE


def _promise(descriptor: int, position: int) -> tuple[int, int] | None:
    """Return (frames, bytes) that the first frame promises, 0 for what it does not say."""
    frame = mpeg_frame(os.pread(descriptor, 4, position))
    assert frame is not None
    fraunhofers = os.pread(descriptor, 18, position + 36)  # wherever other encoders put theirs
    if fraunhofers[:4] == b"VBRI" and len(fraunhofers) == 18:
        num_bytes, frames = (int.from_bytes(fraunhofers[at : at + 4], "big") for at in (10, 14))
        return frames, num_bytes
    tag = os.pread(descriptor, 16, position + 4 + frame.side)
    if len(tag) < 16 or tag[:4] not in (b"Xing", b"Info"):
        return None
    flags, *numbers = (int.from_bytes(tag[at : at + 4], "big") for at in (4, 8, 12))
    frames = numbers.pop(0) if flags & 1 else 0
    return frames, numbers.pop(0) if flags & 2 else 0


def _next_frame(descriptor: int, position: int, size: int) -> int | None:
    """Return where the next frame begins that another one of its kind follows."""
    while position < size:
        block = os.pread(descriptor, _BLOCK, position)
        at = block.find(b"\xff")
        while at >= 0 and at + 4 <= len(block):
            frame = mpeg_frame(block[at : at + 4])
            if frame is not None and frame.length:
                follower = os.pread(descriptor, 4, position + at + frame.length)
                after = mpeg_frame(follower)
                if (after is not None and after.kind == frame.kind) or not follower:
                    return position + at
            at = block.find(b"\xff", at + 1)
        if len(block) <= 4:
            return None
        position += len(block) - 3
    return None
