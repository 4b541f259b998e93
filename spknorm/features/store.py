"""Arrays by key in a cache folder: written once, memory-mapped, shared by processes, never trusted.

Under the reader; it knows numpy and files, nothing of upstreams. A store is a folder
of packs. A pack is `<name>.npy`, many arrays end to end, and `<name>.json`, which says what is in
it and is written last: a pack without its JSON was never finished and is not read.
"""

import contextlib
import itertools
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spknorm.errors import ConfigError
from spknorm.files import atomic_path, nearest_folder, sha256_of, write_json

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]

SCHEMA = "spknorm.features/1"
PACK_BYTES = 256 << 20
"""Size of a pack: a fill that is killed loses at most this much; one that is asked to end, nothing.
"""
_SPARE_BYTES = 1 << 30


class _Place(NamedTuple):
    pack: Array
    start: int
    stop: int


class FeatureStore:
    """Arrays of shape (rows, ...) by key; rows differ, the rest of the shape and the type do not.

    Args:
        folder: Of this store alone; made when the first pack is written.
        about: What the arrays are, kept in each pack for whoever finds it.
    """

    def __init__(self, folder: Path, *, about: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._about = dict(about)
        self._places: dict[str, _Place] = {}
        self._opened: set[str] = set()

    def __getitem__(self, key: str) -> Array:
        """Return the array of a key that `missing` did not name, as a view of the mapped file."""
        place = self._places[key]
        return place.pack[place.start : place.stop]

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return which keys are not stored, each once, after reading every pack that holds any.

        A pack whose content does not match its checksum is removed, and told; its keys are missing.
        """
        wanted = dict.fromkeys(keys)
        if any(key not in self._places for key in wanted):
            for index in sorted(self.folder.glob("*.json")):
                if index.name not in self._opened:
                    self._open(index, wanted)
        return [key for key in wanted if key not in self._places]

    def add(self, items: Iterable[tuple[str, Array]]) -> None:
        """Store arrays under their keys, pack by pack, as they come out of the iterator."""
        for pack in _packs(items):
            try:
                self._write(pack)
            except (KeyboardInterrupt, SystemExit):
                self._write(pack)  # it was computed, and is not to be lost
                raise

    def _write(self, pack: list[tuple[str, Array]]) -> None:
        data = np.concatenate([array for _, array in pack])
        keys, rows = [key for key, _ in pack], [len(array) for _, array in pack]
        about = "\n".join(keys).encode()
        name = sha256_of(about + data.tobytes())[:32]  # two writers never mix their files
        file = self.folder / f"{name}.npy"
        try:
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, data)
                stream.flush()
            write_json(
                file.with_suffix(".json"),
                {
                    "schema": SCHEMA,
                    "about": self._about,
                    "sha256": sha256_of(file),
                    "keys": keys,
                    "rows": rows,
                },
            )
        except OSError as error:
            raise ConfigError(
                f"The feature cache {self.folder} cannot be written ({error.strerror}). Name "
                "another folder with config.upstream.cache_dir, or set config.upstream.cache "
                "to off."
            ) from error
        self._index_pack(file, keys, rows)

    def used(self) -> int:
        """Return how many bytes the store has on its disk."""
        return sum(file.stat().st_size for file in self.folder.glob("*.npy"))

    def room_for(self, num_bytes: float, *, limit_bytes: float) -> str | None:
        """Return None if the store may grow by `num_bytes`, else why it may not."""
        used = self.used()
        if used + num_bytes > limit_bytes:
            return (
                f"it would take {human_size(used + num_bytes)}, above the limit of "
                f"{human_size(limit_bytes)} (config.upstream.cache_limit_gb)"
            )
        place = nearest_folder(self.folder)
        free = shutil.disk_usage(place).free
        if num_bytes + _SPARE_BYTES > free:
            return f"{place} has {human_size(free)} free, and {human_size(num_bytes)} are needed"
        return None

    def _open(self, index: Path, wanted: Mapping[str, None]) -> None:
        try:
            content = json.loads(index.read_text())
            keys, rows = content["keys"], content["rows"]
            if content["schema"] != SCHEMA or wanted.keys().isdisjoint(keys):
                return
            if sha256_of(index.with_suffix(".npy")) != content["sha256"]:
                raise ValueError("its content does not match its checksum")
            self._index_pack(index.with_suffix(".npy"), keys, rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning(
                "The cached features %s are damaged (%s): they are computed again.", index, error
            )
            with contextlib.suppress(OSError):  # someone else's cache: it stays, unread
                index.unlink(missing_ok=True)
                index.with_suffix(".npy").unlink(missing_ok=True)

    def _index_pack(self, file: Path, keys: list[str], rows: list[int]) -> None:
        pack = np.load(file, mmap_mode="c", allow_pickle=False)  # c: torch wants writable memory
        ends = list(itertools.accumulate(rows, initial=0))
        if len(keys) != len(rows) or ends[-1] != len(pack):
            raise ValueError("its rows do not add up")
        for key, start, stop in zip(keys, ends, ends[1:], strict=False):
            self._places[key] = _Place(pack, start, stop)
        self._opened.add(file.with_suffix(".json").name)


def human_size(num_bytes: float) -> str:
    """Return a size as people say it, such as `1.5 GB`."""
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} GB"


def _packs(items: Iterable[tuple[str, Array]]) -> Iterator[list[tuple[str, Array]]]:
    """Yield items in packs; what there is of the last one also where the items break off."""
    pack: list[tuple[str, Array]] = []
    size = 0
    try:
        for key, array in items:
            pack.append((key, array))
            size += array.nbytes
            if size >= PACK_BYTES:
                whole, pack, size = pack, [], 0
                yield whole
    except (KeyboardInterrupt, SystemExit):
        if pack:
            yield pack
        raise
    if pack:
        yield pack
