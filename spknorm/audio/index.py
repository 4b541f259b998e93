"""What is known of files for as long as their sizes and mtimes stay the same: headers and hashes.

One index for all corpora lies in the cache folder, shared by runs, processes and users, so that
each file is opened once for all time. `ledger.py` has its file.
"""

import functools
import itertools
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from spknorm.audio.decoding import AudioInfo, decode_all, read_info
from spknorm.audio.excerpt import Excerpt, Sound, excerpt_of
from spknorm.audio.faults import AudioError, audio_error, listing
from spknorm.audio.ledger import DECODED, HASHED, HEADER, RECORD, Ledger, Records, key_of
from spknorm.audio.loading import MIN_SAMPLES
from spknorm.audio.resampling import Resampler
from spknorm.config.progress import Progress
from spknorm.errors import DataError
from spknorm.files import cache_root, sha256_of

T = TypeVar("T")

FILE = "audio-index.bin"
_NUM_THREADS = 8
_AT_ONCE = 4096
"""Files after which what was found is written: a look that is killed loses at most these."""
_LOOKED_UP = 1 << 14
"""Files whose records are in memory at a time, of 80 bytes each."""
_GONE = -1
_HEARD = ["size", "samples", "rate", "channels"]


class Headers(NamedTuple):
    """What the headers of many files say, in their order.

    Attributes:
        records: `size` in bytes, `samples`, `rate` and `channels` of each; 0 where it is no use.
        errors: Of the files that cannot be used, by place.
    """

    records: Records
    errors: dict[int, AudioError]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """How long each file is; 0 where it cannot be used."""
        rate = np.maximum(self.records["rate"], 1)
        found: NDArray[np.float64] = self.records["samples"] / rate
        return found


