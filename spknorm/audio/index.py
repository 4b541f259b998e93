"""Headers remembered in a work folder, so that 50 000 files are opened once, not per run."""

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spknorm.audio.decoding import AudioInfo, read_info
from spknorm.audio.faults import AudioError, audio_error, listing
from spknorm.errors import DataError
from spknorm.files import write_atomic

logger = logging.getLogger(__name__)

_SCHEMA = "spknorm.audio-index/1"
_NUM_THREADS = 8


class AudioIndex:
    """Lengths, rates and channel counts by path, valid for as long as size and mtime stay the same.

    The file is a cache: one that is damaged, of another version or not writable is made anew or
    done without, and two processes may share it (the last to write wins).
    """

    def __init__(self, folder: Path | str) -> None:
        """Read `folder`/audio-index.json if there is one."""
        self.path = Path(folder) / "audio-index.json"
        self._entries = _read(self.path)

    def info(self, path: Path) -> AudioInfo:
        """Return the header of one file.

        Raises:
            AudioError: As `read_info`; `vanished` where the index knew the file.
        """
        (info,) = self.infos([path])
        return info

    def infos(self, paths: Sequence[Path]) -> list[AudioInfo]:
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

    def look_up(self, paths: Sequence[Path]) -> list[AudioInfo | AudioError]:
        """Return the header or the error of each file, in their order."""
        stamps = [_stamp(path) for path in paths]
        keys = [os.fspath(path) for path in paths]
        new = [
            number
            for number, (key, stamp) in enumerate(zip(keys, stamps, strict=True))
            if stamp is None or self._entries.get(key, ())[:2] != stamp
        ]
        errors: dict[int, AudioError] = {}
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            results = pool.map(_read_or_error, [paths[number] for number in new])
            for number, result in zip(new, results, strict=True):
                stamp = stamps[number]
                if isinstance(result, AudioError):
                    gone = result.kind == "missing" and keys[number] in self._entries
                    errors[number] = audio_error("vanished", paths[number]) if gone else result
                elif stamp is not None:
                    self._entries[keys[number]] = (*stamp, *result[:3])
        if len(new) > len(errors):
            self._save()
        return [
            errors[number] if number in errors else _info(self._entries[key])
            for number, key in enumerate(keys)
        ]

    def _save(self) -> None:
        content = json.dumps({"schema": _SCHEMA, "files": self._entries})
        try:
            write_atomic(self.path, content.encode(errors="surrogatepass"))
        except OSError as error:
            logger.warning("%s cannot be written (%s); headers are read again", self.path, error)


_Entry = tuple[int, ...]  # size, mtime_ns, num_samples, sample_rate, num_channels


def _info(entry: _Entry) -> AudioInfo:
    num_samples, sample_rate, num_channels = entry[2:]
    return AudioInfo(num_samples, sample_rate, num_channels, num_samples / sample_rate)


def _stamp(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return None


def _read_or_error(path: Path) -> AudioInfo | AudioError:
    try:
        return read_info(path)
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
        len(values) == 5
        and all(type(value) is int and value >= 0 for value in values)
        and 0 not in values[3:]
    )
