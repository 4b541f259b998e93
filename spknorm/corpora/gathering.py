"""What readers have in common: recordings by name, what is missing, what is damaged, copies.

Several files for one utterance: the same recording twice is fine, two recordings are not.
"""

import filecmp
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from spknorm.audio import Walk, printable
from spknorm.audio.faults import refuse
from spknorm.audio.walking import SUFFIXES, suffix_of
from spknorm.errors import MissingError

logger = logging.getLogger(__name__)

P = TypeVar("P", Path, str)

NOT_LISTED = "without a row in the corpus' tables"


class Aside(str):
    """Why a file is none of a corpus' recordings, in the place of a name."""


def recordings(
    root: Path,
    wanted: Iterable[str] | None,
    *,
    corpus: str,
    key: Callable[[Path], str | None] | None = None,
    missing: str = "",
    damaged: Mapping[str, str] | None = None,
    containers: bool = False,
) -> dict[str, Path]:
    """Return the file of each utterance below a folder, without those that are damaged or lacking.

    Both are counted in a warning, files of no utterance in a remark. Where sound and video of one
    name lie side by side, the video is passed over.

    Args:
        root: The folder.
        wanted: The utterances that the corpus' tables have, in the order that is wanted; None: all
            that are there, by name.
        corpus: As people call it.
        key: Names a file's utterance; None, or an `Aside`: it is of none. Without it, utterances
            are called as their files.
        missing: What is said where there is none; without it, none is fine.
        damaged: Why, by utterance.
        containers: Whether it is handed out as video.

    Raises:
        MissingError: There is none.
        DataError: An utterance has two files that differ.
    """
    walk = Walk(containers=containers)
    listed = None if wanted is None else list(wanted)
    stems = frozenset(listed or ())
    found: dict[str, list[Path]] = {}
    for file in walk.files(root):
        name = key(file) if key is not None else file.stem if file.stem in stems else None
        if name is None or isinstance(name, Aside):
            walk.left_out[name or NOT_LISTED] += 1
        else:
            found.setdefault(name, []).append(file)
    found = {name: sound_of(files) for name, files in found.items()}
    good = undamaged(sorted(found) if listed is None else listed, damaged or {}, corpus=corpus)
    chosen = one_file_each(found, good, corpus=corpus)
    if lacking := [name for name in good if name not in chosen]:
        logger.warning(
            "%d utterances in %s's tables have no recording and are left out, the first: %s",
            len(lacking), corpus, printable(lacking[0]),
        )  # fmt: skip
    if not chosen and missing:
        raise MissingError(missing)
    walk.report(root)
    return chosen


def sound_of(files: list[P]) -> list[P]:
    """Return those of an utterance's files that are sound; where all are videos, these."""
    return [one for one in files if suffix_of(os.fspath(one)) in SUFFIXES] or files


def undamaged(names: Iterable[str], damaged: Mapping[str, str], *, corpus: str) -> list[str]:
    """Return the names without those of which is known what is damaged; these are told."""
    names = list(names)
    if bad := [name for name in names if name in damaged]:
        listed = "; ".join(f"{printable(name)} ({damaged[name]})" for name in bad)
        logger.warning(
            "%d recordings of %s are known to be damaged and are left out: %s",
            len(bad), corpus, listed,
        )  # fmt: skip
    return [name for name in names if name not in damaged]


def one_file_each(
    found: Mapping[str, Sequence[Path]], wanted: Iterable[str], *, corpus: str
) -> dict[str, Path]:
    """Return the file of each wanted utterance that has any: the first by name.

    `wanted` are those that are going to be used; copies of others do not matter.

    Raises:
        DataError: Files of one utterance differ in content; they are named side by side.
    """
    chosen: dict[str, Path] = {}
    problems: list[str] = []
    for name in wanted:
        if not (files := found.get(name, ())):
            continue
        chosen[name] = files[0]
        if others := [file for file in files[1:] if not _same(files[0], file)]:
            places = ", ".join(printable(file) for file in (files[0], *others))
            problems.append(f"{printable(name)}: {places}")
    refuse(
        problems,
        f"utterances of {corpus} have several files that differ; which one is meant cannot be "
        "known, so remove the others",
    )
    return chosen


def _same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second) or filecmp.cmp(first, second, shallow=False)
    except OSError:  # a link to nowhere, a file that may not be read
        return False


def tell(counts: Mapping[str, int], corpus: str) -> None:
    """Log how many utterances are left out, by reason."""
    if some := [f"{count} {reason}" for reason, count in counts.items() if count]:
        logger.info("Utterances of %s that are left out: %s", corpus, ", ".join(some))
