"""Sound files below a folder: the one walk that every corpus and `predict` take.

Links are followed, but not back to a folder that is being walked. Nothing is left out in silence:
what is not taken is counted by kind.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".mp3", ".oga", ".opus", ".aif", ".aiff", ".aifc"),
    *(".au", ".snd", ".sph", ".caf", ".w64", ".rf64", ".wave", ".mp2"),
)
"""Of files that are taken for recordings; what they really are, their content says."""

CONTAINERS = (
    *(".m4a", ".mp4", ".aac", ".webm", ".weba", ".mkv", ".mka", ".mov", ".avi", ".wma", ".amr"),
    *(".3gp", ".ape", ".wv", ".tta", ".ac3"),
)
"""Of files that PyAV reads; they are taken where a corpus is handed out in them."""

UNREADABLE = (*CONTAINERS, ".shn", ".ra", ".rm", ".dsf", ".voc", ".mpg")
"""Of files that hold sound and are not taken: their number is a warning, not a remark."""

HIDDEN = "hidden (`._x.wav`, `.DS_Store`)"
LOOP = "a link back to its own folder"
CLOSED = "a folder that may not be read"
ELSEWHERE = "not where the corpus has its recordings"


class Walk:
    """The recordings below some folders, and what lay beside them.

    Args:
        containers: Take `CONTAINERS`, too.

    Attributes:
        left_out: How many files were not taken, by suffix or reason.
    """

    def __init__(self, *, containers: bool = False) -> None:
        self._suffixes = frozenset((*SUFFIXES, *CONTAINERS) if containers else SUFFIXES)
        self.left_out: Counter[str] = Counter()

    def files(self, folder: Path | str) -> Iterator[Path]:
        """Yield the recordings below a folder in the order of their names, folder by folder."""
        for place, names in self.folders(folder):
            for name in names:
                yield Path(place, name)

    def folders(self, folder: Path | str) -> Iterator[tuple[str, list[str]]]:
        """Yield the same as pairs: a folder, and recordings that lie in it side by side."""
        yield from self._below(os.fspath(folder), frozenset())

    def _below(
        self, folder: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[tuple[str, list[str]]]:
        try:
            status = os.stat(folder)  # noqa: PTH116 (thousands of times)
            with os.scandir(folder) as found:
                entries = sorted([(entry.name, entry) for entry in found])
        except OSError:
            self.left_out[CLOSED] += 1
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            self.left_out[LOOP] += 1
            return
        names: list[str] = []
        for name, entry in entries:
            if name.startswith("."):
                self.left_out[HIDDEN] += 1
            elif (is_folder := _is_folder(entry)) is None:
                self.left_out[LOOP] += 1
            elif is_folder:
                if names:
                    yield folder, names
                    names = []
                yield from self._below(entry.path, above | {identity})
            elif (suffix := suffix_of(name)) in self._suffixes:
                names.append(name)
            else:
                self.left_out[suffix or "without a suffix"] += 1
        if names:
            yield folder, names

    def report(self, folder: Path | str) -> None:
        """Log what was left out: a warning where it may be missed."""
        if not self.left_out:
            return
        missed = self.left_out.keys() & {*UNREADABLE, LOOP, CLOSED, ELSEWHERE}
        level = logging.WARNING if missed else logging.INFO
        logger.log(
            level,
            "%d files under %s are not taken: %s%s",
            self.left_out.total(),
            folder,
            self.summary(),
            " (convert what is sound to wav)" if missed & set(UNREADABLE) else "",
        )

    def aside(self) -> str:
        """Return a sentence on what was left out, for a message: ` Not taken: 3 .m4a.`."""
        return f" Not taken: {self.summary()}." if self.left_out else ""

    def summary(self) -> str:
        """Return what was left out, the most frequent first: `3 .m4a, 1 hidden`."""
        return ", ".join(f"{count} {kind}" for kind, count in self.left_out.most_common())


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """Return whether an entry is a folder, or None for a link that leads to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return None


def suffix_of(name: str) -> str:
    """Return a file name's ending in small letters, `.wav`."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (thousands of times)
