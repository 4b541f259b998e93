"""Doors: lists of other tools, read where they lie. `corpus: manifest` opens them by their content.

A new door is a file here and a row in `DOORS`. What fits none of them is a table of one's own
(spknorm/corpora/manifest.py).
"""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from spknorm.audio.faults import refuse
from spknorm.corpora.doors import audformat, emobox, hugging_face, kaldi, nkululeko
from spknorm.corpora.doors.cells import utterance
from spknorm.corpora.manifest import read_manifest
from spknorm.corpora.paths import PathGuard
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError, MissingError


class Door(NamedTuple):
    """A kind of list, its title as people call it.

    Attributes:
        what: What `manifest:` has to name.
        module: `fits` says whether a file or folder is of this kind, `rows` yields what it lists,
            an utterance perhaps once per fold and part.
        each: What messages call its rows.
        nothing: What is said behind its path where it lists nothing.
    """

    title: str
    what: str
    module: ModuleType
    each: str = "lines in"
    nothing: str = " lists no utterance."


DOORS = (
    Door("audformat", "the folder with db.yaml", audformat, "rows in",
         "/db.yaml has no filewise or segmented table with rows."),
    Door("Kaldi", "the folder with wav.scp", kaldi, nothing="/wav.scp lists nothing."),
    Door("EmoBox", "data/<corpus>, a fold of it or a .jsonl file", emobox),
    Door("Hugging Face datasets", "the folder with .arrow or .parquet files, or with metadata.csv",
         hugging_face, "rows in"),
    Door("nkululeko", "the .csv file with a column `file`", nkululeko, "lines of"),
)  # fmt: skip
"""In the order in which they are tried."""


def read_list(
    path: Path | str,
    *,
    root: Path | str | None = None,
    allow_outside: bool = False,
    by_part: bool = False,
) -> list[Utterance]:
    """Return the utterances of a manifest or of another tool's list.

    What a file or folder is, its content says. Paths are relative to `root` (None: its own folder),
    and leave it (by `..`, absolute or by a symbolic link) only if `allow_outside`. `by_part` keeps
    an utterance that is in several folds or parts once for each; otherwise it is there once, with
    its part if that is the same in all.

    Raises:
        ConfigError: A folder is of no known kind.
        MissingError: There is nothing of that name, or it needs pyarrow, which is not installed.
        DataError: It cannot be read, or rows of it cannot be used: at most 20 are named.
    """
    path = Path(path)
    door = next((one for one in DOORS if one.module.fits(path)), None)
    if door is None and path.is_dir():
        known = "; ".join(f"{one.title}: {one.what}" for one in DOORS)
        raise ConfigError(f"The folder {path} is of no known kind. Known are {known}.")
    folder = (path if path.is_dir() else path.parent) if root is None else Path(root)
    if not folder.is_dir():
        called = "the manifest " if door is None else ""
        raise MissingError(f"There is no folder {folder}, the root of {called}{path}.")
    guard = PathGuard(folder, allow_outside=allow_outside)
    if door is None:
        return read_manifest(path, guard, by_part=by_part)
    if door.module is hugging_face and path.is_file():
        path = path.parent  # one of the files of a data set
    records: list[Utterance] = []
    problems: list[str] = []
    for row in door.module.rows(path):
        if isinstance(row, str):
            problems.append(row)
            continue
        try:
            file = row.path if isinstance(row.path, Path) else guard(row.path)
            records.append(utterance(row, file))
        except ValueError as error:
            problems.append(f"{row.where}: {error}")
    refuse(problems, f"{door.each} {path} cannot be used")
    if not records:
        raise DataError(f"{path}{door.nothing}")
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
    for one in kept.values():
        labels = {key: value for key, value in one.labels.items() if key != "fold"}
        kept[one.id] = replace(one, labels=labels)
    return [*kept.values()]
