"""What kind of sound file this is, by its first bytes and never by its name.

What is accepted is checked for truncation (chunks.py and streams.py, which come before this one);
what is sound and cannot be read is at least named.
"""

import os
import re
import struct
from types import MappingProxyType
from typing import NamedTuple

from spknorm.audio import chunks, streams
from spknorm.audio.chunks import Finding

_FOREIGN = (  # (where, what is there, what it is)
    (4, b"ftyp", "MPEG-4 (m4a, mp4)"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"0&\xb2u", "Windows Media (wma)"),
    (0, b"#!AMR", "AMR"),
    (0, b"ADIF", "AAC"),
    (0, b"ajkg", "shorten (shn)"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio (ape)"),
    (0, b"TTA1", "True Audio (tta)"),
    (0, b"BW64", "BW64"),
    (0, b"DSD ", "DSF"),
    (0, b"FRM8", "DSDIFF"),
    (0, b"FLV", "Flash video"),
    (0, b".RMF", "RealMedia"),
    (0, b"\x0bw", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (0, b"G@", "an MPEG transport stream"),
    (0, b"MThd", "MIDI, which holds no sound"),
    (0, b"Creative Voice File\x1a", "VOC (Creative Labs), where a cut cannot be told"),
)
_WAV_CODECS = MappingProxyType(
    {
        0x0010: "OKI ADPCM",
        0x0020: "Yamaha ADPCM",
        0x0022: "TrueSpeech",
        0x0042: "G.723.1",
        **dict.fromkeys((0x0045, 0x0064), "G.726 ADPCM"),
        0x0050: "MPEG layer I or II",
        0x0055: "MP3",
        **dict.fromkeys((0x0065, 0x028F), "G.722"),
        0x0083: "G.729",
        **dict.fromkeys((0x00FF, 0x1602, 0x1610), "AAC"),
        **dict.fromkeys((0x0160, 0x0161, 0x0162), "Windows Media"),
        0x2000: "AC-3",
        0x2001: "DTS",
        0x674F: "Vorbis",
        0x704F: "Opus",
        0xA109: "Speex",
        0xF1AC: "FLAC",
    }
)
_CAF_CODECS = ("lpcm", "ulaw", "alaw")
_AIFC_CODECS = (
    *("NONE", "twos", "sowt", "raw", "in24", "ni24", "in32", "ni32", "23ni", "42n1"),
    *("fl32", "FL32", "fl64", "FL64", "ulaw", "ULAW", "alaw", "ALAW", "ima4", "GSM", "DWVW"),
)
_OGG_CODECS = MappingProxyType(
    {b"\x7fFLAC": "FLAC", b"Speex": "Speex", b"\x80theora": "Theora video", b"\x80kate": "Kate"}
)


class Kind(NamedTuple):
    """A container and the byte at which it begins, after any ID3 tags."""

    name: str
    start: int


def identify(descriptor: int) -> Kind | None:
    """Return which of the accepted containers an open file is, or None."""
    start = 0
    while (tag := os.pread(descriptor, 10, start))[:3] == b"ID3" and len(tag) == 10:
        size = 0
        for byte in tag[6:10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if tag[5] & 0x10 else 0)
    name = _name_of(os.pread(descriptor, 12, start))
    if name is None and start:
        return Kind("mp3", start)  # what else has such a tag and then, say, padding
    return None if name is None else Kind(name, start)


def examine(descriptor: int, kind: Kind, size: int) -> Finding:
    """Return what an open file of `size` bytes lacks, or how its header has to be read."""
    return _EXAMINERS[kind.name](descriptor, kind.start, size)


_EXAMINERS = MappingProxyType(
    {
        "wav": chunks.examine_riff,
        "aiff": chunks.examine_riff,
        "w64": chunks.examine_w64,
        "caf": chunks.examine_caf,
        "au": chunks.examine_au,
        "flac": lambda *_: chunks.WHOLE,  # its last sample is asked for, which costs little
        "nist": chunks.examine_nist,
        "ogg": streams.examine_ogg,
        "mp3": streams.examine_mp3,
    }
)


def _name_of(head: bytes) -> str | None:
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return "wav" if form in (b"WAVE", b"") or len(head) < 12 else None
    if head[:4] == b"FORM":
        return "aiff" if form in (b"AIFF", b"AIFC") or len(head) < 12 else None
    for mark, name in (
        (b"riff\x2e\x91\xcf\x11", "w64"),
        (b".snd", "au"),
        (b"dns.", "au"),
        (b"caff", "caf"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"NIST_1A", "nist"),
    ):
        if head.startswith(mark):
            return name
    return "mp3" if streams.mpeg_frame(head[:4]) is not None else None


DEMUXED = frozenset(
    {
        *("MPEG-4 (m4a, mp4)", "WebM or Matroska", "Windows Media (wma)", "AMR", "AAC", "WavPack"),
        *("Monkey's Audio (ape)", "True Audio (tta)", "Flash video", "AVI video"),
        *("AAC (ADTS)", "Speex in Ogg", "FLAC in Ogg", "Theora video in Ogg"),
        "NIST SPHERE compressed with shorten",
    }
)
"""Kinds of `foreign_kind` and `foreign_codec` that FFmpeg's libraries decode (demuxing.py)."""


def foreign_kind(head: bytes) -> str | None:
    """Return what a file that is no accepted container is, as far as its first bytes tell."""
    for place, mark, name in _FOREIGN:
        if head[place : place + len(mark)] == mark:
            return name
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        form = head[8:12].decode("ascii", "replace").strip()
        return "AVI video" if form == "AVI" else f"a {head[:4].decode()} file of the form {form!r}"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC (ADTS)"
    return None


def foreign_codec(kind: Kind, descriptor: int) -> str | None:
    """Return which codec within an accepted container is one that libsndfile lacks, or None."""
    head = os.pread(descriptor, 4096, kind.start)
    if kind.name == "nist":
        found = re.search(rb"sample_coding\s+-s\d+\s+([^\n]*)", head)
        coding = found[1].decode("ascii", "replace") if found else ""
        packed = next((word for word in ("shorten", "wavpack", "shortpack") if word in coding), "")
        return f"NIST SPHERE compressed with {packed}" if packed else None
    if kind.name == "wav":
        at = head.find(b"fmt ", 12)
        order = ">H" if head[:4] == b"RIFX" else "<H"
        (tag,) = struct.unpack(order, head[at + 8 : at + 10].ljust(2, b"\0") if at > 0 else b"\0\0")
        codec = _WAV_CODECS.get(tag)
        return f"{codec} in a WAV file (format tag {tag:#06x})" if codec else None
    if kind.name == "caf" and head[8:12] == b"desc" and len(head) >= 32:
        codec = head[28:32].decode("ascii", "replace").strip()
        return None if codec in _CAF_CODECS or not codec.isascii() else f"{codec!r} in a CAF file"
    if kind.name == "aiff" and head[8:12] == b"AIFC":
        at = head.find(b"COMM", 12)
        codec = head[at + 26 : at + 30].decode("ascii", "replace").strip()
        known = at < 0 or not codec.isascii() or codec in _AIFC_CODECS
        return None if known else f"{codec!r} in an AIFF-C file"
    if kind.name == "ogg" and len(head) > 27:
        packet = head[27 + head[26] :]
        names = (name for mark, name in _OGG_CODECS.items() if packet.startswith(mark))
        return next((f"{name} in Ogg" for name in names), None)
    return None
