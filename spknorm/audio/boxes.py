"""MPEG-4, WebM, AVI, Flash video, Windows Media, AAC and AMR: whether what is there is whole.

FFmpeg leaves out a last piece that is cut without a word, so that the pieces are counted here, as
chunks.py does for what libsndfile reads. Nothing is known here of samples. AAC (ADTS) and AMR are
frames and nothing else: a cut within one is found, one between two leaves no trace.
"""

import os
from types import MappingProxyType

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675  # what a recorder that goes on leaves without a size
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_TAGS = (8, 9, 18)  # sound, video, script
_AMR = (  # bytes of a frame with its header, by type; the last is comfort noise (3GPP TS 26.101)
    (b"#!AMR-WB\n", (18, 24, 33, 37, 41, 47, 51, 59, 61, 6)),
    (b"#!AMR\n", (13, 14, 16, 18, 20, 21, 27, 32, 6)),
)
_CUT = "its last {} says {} bytes, {} are there"


def lacking(descriptor: int, kind: str, size: int) -> str | None:
    """Return what an open file of `size` bytes lacks of what its container promises, or None.

    Args:
        descriptor: The open file.
        kind: As `containers.foreign_kind` calls it; others promise nothing here.
        size: In bytes.
    """
    examine = _EXAMINERS.get(kind)
    return None if examine is None else examine(descriptor, size)


def _boxes(descriptor: int, size: int) -> str | None:
    position = 0
    while position < size:
        header = os.pread(descriptor, 16, position)
        name, length = header[4:8], int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length == 0 or not name.isalnum():
            return None  # it goes to the end, or is padding
        if length > size - position:
            return _CUT.format("box", length, size - position)
        position += max(length, 8)
    return None


def _elements(descriptor: int, size: int) -> str | None:
    """Look at WebM: a segment or a cluster without a size is looked into."""
    position = 0
    while position < size:
        header = os.pread(descriptor, 12, position)
        id_width = 9 - header[0].bit_length()
        width = 9 - header[id_width].bit_length() if len(header) > id_width else 9
        if id_width > 4 or width > 8 or len(header) < id_width + width:
            return None if id_width > 4 else "it ends within the header of an element"
        name = int.from_bytes(header[:id_width], "big")
        mask = (1 << 7 * width) - 1
        length = int.from_bytes(header[id_width : id_width + width], "big") & mask
        position += id_width + width
        if length == mask:
            if name not in (_SEGMENT, _CLUSTER):
                return None
        elif length > size - position:
            return _CUT.format("element", length, size - position)
        else:
            position += length
    return None


def _tags(descriptor: int, size: int) -> str | None:
    position = int.from_bytes(os.pread(descriptor, 9, 0)[5:9], "big") + 4
    while position < size:
        header = os.pread(descriptor, 11, position)
        if header[0] & 0x1F not in _FLV_TAGS:
            return None
        length = 11 + int.from_bytes(header[1:4], "big")
        if length > size - position:
            return _CUT.format("tag", length, size - position)
        position += length + 4
    return None


def _properties(descriptor: int, size: int) -> str | None:
    head = os.pread(descriptor, 1 << 16, 0)
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92 or head[at + 88] & 1:  # a broadcast knows no size
        return None
    return _promised(int.from_bytes(head[at + 40 : at + 48], "little"), size)


def _riff(descriptor: int, size: int) -> str | None:
    head = os.pread(descriptor, 8, 0)
    length = int.from_bytes(head[4:], "little")
    is_told = head[:4] == b"RIFF" and length != 0xFFFFFFFF  # which a writer to a pipe leaves, or 0
    return _promised(8 + length, size) if is_told else None


def _promised(promised: int, size: int) -> str | None:
    return f"the header promises {promised} bytes, {size} are there" if promised > size else None


def _adts(descriptor: int, size: int) -> str | None:
    position = 0
    while position < size:
        header = os.pread(descriptor, 7, position)
        if header[0] != 0xFF or (len(header) > 1 and header[1] & 0xF6 != 0xF0):
            return None  # tags
        if len(header) < 7:
            return _CUT.format("frame", 7, len(header))
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        if length < 7:
            return None
        if length > size - position:
            return _CUT.format("frame", length, size - position)
        position += length
    return None


def _amr(descriptor: int, size: int) -> str | None:
    mark = os.pread(descriptor, 9, 0)
    lengths = next((lengths for start, lengths in _AMR if mark.startswith(start)), None)
    if lengths is None:
        return None  # several channels
    position = 9 if mark == b"#!AMR-WB\n" else 6
    while position < size:
        kind = os.pread(descriptor, 1, position)[0] >> 3 & 15
        length = lengths[kind] if kind < len(lengths) else 1  # of nothing, or lost
        if length > size - position:
            return _CUT.format("frame", length, size - position)
        position += length
    return None


_EXAMINERS = MappingProxyType(
    {
        "AAC (ADTS)": _adts,
        "AMR": _amr,
        "AVI video": _riff,
        "MPEG-4 (m4a, mp4)": _boxes,
        "WebM or Matroska": _elements,
        "Flash video": _tags,
        "Windows Media (wma)": _properties,
    }
)