class AudioIndex:
    """What is known to be good, by path: valid for as long as size and mtime stay the same.

    Args:
        folder: Where its file is, or will be.
    """

    def __init__(self, folder: Path | str) -> None:
        self._ledger = Ledger(Path(folder) / FILE)

    @classmethod
    def shared(cls) -> "AudioIndex":
        """Return the index in the cache folder, the same each time, so that it is read once."""
        folder = cache_root()
        if folder not in _SHARED:
            _SHARED[folder] = cls(folder)
        return _SHARED[folder]

    def infos(self, paths: Sequence[Sound]) -> Headers:
        """Return the headers of many files, in their order, and remember them.

        Raises:
            AudioError: The one file that cannot be used.
            DataError: Several cannot; at most 20 are named, with the count.
        """
        found = self.look_up(paths)
        errors = list(found.errors.values())
        if len(errors) == 1:
            raise errors[0]
        if errors:
            heading = f"{len(errors)} of {len(paths)} audio files cannot be used:"
            raise DataError(listing([str(error) for error in errors], heading))
        return found

    def look_up(self, paths: Sequence[Sound], *, decode: bool = False) -> Headers:
        """Return the header or the error of each file, in their order.

        Args:
            paths: The files, or excerpts of them; several are read at a time.
            decode: Decode each to its end once, which also finds NaN and damage past the header.
        """
        wanted = HEADER | (DECODED if decode else 0)
        heard = np.zeros(len(paths), [(name, RECORD[name]) for name in _HEARD])
        errors: dict[int, AudioError] = {}
        new = array("q")
        for first, records, places in self._known(paths, wanted):
            heard[first : first + len(records)] = records[_HEARD]
            gone = records["size"] == _GONE
            vanished = gone & (self._ledger.find(records) >= 0) if gone.any() else gone
            for number in (first + np.flatnonzero(vanished)).tolist():
                errors[number] = audio_error("vanished", excerpt_of(paths[number]).path)
            new.extend((first + np.flatnonzero((places < 0) & ~vanished)).tolist())

        def keep(number: int, row: Any, result: AudioInfo | AudioError) -> bool:
            if isinstance(result, AudioError):
                errors[number] = result
            elif row["size"] == _GONE:  # came into being meanwhile
                errors[number] = audio_error("missing", excerpt_of(paths[number]).path)
            else:
                row["samples"], row["rate"], row["channels"] = result[:3]
                heard[number] = row[_HEARD]
                return True
            return False

        what = "files decoded" if decode else "headers"
        self._examine(what, new, paths, wanted, functools.partial(_header_of, decode=decode), keep)
        return Headers(heard, errors)

    def hashes(self, paths: Sequence[Path]) -> list[str]:
        """Return the SHA-256 of each file's content, which is read again only when it has changed.

        Raises:
            OSError: One cannot be read.
        """
        found: list[str] = []
        new: list[int] = []
        for first, records, places in self._known(paths, HASHED):
            found += [bytes(one).hex() for one in records["sha"]]
            new += (first + np.flatnonzero(places < 0)).tolist()

        def keep(number: int, row: Any, result: str) -> bool:
            found[number], row["sha"] = result, np.void(bytes.fromhex(result))
            return bool(row["size"] != _GONE)

        self._examine("contents", new, paths, HASHED, lambda path: sha256_of(Path(path)), keep)
        return found

    def unknown_bytes(self, paths: Iterable[Path]) -> int:
        """Return how many bytes `hashes` would have to read."""
        return sum(
            int(np.maximum(records["size"][places < 0], 0).sum())
            for _, records, places in self._known(paths, HASHED)
        )

    def _known(
        self, paths: Iterable[Sound], flags: int
    ) -> Iterator[tuple[int, Records, NDArray[np.integer]]]:
        """Yield some files' first number, their records, and -1 for those of unknown `flags`."""
        rest, first = iter(paths), 0
        while some := list(itertools.islice(rest, _LOOKED_UP)):
            records = _stamped(some)
            yield first, records, self._fill(records, flags)
            first += len(some)

    def _fill(self, records: Records, flags: int, *, anew: bool = True) -> NDArray[np.integer]:
        """Fill in what is known of files as they are; return -1 where `flags` are not.

        What is known of a file as it is stays known where more is found out about it.
        """
        places = self._ledger.find(records, anew=anew)
        there = places >= 0
        found = self._ledger.records[places[there]]
        same = (found["size"] == records["size"][there]) & (
            found["mtime"] == records["mtime"][there]
        )
        numbers = np.flatnonzero(there)[same]
        records[numbers] = found[same]
        enough = (records["flags"] & flags) == flags
        return np.where(enough, places, -1)

    def _examine(
        self,
        what: str,
        new: Sequence[int],
        paths: Sequence[Any],
        flags: int,
        examine: Callable[[Any], T],
        keep: Callable[[int, Any, T], bool],
    ) -> None:
        """Examine files, several at a time, and write what is kept as it comes."""
        if not new:
            return
        with Progress(what, len(new)) as progress, ThreadPoolExecutor(_NUM_THREADS) as pool:
            for first in range(0, len(new), _AT_ONCE):
                some = new[first : first + _AT_ONCE]
                sounds = [paths[number] for number in some]
                records = _stamped(sounds)
                self._fill(records, flags, anew=False)
                good = []
                for place, result in enumerate(pool.map(examine, sounds)):
                    if keep(some[place], records[place], result):
                        good.append(place)
                    progress.advance()
                records["flags"] |= flags
                self._ledger.append(records[good])
        self._ledger.tidy()


_SHARED: dict[Path, AudioIndex] = {}


def _stamped(sounds: Sequence[Sound]) -> Records:
    """Return a record of each file with its key and its stamp, nothing else known of it."""
    records = np.zeros(len(sounds), RECORD)
    keys, stamps = array("B"), array("q")
    here = os.getcwd() + "/"  # noqa: PTH109 (joined as text, a million times)
    for sound in sounds:
        if isinstance(sound, Excerpt):
            path, key = os.fspath(sound.path), sound.key
        else:
            path = key = os.fspath(sound)
        if not path.startswith("/"):
            key = here + key
        keys.frombytes(key_of(key))
        try:
            status = os.stat(path)  # noqa: PTH116 (a million times)
        except (OSError, ValueError):
            stamps.extend((_GONE, _GONE))
        else:
            stamps.extend((status.st_size, status.st_mtime_ns))
    records["key"], records["check"] = np.frombuffer(keys, "<u8").reshape(-1, 2).T
    records["size"], records["mtime"] = np.frombuffer(stamps, np.int64).reshape(-1, 2).T
    return records


def _header_of(sound: Sound, *, decode: bool) -> AudioInfo | AudioError:
    sound = excerpt_of(sound)
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
