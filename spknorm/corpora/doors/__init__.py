"""Doors: lists of other tools, read where they lie. `corpus: manifest` opens them by their content.

A new door is a file here and a row in `DOORS`. What fits none of them is a table of one's own
(spknorm/corpora/manifest.py).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from spknorm.corpora.doors import audformat, emobox, hugging_face, kaldi, nkululeko
from spknorm.corpora.doors.cells import Place
from spknorm.corpora.manifest import read_manifest
from spknorm.corpora.paths import PathGuard
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, MissingError


class Door(NamedTuple):
    """A kind of list: how it is told, and how it is read.

    Attributes:
        title: As people call it.
        what: What `manifest:` has to name.
        fits: Whether a file or folder is of this kind.
        read: From the place to utterances; an utterance may be there once per fold and part.
    """

    title: str
    what: str
    fits: Callable[[Path], bool]
    read: Callable[[Place], list[Utterance]]


DOORS = (
    Door("audformat", "the folder with db.yaml", audformat.fits, audformat.read),
    Door("Kaldi", "the folder with wav.scp", kaldi.fits, kaldi.read),
    Door("EmoBox", "data/<corpus>, a fold of it or a .jsonl file", emobox.fits, emobox.read),
    Door(
        "Hugging Face datasets",
        "the folder with .arrow or .parquet files, or with metadata.csv",
        hugging_face.fits,
        hugging_face.read,
    ),
    Door("nkululeko", "the .csv file with a column `file`", nkululeko.fits, nkululeko.read),
)
"""In the order in which they are tried."""


def read_list(
    path: Path | str,
    *,
    root: Path | str | None = None,
    allow_outside: bool = False,
    by_part: bool = False,
) -> list[Utterance]:
    """Return the utterances of a manifest or of another tool's list.

    Args:
        path: A file or folder; what it is, its content says.
        root: What its paths are relative to and may not leave; None: its own folder.
        allow_outside: Let paths leave the root.
        by_part: Keep an utterance that is in several folds once for each; otherwise it is there
            once, with its part if that is the same in all.

    Raises:
        ConfigError: A folder is of no known kind.
        MissingError: There is nothing of that name.
        DataError: It cannot be read.
    """
    path = Path(path)
    door = next((one for one in DOORS if one.fits(path)), None)
    if door is None:
        if path.is_dir():
            known = "; ".join(f"{one.title}: {one.what}" for one in DOORS)
            raise ConfigError(f"The folder {path} is of no known kind. Known are {known}.")
        return read_manifest(path, root=root, allow_outside=allow_outside, by_part=by_part)
    folder = (path if path.is_dir() else path.parent) if root is None else Path(root)
    if not folder.is_dir():
        raise MissingError(f"There is no folder {folder}, the root of {path}.")
    guard = PathGuard(folder, allow_outside=allow_outside)
    records = door.read(Place(path, folder, guard))
    return records if by_part else _once(records)


def _once(records: list[Utterance]) -> list[Utterance]:
    """Return each utterance once; one that trains in one fold and is tested in another has no part.

    The fold is a column of each; without folds everything is as it was.
    """
    kept: dict[str, Utterance] = {}
    for one in records:
        before = kept.setdefault(one.id, one)
        if before.split != one.split:
            kept[one.id] = replace(before, split=None)
    if len(kept) == len(records):
        return records
    return [
        replace(one, labels={key: value for key, value in one.labels.items() if key != "fold"})
        for one in kept.values()
    ]
