"""LibriSpeech, LibriTTS -> utterances: <subset>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac.

LibriTTS has the same people and folders, and wav files of 24 kHz with underscores in their names.
"""

import os
import re
from pathlib import Path

from spknorm.audio import Walk, printable
from spknorm.corpora.gathering import one_file_each
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import known, sex_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import text_of
from spknorm.errors import MissingError

_SUBSET = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?", re.ASCII)
_SPEAKER = re.compile(r"\d+", re.ASCII)


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances in the order of their names, with speaker and chapter.

    The root is a folder with subsets (train-clean-100, ...), one with a folder LibriSpeech that has
    them, or one subset. The speaker is the first part of the path below the subset.

    Raises:
        MissingError: The folder has no such layout, or no audio.
        DataError: An utterance has two files that differ.
    """
    title, root = ask.corpus.title, Path(os.path.abspath(ask.root))  # noqa: PTH100 (keeps links)
    walk = Walk()
    found: dict[str, list[Path]] = {}
    speakers: dict[str, tuple[Path, str]] = {}
    for subset in _subsets(root):
        for speaker in _folders(subset, _SPEAKER):
            for file in walk.files(subset / speaker):
                name = printable(file.stem)
                found.setdefault(name, []).append(file)
                speakers.setdefault(name, (subset, speaker))
    records = []
    sexes = _sexes(root)
    for name, file in one_file_each(found, found, corpus=title).items():
        subset, speaker = speakers[name]
        sex, chapter = sexes.get(speaker), file.parent.name
        labels = known(subset=subset.name, chapter=chapter, sex=sex)
        records.append(Utterance(id=name, path=file, speaker=speaker, labels=labels))
    if not records:
        raise MissingError(
            f"{root} is not {title}: expected <subset>/<speaker>/<chapter>/*.flac, "
            f"for instance train-clean-100/103/1240/103-1240-0000.flac.{walk.aside()}"
        )
    walk.report(root)
    return records


def _subsets(root: Path) -> list[Path]:
    for folder in (root, *(root / name for name in ("LibriSpeech", "LibriTTS", "LibriTTS_R"))):
        if subsets := [folder / name for name in _folders(folder, _SUBSET)]:
            return subsets
    return [root]


def _sexes(root: Path) -> dict[str, str]:
    """Return the sexes of SPEAKERS.txt: `19   | F | train-clean-100 | 25.19 | Kara Shallenberg`."""
    places = (folder / "SPEAKERS.txt" for folder in (_subsets(root)[0].parent, root))
    file = next((place for place in places if place.is_file()), None)
    found = {}
    for line in text_of(file).splitlines() if file else ():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) > 1 and (sex := sex_of(fields[1])):
            found[fields[0]] = sex
    return found


def _folders(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    return sorted(entry.name for entry in entries if pattern.fullmatch(entry.name))
