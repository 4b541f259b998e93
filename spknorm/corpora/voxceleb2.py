"""VoxCeleb2 -> utterances: {dev,test}/aac/id00012/<video>/00001.m4a, or copies in wav or flac."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spknorm.audio import Walk, printable
from spknorm.corpora.columns import Utterances
from spknorm.corpora.gathering import NOT_LISTED, one_file_each, sound_of
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import sex_of
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
    videos: dict[str, list[tuple[str, list[str]]]] = {}
    for folder, names in walk.folders(root):
        speaker, video = Path(folder).parts[-2:]
        if _PERSON.fullmatch(speaker):
            videos.setdefault(f"{speaker}/{video}/", []).append((folder, names))
        else:
            walk.left_out[NOT_LISTED] += len(names)
    several: dict[str, list[Path]] = {}
    for video in sorted(videos):
        several |= {
            video + stem: paths for stem, paths in _files(videos[video]).items() if len(paths) > 1
        }
    chosen = one_file_each(several, several, corpus="VoxCeleb2")
    if not videos:
        raise MissingError(
            f"{root} is not VoxCeleb2: expected dev/aac/id00012/<video>/00001.m4a in it."
        )
    sexes = {
        line.cells.get("VoxCeleb2 ID", ""): sex_of(line.cells.get("Gender", ""))
        for file in find(root, r"vox2_meta\.csv")[:1]
        for line in lines_of(file)
    }
    walk.report(root)
    return Utterances.packed(_rows(videos, chosen, sexes))


def _rows(
    videos: dict[str, list[tuple[str, list[str]]]],
    chosen: Mapping[str, Path],
    sexes: Mapping[str, str | None],
) -> Iterator[dict[str, Any]]:
    """Yield what is known of each utterance, of a million; `videos` is emptied as it goes."""
    for prefix in sorted(videos):
        speaker, video, _ = prefix.split("/")
        labels = {"video": printable(video), "sex": sexes.get(speaker)}
        for stem, (path, *_) in sorted(_files(videos.pop(prefix)).items()):
            path = chosen.get(prefix + stem, path)
            yield {
                "id": printable(prefix + stem),
                "path": path,
                "speaker": speaker,
                "part": next((one for one in ("dev", "test") if one in path.parts[:-3]), None),
                "labels": {column: value for column, value in labels.items() if value},
            }


def _files(folders: Sequence[tuple[str, list[str]]]) -> dict[str, list[Path]]:
    """Return the files of one video by their stems; where a stem has sound, without its videos."""
    found: dict[str, list[Path]] = {}
    for folder, names in folders:
        for name in names:
            path = Path(folder, name)
            found.setdefault(path.stem, []).append(path)
    return {stem: sound_of(files) for stem, files in found.items()}
