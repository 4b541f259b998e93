"""Kaldi's data folder -> utterances: wav.scp, utt2spk, utt2emo, text, segments, spk2gender.

wav.scp may hold files, and no commands: `sph2pipe ... |` is not run.
"""

from pathlib import Path

from spknorm.audio.faults import refuse
from spknorm.corpora.doors.cells import Place, utterance
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import text_of
from spknorm.errors import DataError

_EMOTIONS = ("utt2emo", "utt2emotion", "emo", "emotion")
_FURTHER = {
    "speaker": ("utt2spk",), "emotion": _EMOTIONS, "sentence": ("text",),
    "language": ("utt2lang",), "split": ("utt2split",),
}  # fmt: skip


def fits(path: Path) -> bool:
    """Whether this is such a folder."""
    return (path / "wav.scp").is_file()


def read(place: Place) -> list[Utterance]:
    """Return the utterances in the order of `segments`, or else of wav.scp.

    Raises:
        DataError: A line of a file cannot be used; at most 20 are named.
    """
    folder, problems = place.path, list[str]()
    files = _pairs(folder / "wav.scp", problems)
    segments = _pairs(folder / "segments", problems)
    columns: dict[str, dict[str, str]] = {}
    for column, names in _FURTHER.items():
        found = next((folder / name for name in names if (folder / name).is_file()), None)
        columns[column] = {} if found is None else _pairs(found, problems)
    sexes = _pairs(folder / "spk2gender", problems)
    records = []
    for name in segments or files:
        try:
            recording, start, end = name, "", ""
            if segments:
                recording, start, end = segments[name].split()
            if recording not in files:
                raise ValueError(f"its recording `{recording}` is not in wav.scp")
            if files[recording].rstrip().endswith("|"):
                raise ValueError(
                    f"`{recording}` is made by a command, which is not run: write the file itself"
                )
            cells = {column: values.get(name, "") for column, values in columns.items()}
            cells |= {"start": start, "end": end, "sex": sexes.get(cells["speaker"], "")}
            records.append(utterance(name, place.guard(files[recording].strip()), cells))
        except ValueError as error:
            problems.append(f"`{name}`: {error}")
    refuse(problems, f"lines in {folder} cannot be used")
    if not records:
        raise DataError(f"{folder}/wav.scp lists nothing.")
    return records


def _pairs(file: Path, problems: list[str]) -> dict[str, str]:
    """Return the rest of each line by its first word; nothing if there is no such file."""
    if not file.is_file():
        return {}
    found: dict[str, str] = {}
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        name, _, rest = line.strip().partition(" ")
        if not rest.strip() and "\t" in name:
            name, _, rest = line.strip().partition("\t")
        if not name:
            continue
        if name in found:
            problems.append(f"{file.name}, line {number}: `{name}` is there twice")
        elif not rest.strip():
            problems.append(f"{file.name}, line {number}: `{name}` and nothing else")
        found[name] = rest.strip()
    return found
