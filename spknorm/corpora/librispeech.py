"""LibriSpeech -> utterances: <subset>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac."""

import os
import re
from pathlib import Path

from spknorm.corpora.records import Utterance
from spknorm.errors import MissingError

_SUBSET = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?", re.ASCII)
_SPEAKER = re.compile(r"\d+", re.ASCII)
_AUDIO = frozenset({".flac", ".wav", ".ogg", ".mp3"})


def read_librispeech(root: Path | str) -> list[Utterance]:
    """Return LibriSpeech's utterances in the order of their names, with speaker and chapter.

    Args:
        root: Folder with subsets (train-clean-100, ...), one with a folder LibriSpeech that has
            them, or one subset. The speaker is the first part of the path below the subset.

    Raises:
        MissingError: The folder has no such layout, or no audio.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 (links are kept as they are)
    records = [
        Utterance(
            id=file.stem,
            path=file,
            speaker=speaker,
            labels={"subset": subset.name, "chapter": file.parent.name},
        )
        for subset in _subsets(root)
        for speaker, file in _sound_files(subset)
    ]
    if not records:
        raise MissingError(
            f"{root} is not LibriSpeech: expected <subset>/<speaker>/<chapter>/*.flac, "
            "for instance train-clean-100/103/1240/103-1240-0000.flac."
        )
    return records


def _subsets(root: Path) -> list[Path]:
    for folder in (root, root / "LibriSpeech"):
        subsets = [folder / name for name in _folders(folder, _SUBSET)]
        if subsets:
            return subsets
    return [root]


def _sound_files(subset: Path) -> list[tuple[str, Path]]:
    found = []
    for speaker in _folders(subset, _SPEAKER):
        for parent, folders, names in os.walk(subset / speaker):
            folders.sort()
            for name in sorted(names):
                if os.path.splitext(name)[1].lower() in _AUDIO and name[0] != ".":  # noqa: PTH122
                    found.append((speaker, Path(parent, name)))
    return found


def _folders(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    return sorted(entry.name for entry in entries if pattern.fullmatch(entry.name))
