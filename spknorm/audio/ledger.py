"""What is known of files, as fixed-size records in one file that many processes append to.

Under `index.py`. A record is found by a hash of its key, so that a million files take 80 MB and no
Python object each. The file is a row of blocks, each with its checksum: what a kill left of a block
is cut off by the next writer. It is a cache, and what cannot be read is done without.
"""

import contextlib
import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError
from spknorm.files import lock_file, write_atomic

logger = logging.getLogger(__name__)

HEADER, DECODED, HASHED = 1, 2, 4
"""Flags of a record: what of it is known."""
RECORD = np.dtype(
    [
        ("key", "<u8"),
        ("check", "<u8"),
        ("size", "<i8"),
        ("mtime", "<i8"),
        ("samples", "<i8"),
        ("rate", "<u4"),
        ("channels", "<u2"),
        ("flags", "<u2"),
        ("sha", "V32"),
    ]
)
_BLOCK = struct.Struct("<8sII")  # magic, number of records, checksum
_MAGIC = b"spknidx2"
_SPARE = 10_000  # superseded records that are not worth a rewriting

Records = NDArray[Any]
"""Of type RECORD."""


def key_of(text: str) -> bytes:
    """Return the 16 bytes by which a file is known."""
    return hashlib.blake2b(os.fsencode(text), digest_size=16).digest()


class Ledger:
    """The records of one file, and what this process adds to them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: Records = np.empty(0, RECORD)  # as they came, superseded ones, too
        self._keys: NDArray[np.integer] = np.empty(0, np.uint64)  # sorted, each once
        self._places: NDArray[np.integer] = np.empty(0, np.int64)  # of these keys' last records
        self._new: list[Records] = []
        self._end = 0  # of what was read
        self._inode = 0
        self._writable = True

    def find(self, wanted: Records, *, anew: bool = True) -> NDArray[np.integer]:
        """Return the place (N,) of each key of others among `records`, -1 where it is not known.

        Args:
            wanted: Their keys count.
            anew: Take in first what was appended since the last time, here and by others.
        """
        if anew:
            self._read()
            self._merge()
        if not len(self._keys):
            return np.full(len(wanted), -1)
        numbers = np.searchsorted(self._keys, wanted["key"])
        places = self._places[np.minimum(numbers, len(self._keys) - 1)]
        found = self._records[places]
        there = (found["key"] == wanted["key"]) & (found["check"] == wanted["check"])
        return np.where(there, places, -1)

    @property
    def records(self) -> Records:
        """What `find` points into."""
        return self._records

    def append(self, records: Records) -> None:
        """Add records; a key that was there is superseded."""
        if not self._writable or not len(records):
            self._new.append(records)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked() as file:
                self._read()
                file.seek(self._end)
                file.truncate()  # what a kill left behind
                content = _block(records)
                file.write(content)
                file.flush()
                self._end += len(content)
                self._inode = os.fstat(file.fileno()).st_ino
        except (OSError, ConfigError) as error:
            self._writable = False
            logger.warning("%s cannot be written (%s); files are read again", self.path, error)
        self._new.append(records)

    def tidy(self) -> None:
        """Write the file anew where more than half of it is superseded."""
        held = max(0, self._end - _BLOCK.size) // RECORD.itemsize
        if not self._writable or held < 2 * len(self._keys) + _SPARE:
            return
        with contextlib.suppress(OSError, ConfigError), self._locked():
            self._read()
            self._merge()
            self._compact()
            write_atomic(self.path, _block(self._records))
            self._end = self._inode = 0

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """Open the file under its lock; one that was replaced meanwhile is opened again."""
        while True:
            with self.path.open("a+b") as created, self.path.open("r+b") as file:
                lock_file(created, self.path.parent, wait=True)
                inode = os.fstat(file.fileno()).st_ino
                if (inode, inode) == (os.fstat(created.fileno()).st_ino, self.path.stat().st_ino):
                    yield file
                    return

    def _read(self) -> None:
        """Take in what others have appended since."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                inode, held = status.st_ino, status.st_size
                if inode != self._inode:  # the first time, or it was written anew
                    self._end, self._inode = 0, inode
                file.seek(self._end)
                while True:
                    header = file.read(_BLOCK.size)
                    if len(header) < _BLOCK.size:
                        return
                    magic, count, check = _BLOCK.unpack(header)
                    size = count * RECORD.itemsize
                    if magic != _MAGIC or self._end + _BLOCK.size + size > held:
                        return
                    content = file.read(size)
                    if len(content) < size or zlib.crc32(content) != check:
                        return
                    self._new.append(np.frombuffer(content, RECORD))
                    self._end += len(header) + len(content)
        except FileNotFoundError:
            self._end = self._inode = 0
        except OSError as error:
            logger.warning("%s cannot be read (%s)", self.path, error)

    def _merge(self) -> None:
        """Sort what is new in; the last of equal keys is found."""
        if not self._new:
            return
        parts, self._new = [self._records, *self._new], []
        self._records = np.empty(sum(map(len, parts)), RECORD)
        end = len(self._records)
        while parts:  # each is let go of as it is copied: of a million files there are 80 MB
            part = parts.pop()
            self._records[end - len(part) : end] = part
            end -= len(part)
            del part
        keys = np.ascontiguousarray(self._records["key"])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        last = np.append(keys[1:] != keys[:-1], True)
        self._keys, self._places = keys[last], order[last]
        if len(self._records) >= 2 * len(self._keys) + _SPARE:
            self._compact()

    def _compact(self) -> None:
        """Let go of superseded records."""
        self._records = self._records[self._places]
        self._places = np.arange(len(self._records))


def _block(records: Records) -> bytes:
    content = records.tobytes()
    return _BLOCK.pack(_MAGIC, len(records), zlib.crc32(content)) + content
