"""What readers of tables have in common: recordings by name, what is missing, what is damaged."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from spknorm.audio import Walk, printable
from spknorm.audio.walking import SUFFIXES, suffix_of
from spknorm.corpora.copies import one_file_each
from spknorm.errors import MissingError

logger = logging.getLogger(__name__)


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
        name = key(file)
        if name is None:
            walk.left_out["without a row in the corpus' tables"] += 1
        else:
            found.setdefault(name, []).append(file)
    for name, files in found.items():
        found[name] = [one for one in files if suffix_of(one.name) in SUFFIXES] or files
    return found, walk


def present(
    found: Mapping[str, Sequence[Path]],
    wanted: Iterable[str],
    *,
    corpus: str,
    missing: str = "",
    damaged: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Return the file of each wanted utterance, without those that are damaged or not there.

    Both are counted in a warning.

    Raises:
        MissingError: None is there; `missing` is the message. Without one, none is fine.
        DataError: An utterance has two files that differ.
    """
    names = list(wanted)
    bad = [name for name in names if name in (damaged or {})]
    if bad and damaged:
        listed = "; ".join(f"{printable(name)} ({damaged[name]})" for name in bad)
        logger.warning(
            "%d recordings of %s are known to be damaged and are left out: %s",
            len(bad), corpus, listed,
        )  # fmt: skip
    good = [name for name in names if name not in (damaged or {})]
    chosen = one_file_each(found, good, corpus=corpus)
    lacking = [name for name in good if name not in chosen]
    if lacking:
        logger.warning(
            "%d utterances in %s's tables have no recording and are left out, the first: %s",
            len(lacking), corpus, printable(lacking[0]),
        )  # fmt: skip
    if not chosen and missing:
        raise MissingError(missing)
    return chosen


def tell(counts: Mapping[str, int], corpus: str) -> None:
    """Log how many utterances are left out, by reason."""
    some = [f"{count} {reason}" for reason, count in counts.items() if count]
    if some:
        logger.info("Utterances of %s that are left out: %s", corpus, ", ".join(some))
