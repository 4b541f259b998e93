"""What is known of a file for as long as its size and mtime stay the same.

Headers are remembered in a work folder, so that 50 000 files are opened once, not per run; hashes
of contents within the process.
"""

import contextlib
import functools
import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spknorm.audio.decoding import AudioInfo, decode_all, read_info
from spknorm.audio.excerpt import Excerpt, Sound, excerpt_of
from spknorm.audio.faults import AudioError, audio_error, listing
from spknorm.audio.loading import MIN_SAMPLES
from spknorm.audio.resampling import Resampler
from spknorm.errors import DataError
from spknorm.files import sha256_of, write_atomic

logger = logging.getLogger(__name__)

_SCHEMA = "spknorm.audio-index/1"
_NUM_THREADS = 8


class AudioIndex:
    """What is known to be good, by path: valid for as long as size and mtime stay the same.

    The file is a cache: one that is damaged, of another version or not writable is made anew or
    done without, and two processes may share it (the last to write wins).
    """

    def __init__(self, folder: Path | str | None) -> None:
        """Read `folder`/audio-index.json if there is one; None: remember in memory only."""
        self.path = None if folder is None else Path(folder) / "audio-index.json"
        self._entries = {} if self.path is None else _read(self.path)

    def infos(self, paths: Sequence[Sound]) -> list[AudioInfo]:
        """Return the headers of many files, in their order, and remember them.

        Raises:
            AudioError: The one file that cannot be used.
            DataError: Several cannot; at most 20 are named, with the count.
        """
        found = self.look_up(paths)
        errors = [info for info in found if isinstance(info, AudioError)]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise DataError(
                listing(
                    [str(error) for error in errors],
                    f"{len(errors)} of {len(paths)} audio files cannot be used:",
                )
            )
        return [info for info in found if isinstance(info, AudioInfo)]

    def look_up(
        self, paths: Sequence[Sound], *, decode: bool = False
    ) -> list[AudioInfo | AudioError]:
        """Return the header or the error of each file, in their order.

        Args:
            paths: The files, or excerpts of them; several are read at a time.
            decode: Decode each to its end once, which also finds NaN and damage past the header.
        """
        sounds = [excerpt_of(path) for path in paths]
        stamps = [_stamp(sound.path) for sound in sounds]
        keys = [sound.key for sound in sounds]
        new = [
            number
            for number, (key, stamp) in enumerate(zip(keys, stamps, strict=True))
            if not self._knows(key, stamp, decode=decode)
        ]
        errors: dict[int, AudioError] = {}
        examine = functools.partial(_examine, decode=decode)
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            results = list(pool.map(examine, [sounds[number] for number in new]))
        for number, result in zip(new, results, strict=True):
            key, stamp = keys[number], stamps[number]
            if isinstance(result, AudioError):
                gone = result.kind == "missing" and key in self._entries
                errors[number] = audio_error("vanished", sounds[number].path) if gone else result
            elif stamp is not None:
                self._entries[key] = (*stamp, *result[:3], int(decode))
            else:  # came into being meanwhile
                errors[number] = audio_error("missing", sounds[number].path)
        if len(new) > len(errors):
            self._save()
        return [
            errors[number] if number in errors else _info(self._entries[key])
            for number, key in enumerate(keys)
        ]

    def _knows(self, key: str, stamp: tuple[int, int] | None, *, decode: bool) -> bool:
        entry = self._entries.get(key)
        if entry is None or stamp is None:
            return False
        return entry[:2] == stamp and bool(entry[5] or not decode)

    def _save(self) -> None:
        if self.path is None:
            return
        content = json.dumps({"schema": _SCHEMA, "files": self._entries})
        try:
            write_atomic(self.path, content)
        except OSError as error:
            logger.warning("%s cannot be written (%s); headers are read again", self.path, error)


_Entry = tuple[int, ...]
"""Size, mtime_ns, num_samples, sample_rate, num_channels, whether it was decoded to its end."""


def _info(entry: _Entry) -> AudioInfo:
    num_samples, sample_rate, num_channels = entry[2:5]
    return AudioInfo(num_samples, sample_rate, num_channels, num_samples / sample_rate)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, which is read again only when it has changed.

    Raises:
        OSError: It cannot be read.
    """
    status = path.stat()
    return _content_hash(path, (status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=1 << 18)
def _content_hash(path: Path, stamp: tuple[int, int]) -> str:
    return sha256_of(path)


def _stamp(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return None


def _examine(sound: Excerpt, *, decode: bool) -> AudioInfo | AudioError:
    try:
        if decode:
            decode_all(sound)
        info = read_info(sound)
        length = Resampler(info.sample_rate).length(info.num_samples)
        if length < MIN_SAMPLES:
            return audio_error("short", sound.path, f"{length} samples at 16 kHz")
        return info
    except AudioError as error:
        return error


def _read(path: Path) -> dict[str, _Entry]:
    try:
        content = json.loads(path.read_bytes())
        files = content["files"] if content["schema"] == _SCHEMA else {}
        return {str(key): tuple(entry) for key, entry in files.items() if _is_entry(entry)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        logger.warning("%s is not an audio index; it is made anew", path)
        return {}


def _is_entry(entry: Iterable[object]) -> bool:
    values = tuple(entry)
    return (
        len(values) == 6
        and all(type(value) is int and value >= 0 for value in values)
        and 0 not in values[3:5]
    )
