"""EmoBox' lists -> utterances: data/<corpus>/fold_N/<corpus>_{train,valid,test}_fold_N.jsonl.

A line has key, wav, emo, channel, and of some corpora start_time and end_time; who speaks is in
data.seg.wrd.stm alone (`spk=`), and label_map.json says which word a code is. protocols/emobox.py
divides a corpus by the same lists.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from spknorm.corpora.doors.cells import Listed, Rows, split_of
from spknorm.corpora.tables import objects_of, text_of

_PART = re.compile(r"(?:^|[_.-])(train|valid|val|dev|test)(?:[_.-]|$)")
_ORDER = ("train", "dev", "test")
_FOLD = re.compile(r"fold_?(\w+)")
_SPEAKER = re.compile(r"spk=(?:([^,;>]*[^,;>\s])\s*[,;>]|(\S+))")  # some names have spaces


class ListFile(NamedTuple):
    """A list: where it is, its part (train, dev or test; None), its fold (such as 1; empty)."""

    path: Path
    part: str | None
    fold: str


def fits(path: Path) -> bool:
    """Whether this is one of its .jsonl files, or a folder with such."""
    files = [one.path for one in lists_in(path)[:1]] if path.is_dir() else [path]
    for file in files:
        if file.suffix == ".jsonl" and file.is_file():
            with file.open(encoding="utf-8", errors="replace") as lines:
                first = next((line for line in lines if line.strip()), "")
            return '"key"' in first and '"wav"' in first and '"path"' not in first
    return False


def rows(path: Path) -> Rows:
    """Yield the utterances of every fold and part, fold by fold."""
    files = [_list_at(path)] if path.is_file() else lists_in(path)
    folder = path if path.is_dir() else path.parent
    words = _label_map(folder)
    speakers = _speakers(folder)
    for file in files:
        for number, row in objects_of(file.path):
            where = f"{file.path.name}, line {number}"
            if not isinstance(row, str):
                lacking = next((key for key in ("key", "wav") if key not in row), None)
                row = row if lacking is None else f"lacks {lacking!r}"
            if isinstance(row, str):
                yield f"{where}: {row}"
                continue
            name, wav, emotion = str(row["key"]), str(row["wav"]), str(row.get("emo", ""))
            listed = speakers.get(name) or speakers.get(Path(wav).stem)
            cells = {
                "emotion": words.get(emotion.lower(), emotion),
                "speaker": listed or str(row.get("spk", "")),
                "split": file.part or "",
                "fold": f"fold_{file.fold}" if file.fold else "",
                "start": str(row.get("start_time") or ""),
                "end": str(row.get("end_time") or ""),
            }
            channel = row.get("channel")  # counted from 1
            heard = None if channel in (None, "", 1, "1") else str(channel)
            yield Listed(where, name, wav, cells, heard)


def lists_in(folder: Path) -> list[ListFile]:
    """Return the lists of a corpus' folder, or of one of its folds, by fold and part."""
    found = sorted(folder.glob("fold_*/*.jsonl")) or sorted(folder.glob("*.jsonl"))
    lists = [one for one in map(_list_at, found) if one.part is not None]
    return sorted(lists, key=lambda one: (one.path.parent.name, _ORDER.index(one.part), one.path))


def _list_at(file: Path) -> ListFile:
    part, fold = _PART.search(file.stem), _FOLD.search(file.stem) or _FOLD.search(str(file))
    return ListFile(file, split_of(part[1]) if part else None, fold[1] if fold else "")


def _label_map(folder: Path) -> dict[str, str]:
    """Return words by code in small letters: the map of one corpus lacks its own spelling."""
    for place in (folder, folder.parent):
        if (place / "label_map.json").is_file():
            content = json.loads(text_of(place / "label_map.json"))
            return {str(code).lower(): str(word) for code, word in content.items()}
    return {}


def _speakers(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for place in (folder, folder.parent):
        for file in [*sorted(place.glob("*.stm")), *sorted(place.glob("fold_*/*.stm"))]:
            for line in text_of(file).splitlines():
                speaker = _SPEAKER.search(line)
                if speaker and line.split():
                    found[line.split()[0]] = speaker[1] or speaker[2]
    return found
