"""EmoBox' lists -> utterances: data/<corpus>/fold_N/<corpus>_{train,valid,test}_fold_N.jsonl.

A line has key, wav, emo, channel, and of some corpora start_time and end_time; who speaks is in
data.seg.wrd.stm alone (`spk=`), and label_map.json says which word a code is. protocols/emobox.py
divides a corpus by the same lists.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.audio.faults import refuse
from spknorm.corpora.doors.cells import Place, split_of, utterance
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import text_of
from spknorm.errors import DataError

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
    files = [path] if path.suffix == ".jsonl" else []
    if path.is_dir():
        files = [one.path for one in lists_in(path)[:1]]
    for file in files:
        if file.is_file():
            with file.open(encoding="utf-8", errors="replace") as lines:
                first = next((line for line in lines if line.strip()), "")
            return '"key"' in first and '"wav"' in first and '"path"' not in first
    return False


def read(place: Place) -> list[Utterance]:
    """Return the utterances of every fold and part, fold by fold.

    Raises:
        DataError: A line cannot be used; at most 20 are named.
    """
    files = [_list_at(place.path)] if place.path.is_file() else lists_in(place.path)
    folder = place.path if place.path.is_dir() else place.path.parent
    words = _label_map(folder)
    speakers = _speakers(folder)
    records: list[Utterance] = []
    problems: list[str] = []
    for file in files:
        for number, row in rows_of(file.path, problems):
            try:
                name, wav = str(row["key"]), str(row["wav"])
                emotion = str(row.get("emo", ""))
                cells = {
                    "emotion": words.get(emotion.lower(), emotion),
                    "speaker": speakers.get(name, "")
                    or speakers.get(Path(wav).stem, "")
                    or str(row.get("spk", "")),
                    "split": file.part or "",
                    "fold": f"fold_{file.fold}" if file.fold else "",
                    "start": str(row.get("start_time") or ""),
                    "end": str(row.get("end_time") or ""),
                }
                records.append(_heard(utterance(name, place.guard(wav), cells), row))
            except (KeyError, ValueError) as error:
                text = f"lacks {error}" if isinstance(error, KeyError) else str(error)
                problems.append(f"{file.path.name}, line {number}: {text}")
    refuse(problems, f"lines in {place.path} cannot be used")
    if not records:
        raise DataError(f"{place.path} lists no utterance.")
    return records


def _heard(one: Utterance, row: Mapping[str, Any]) -> Utterance:
    """Return the utterance with the channel that the list takes, which it counts from 1."""
    channel = row.get("channel")
    return one if channel in (None, "", 1, "1") else replace(one, channel=str(channel))


def lists_in(folder: Path) -> list[ListFile]:
    """Return the lists of a corpus' folder, or of one of its folds, by fold and part."""
    found = sorted(folder.glob("fold_*/*.jsonl")) or sorted(folder.glob("*.jsonl"))
    lists = [one for one in map(_list_at, found) if one.part is not None]
    return sorted(lists, key=lambda one: (one.path.parent.name, _ORDER.index(one.part), one.path))


def _list_at(file: Path) -> ListFile:
    part, fold = _PART.search(file.stem), _FOLD.search(file.stem) or _FOLD.search(str(file))
    return ListFile(file, split_of(part[1]) if part else None, fold[1] if fold else "")


def rows_of(file: Path, problems: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the lines of a list with their numbers; what is no object is added to `problems`."""
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            problems.append(f"{file.name}, line {number}: not JSON ({error})")
            continue
        if isinstance(row, Mapping):
            yield number, row
        else:
            problems.append(f"{file.name}, line {number}: expected a JSON object")


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
