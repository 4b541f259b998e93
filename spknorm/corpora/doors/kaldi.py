"""Kaldi's data folder -> utterances: wav.scp, utt2spk, utt2emo, text, segments, spk2gender.

wav.scp may hold files, and no commands: `sph2pipe ... |` is not run.
"""

from pathlib import Path

from spknorm.corpora.doors.cells import Listed, Rows
from spknorm.corpora.tables import text_of

_EMOTIONS = ("utt2emo", "utt2emotion", "emo", "emotion")
_FURTHER = {
    "speaker": ("utt2spk",), "emotion": _EMOTIONS, "sentence": ("text",),
    "language": ("utt2lang",), "split": ("utt2split",),
}  # fmt: skip


def fits(path: Path) -> bool:
    """Whether this is such a folder."""
    return (path / "wav.scp").is_file()


def rows(folder: Path) -> Rows:
    """Yield the utterances in the order of `segments`, or else of wav.scp."""
    problems: list[str] = []
    files = _pairs(folder / "wav.scp", problems)
    segments = _pairs(folder / "segments", problems)
    columns: dict[str, dict[str, str]] = {}
    for column, names in _FURTHER.items():
        found = next((folder / name for name in names if (folder / name).is_file()), None)
        columns[column] = {} if found is None else _pairs(found, problems)
    sexes = _pairs(folder / "spk2gender", problems)
    yield from problems
    for name in segments or files:
        try:
            recording, start, end = segments[name].split() if segments else (name, "", "")
        except ValueError as error:
            yield f"`{name}`: {error}"
            continue
        if recording not in files:
            yield f"`{name}`: its recording `{recording}` is not in wav.scp"
        elif files[recording].rstrip().endswith("|"):
            yield (
                f"`{name}`: `{recording}` is made by a command, which is not run: write the file "
                "itself"
            )
        else:
            cells = {column: values.get(name, "") for column, values in columns.items()}
            cells |= {"start": start, "end": end, "sex": sexes.get(cells["speaker"], "")}
            yield Listed(f"`{name}`", name, files[recording].strip(), cells)


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
