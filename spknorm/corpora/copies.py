"""Several files for one utterance: the same recording twice is fine, two recordings are not."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from spknorm.audio.faults import printable, refuse
from spknorm.audio.index import content_hash


def one_file_each(
    found: Mapping[str, Sequence[Path]], wanted: Iterable[str], *, corpus: str
) -> dict[str, Path]:
    """Return the file of each wanted utterance that has any: the first by name.

    Args:
        found: The files by utterance, in the order in which they were walked.
        wanted: Utterances that are going to be used; copies of others do not matter.
        corpus: Its title, for the message.

    Raises:
        DataError: Files of one utterance differ in content; they are named side by side.
    """
    chosen: dict[str, Path] = {}
    problems: list[str] = []
    for name in wanted:
        files = found.get(name, ())
        if not files:
            continue
        chosen[name] = files[0]
        others = [file for file in files[1:] if not _same(files[0], file)]
        if others:
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
        return first.samefile(second) or content_hash(first) == content_hash(second)
    except OSError:  # a link to nowhere, a file that may not be read
        return False
