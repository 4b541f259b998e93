"""VoxCeleb1 -> utterances: {dev,test}/wav/idXXXXX/<video>/<n>.wav and its split list."""

import logging
import os
import re
from pathlib import Path

from spknorm.audio import Walk, printable
from spknorm.audio.faults import refuse
from spknorm.audio.walking import ELSEWHERE
from spknorm.corpora.gathering import one_file_each
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import text_of
from spknorm.errors import DataError, MissingError

logger = logging.getLogger(__name__)

SPLITS = {"1": "train", "2": "dev", "3": "test"}
_LISTS = ("iden_split.txt", "veri_test_class.txt")  # VoxCeleb's name for it, and s3prl's
_ENTRY = re.compile(r"([123])\s+((id\d+)/([^/]+)/([^/]+))", re.ASCII)
_SPEAKER = re.compile(r"id\d+", re.ASCII)


def read(ask: Ask) -> list[Utterance]:
    """Return what the settings ask for; see `read_voxceleb1`."""
    return read_voxceleb1(ask.root, split_file=ask.section.meta_data)


def read_voxceleb1(root: Path | str, *, split_file: Path | str | None = None) -> list[Utterance]:
    """Return VoxCeleb1's utterances with their speaker (`id10001`), video and, if listed, split.

    The root has `dev/wav` and `test/wav`, either of them, or `wav`. The identification split list
    (lines `1 id10001/<video>/00001.wav`) is iden_split.txt or veri_test_class.txt there if none is
    given. Without any all utterances are returned, in the order of their names, and have no split.

    They are in the list's order. One may be kept in another format than the list says (flac beside
    a list of wav); those that are not there are left out, and counted in a warning.

    Raises:
        MissingError: The root has no such layout, or `split_file` does not exist.
        DataError: A line of the list is malformed, none of its utterances is there, or one has
            two files that differ.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 (links are kept as they are)
    found = _sound_files(root)
    if split_file is not None and not Path(split_file).is_file():
        raise MissingError(f"There is no VoxCeleb1 identification split list {split_file}.")
    places = (root / name for name in _LISTS) if split_file is None else (Path(split_file),)
    if (file := next(filter(Path.is_file, places), None)) is None:
        chosen = one_file_each(found, sorted(found), corpus="VoxCeleb1")
        return [_utterance(name, path, None) for name, path in chosen.items()]
    listed = _read_list(file)
    for name in listed:  # as the list has it, where there are several kinds of files
        files = found.get(_stem(name), [])
        exact = [path for path in files if path.name == name.rpartition("/")[2]]
        found[_stem(name)] = exact or files
    chosen = one_file_each(found, map(_stem, listed), corpus="VoxCeleb1")
    records = [
        _utterance(stem, chosen[stem], split)
        for name, split in listed.items()
        if (stem := _stem(name)) in chosen
    ]
    if not records:
        raise DataError(f"None of the {len(listed)} utterances in {file} is under {root}.")
    if len(records) < len(listed):
        logger.warning(
            "%d of the %d utterances in %s are not under %s and are left out",
            len(listed) - len(records), len(listed), file, root,
        )  # fmt: skip
    return records


def _utterance(name: str, path: Path, split: str | None) -> Utterance:
    speaker, video, _ = name.split("/")
    labels = {"video": printable(video)}
    return Utterance(id=printable(name), path=path, speaker=speaker, split=split, labels=labels)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122 (a name, not a path)


def _sound_files(root: Path) -> dict[str, list[Path]]:
    """Return the files by their name in the split list without its ending."""
    folders = (root / "dev/wav", root / "test/wav", root / "wav")
    if not (present := [folder for folder in folders if folder.is_dir()]):
        raise MissingError(
            f"{root} is not VoxCeleb1: it has none of the folders dev/wav, test/wav and wav."
        )
    walk = Walk()
    found: dict[str, list[Path]] = {}
    for folder in present:
        for file in walk.files(folder):
            name = file.relative_to(folder).parts
            if len(name) == 3 and _SPEAKER.fullmatch(name[0]):
                found.setdefault(_stem("/".join(name)), []).append(file)
            else:
                walk.left_out[ELSEWHERE] += 1
    if not found:
        aside = f" ({walk.summary()} are not taken)" if walk.left_out else ""
        raise MissingError(f"No audio lies under {', '.join(map(str, present))}{aside}.")
    walk.report(root)
    return found


def _read_list(file: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text_of(file).split("\n"), start=1):
        if not line.strip():
            continue
        match = _ENTRY.fullmatch(line.strip().replace("\\", "/"))  # a list from Windows
        if match is None or ".." in (match[4], match[5]):
            problems.append(
                f"line {number}: expected `1 id10001/<video>/00001.wav` (1, 2 or 3 for train, dev "
                f"or test), but found {line.strip()[:200]!r}"
            )
        elif match[2] in listed:
            problems.append(f"line {number}: {match[2]} is listed more than once")
        else:
            listed[match[2]] = SPLITS[match[1]]
    refuse(problems, f"lines of {file} cannot be used")
    if not listed:
        raise DataError(f"{file} lists no utterance.")
    return listed
