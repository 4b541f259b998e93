"""What can be wrong with an audio file: one kind, one message each. First in this folder."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from spknorm.errors import DataError

MAX_LISTED = 20
"""So many bad files are named in one message; the rest are counted."""

_MESSAGES = MappingProxyType(
    {
        "missing": "{path}: there is no such file. Expected audio; check the root of the corpus "
        "and that it is complete.",
        "vanished": "{path}: the file was there when the corpus was listed and is gone now. "
        "Put it back, or list the corpus anew.",
        "permission": "{path}: the file cannot be opened ({detail}). Expected a readable file; "
        "change its permissions.",
        "not_audio": "{path}: not an audio file ({detail}). Expected wav, flac, ogg or mp3; "
        "remove it from the corpus or convert it.",
        "unsupported": "{path}: a kind of sound file that is not read ({detail}). Expected wav, "
        "flac, ogg or mp3; convert it, with `ffmpeg -i FILE FILE.wav` or, if it is compressed "
        "SPHERE, with `sph2pipe -f wav`.",
        "demuxer": "{path}: {detail} is read where PyAV is installed: "
        "`pip install 'spknorm[containers]'` (or `pip install av`).",
        "channel": "{path}: {detail}. Expected `1` and on, up to the number of its channels, or "
        "`centre`; correct the corpus' list.",
        "pointer": "{path}: not the recording but a text that stands for it (git-lfs, git-annex). "
        "Expected audio; fetch it with `git lfs pull` or `git annex get`.",
        "corrupt": "{path}: the audio header is corrupt ({detail}). Expected a valid wav, flac, "
        "ogg or mp3; copy or convert the file again.",
        "truncated": "{path}: the audio is truncated or damaged ({detail}). Expected a whole "
        "file; copy it again.",
        "empty": "{path}: the file has no audio in it ({detail}). Expected at least 400 samples "
        "at 16 kHz; copy it again or remove it.",
        "short": "{path}: too short, {detail}. Expected at least 400 samples at 16 kHz (25 ms), "
        "which an upstream turns into one frame; remove it.",
        "nonfinite": "{path}: {detail} NaN or infinite. Expected finite samples; convert the "
        "file again or remove it.",
        "scale": "{path}: samples up to {detail}, where full scale is 1. Expected a recording's "
        "scale; divide it by its full scale or convert the file again.",
    }
)
KINDS = tuple(_MESSAGES)


class AudioError(DataError):
    """An audio file that cannot be used.

    Attributes:
        path: The file, or None if the error was carried across processes as text alone.
        kind: One of `KINDS`, or `unknown` with the former.
    """

    def __init__(self, message: str, path: Path | None = None, kind: str = "unknown") -> None:
        super().__init__(message)
        self.path = path
        self.kind = kind

    def __reduce__(self) -> tuple[type["AudioError"], tuple[str, Path | None, str]]:
        return AudioError, (str(self), self.path, self.kind)


def audio_error(kind: str, path: Path, detail: str = "") -> AudioError:
    """Return the error of this kind for this file, its message complete."""
    text = _MESSAGES[kind].format(path=printable(path), detail=detail)
    return AudioError(text, path, kind)


def reason_of(error: Exception) -> str:
    """Return what a library says of a file, without the file's name, for a message's detail."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return str(text).strip().rstrip(".")


def printable(path: object) -> str:
    r"""Return a file's name as one line of text: what is no UTF-8 as `\xeb`, CR as `\x0d`."""
    text = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", str(path))
    text = re.sub("[\0-\x1f\x7f]", lambda mark: f"\\x{ord(mark[0]):02x}", text)
    return text.encode("utf-8", "backslashreplace").decode()


def listing(problems: Sequence[str], heading: str) -> str:
    """Return one message: the heading, at most 20 of the problems, and how many more there are."""
    lines = [heading, *(f"  {problem}" for problem in problems[:MAX_LISTED])]
    if len(problems) > MAX_LISTED:
        lines.append(f"  ... and {len(problems) - MAX_LISTED} more")
    return "\n".join(lines)


def refuse(problems: Sequence[str], what: str) -> None:
    """Raise a DataError that counts and lists problems, if there are any: `3 lines of FILE ...`."""
    if problems:
        raise DataError(listing(problems, f"{len(problems)} {what}:"))
