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


def recordings(
    root: Path, key: Callable[[Path], str | None], *, containers: bool = False
) -> tuple[dict[str, list[Path]], Walk]:
    """Return the recordings below a folder by what `key` makes of them (None: not of the corpus).

    Where sound and video of one name lie side by side, the sound goes first and the video is
    passed over.
    """
    walk = Walk(containers=containers)
    found: dict[str, list[Path]] = {}
    for file in walk.files(root):
        if (name := key(file)) is None:
            walk.left_out[NOT_LISTED] += 1
        else:
            found.setdefault(name, []).append(file)
    return {name: sound_of(files) for name, files in found.items()}, walk


def sound_of(files: list[P]) -> list[P]:
    """Return those of an utterance's files that are sound; where all are videos, these."""
    return [one for one in files if suffix_of(os.fspath(one)) in SUFFIXES] or files


def present(
    found: Mapping[str, Sequence[Path]],
    wanted: Iterable[str],
    *,
    corpus: str,
    missing: str = "",
    damaged: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Return the file of each wanted utterance, without those that are damaged or not there.

    Both are counted in a warning. `wanted` are those that the corpus' tables have; `damaged` says
    why, by utterance.

    Raises:
        MissingError: None is there; `missing` is the message. Without one, none is fine.
        DataError: An utterance has two files that differ.
    """
    good = undamaged(wanted, damaged or {}, corpus=corpus)
    chosen = one_file_each(found, good, corpus=corpus)
    if lacking := [name for name in good if name not in chosen]:
        logger.warning(
            "%d utterances in %s's tables have no recording and are left out, the first: %s",
            len(lacking), corpus, printable(lacking[0]),
        )  # fmt: skip
    if not chosen and missing:
        raise MissingError(missing)
    return chosen


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
