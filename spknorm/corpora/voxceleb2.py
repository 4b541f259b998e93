"""VoxCeleb2 -> utterances: {dev,test}/aac/id00012/<video>/00001.m4a, or copies in wav or flac."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spknorm.audio import Walk, printable
from spknorm.corpora.columns import Utterances
from spknorm.corpora.gathering import NOT_LISTED, one_file_each, sound_of
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import known, sex_of
from spknorm.corpora.tables import find, lines_of
from spknorm.errors import MissingError

_PERSON = re.compile(r"id\d{5}", re.ASCII)


def read(ask: Ask) -> Utterances:
    """Return the utterances in the order of their names, with speaker and video.

    Where m4a and a copy in wav or flac lie side by side, the copy is read. The people of `test` are
    others than those of `dev`; all have names that VoxCeleb1's do not.

    Raises:
        MissingError: Nothing lies there as idXXXXX/<video>/<n>.
        DataError: An utterance has two files that differ.
    """
    root, walk = ask.root, Walk(containers=True)
    found: list[str] = []  # `speaker/video/`, folder and names of each folder, as one text
    for folder, names in walk.folders(root):
        place = Path(folder)
        if _PERSON.fullmatch(place.parent.name):
            found.append("\0".join([f"{place.parent.name}/{place.name}/", str(place), *names]))
        else:
            walk.left_out[NOT_LISTED] += len(names)
    if not found:
        raise MissingError(
            f"{root} is not VoxCeleb2: expected dev/aac/id00012/<video>/00001.m4a in it."
        )
    found.sort(key=lambda text: text[: text.index("\0")])
    several = {
        video + stem: [*map(Path, paths)]
        for video, files in _videos(found)
        for stem, paths in files.items()
        if len(paths) > 1
    }
    chosen = one_file_each(several, several, corpus="VoxCeleb2")
    sexes = {
        line.cells.get("VoxCeleb2 ID", ""): sex_of(line.cells.get("Gender", ""))
        for file in find(root, r"vox2_meta\.csv")[:1]
        for line in lines_of(file)
    }
    walk.report(root)
    return Utterances.packed(_rows(found, chosen, sexes))


def _rows(
    found: Sequence[str], chosen: Mapping[str, Path], sexes: Mapping[str, str | None]
) -> Iterator[dict[str, Any]]:
    """Yield what is known of each utterance, of a million."""
    for prefix, files in _videos(found):
        speaker, video, _ = prefix.split("/")
        labels = known(video=printable(video), sex=sexes.get(speaker))
        for stem, (path, *_) in sorted(files.items()):
            path = str(chosen.get(prefix + stem, path))
            parts = path.split("/")[:-3]
            yield {
                "id": printable(prefix + stem),
                "path": path,
                "speaker": speaker,
                "part": next((one for one in ("dev", "test") if one in parts), None),
                "labels": labels,
            }


def _videos(found: Sequence[str]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield `speaker/video/` and files by their stems; where a stem has sound, without videos."""
    for prefix, texts in itertools.groupby(found, key=lambda text: text[: text.index("\0")]):
        files: dict[str, list[str]] = {}
        for text in texts:
            folder, *names = text.split("\0")[1:]
            for name in names:
                files.setdefault(name.rpartition(".")[0], []).append(f"{folder}/{name}")
        yield prefix, {stem: sound_of(paths) for stem, paths in files.items()}
