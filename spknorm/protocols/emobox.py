"""EmoBox's fold lists, as the user has them on disk: which utterance is in which part of a fold.

Beside `owners.py`; corpora/doors/emobox.py reads the lists. Utterances are found by their own name,
in whatever way it is put together: `ravdess-03-01-05-01-02-01-18` is 03-01-05-01-02-01-18,
`casia-239-wangzhe-neutral` is wangzhe/neutral/239.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from spknorm.audio.faults import refuse
from spknorm.corpora.doors.emobox import lists_in
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import objects_of
from spknorm.errors import DataError, MissingError
from spknorm.protocols.parts import Part

logger = logging.getLogger(__name__)

_SUFFIX = re.compile(r"\.(avi|flac|mp3|mp4|wav|webm)$")
Name = tuple[str, ...]


def hold_out_by_lists(
    records: Sequence[Utterance], fold: str, folder: Path | str
) -> tuple[Part, Part, Part]:
    """Return (train, dev, test) as the lists of one fold have them; dev is empty without a list.

    Utterances that no list names are left out, as are those listed that are not there; both are
    counted in the log. Where there are test lists alone, the others train.

    Raises:
        MissingError: There is no such folder, or no test list of this fold in it.
        DataError: A list cannot be read, names nothing of the corpus, two lists name one utterance,
            or there are two of one part.
    """
    files = _files(Path(folder), int(fold.removeprefix("fold")))
    known = _by_name(records)
    place: dict[str, str] = {}
    listed = lost = 0
    for part, path in files:
        for names in _entries(path):
            listed += 1
            found = next((known[name] for name in names if name in known), None)
            if found is None:
                lost += 1
            elif place.setdefault(found.id, part) != part:
                raise DataError(f"{path} names {found.id}, which is in {place[found.id]}, too.")
    if not place:
        raise DataError(
            f"None of the {listed} utterances that {Path(folder)} lists for {fold} is in this "
            "corpus: are these the lists of this corpus?"
        )
    if "train" not in {part for part, _ in files}:
        place = {one.id: place.get(one.id, "train") for one in records}
    if lost or len(place) < len(records):
        logger.warning(
            "EmoBox's %s: %d of %d listed utterances are not in the corpus (or have a class that "
            "is left out), %d of %d of the corpus are on no list; both are left out.",
            fold, lost, listed, len(records) - len(place), len(records),
        )  # fmt: skip
    parts: dict[str, Part] = {"train": [], "dev": [], "test": []}
    for one in records:
        if one.id in place:
            parts[place[one.id]].append(one)
    return parts["train"], parts["dev"], parts["test"]


def _files(folder: Path, number: int) -> list[tuple[str, Path]]:
    if not folder.is_dir():
        raise MissingError(
            f"`downstream_expert.datarc.fold_lists` is {folder}, which is not a folder; it is the "
            "folder of the corpus among EmoBox's `data`, with fold_1, fold_2, ... in it."
        )
    found: dict[str, Path] = {}
    for one in lists_in(folder):
        if one.part is None or one.fold != str(number):
            continue
        if one.part in found:
            raise DataError(
                f"{folder} has two lists of the {one.part} part of fold {number}, "
                f"{found[one.part]} and {one.path}: `fold_lists` is the folder of one corpus."
            )
        found[one.part] = one.path
    if "test" not in found:
        raise MissingError(f"{folder} has no list fold_{number}/<corpus>_test_fold_{number}.jsonl.")
    return sorted(found.items())


def _entries(path: Path) -> Iterator[list[Name]]:
    """Yield the names under which each listed utterance may be found, the surest first."""
    problems: list[str] = []
    for number, row in objects_of(path):
        key, wav = ("", "") if isinstance(row, str) else (row.get("key"), row.get("wav", ""))
        if isinstance(key, str) and key and isinstance(wav, str):
            yield _names(_SUFFIX.sub("", key.partition("-")[2] or key), wav)
        else:
            wrong = row if isinstance(row, str) else "lacks 'key'"
            problems.append(f"{path.name}, line {number}: {wrong}")
    refuse(problems, f"lines of {path} cannot be used")


def _by_name(records: Sequence[Utterance]) -> dict[Name, Utterance]:
    """Return the records by every name that only one of them has."""
    found: dict[Name, Utterance | None] = {}
    for one in records:
        for name in set(_names(one.id, one.path.as_posix())):
            found[name] = None if name in found else one
    return {name: one for name, one in found.items() if one is not None}


def _names(key: str, path: str) -> list[Name]:
    """Return the names of an utterance: words in their order, then, less sure, in any."""
    parts = PurePosixPath(path).with_suffix("").parts if path else ()
    ends = [" ".join(parts[-depth:]) for depth in (1, 2, 3) if len(parts) >= depth]
    words = [tuple(re.findall(r"[^\W_]+", text.casefold())) for text in (key, *ends)]
    return [*(("in order", *one) for one in words), *(("in any", *sorted(one)) for one in words)]
