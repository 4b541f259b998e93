"""s3prl's fold JSON for IEMOCAP: read as the user has it, or written for stock s3prl to read."""

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from spknorm.audio.faults import listing, refuse
from spknorm.corpora.iemocap import parse_name, read_iemocap
from spknorm.corpora.paths import PathGuard
from spknorm.corpora.records import EMOTIONS, Utterance
from spknorm.errors import ConfigError, DataError, MissingError
from spknorm.files import read_json, write_json

LABELS = {emotion: number for number, emotion in enumerate(EMOTIONS)}
"""s3prl's class numbers (downstream/emotion/IEMOCAP_preprocess.py)."""

_PARTS = ("train", "test")


def write_folds(root: Path | str, out: Path | str) -> list[Path]:
    """Write `out`/SessionN/{train,test}_meta_data.json as s3prl's generator does, in sorted order.

    `-d emotion` takes `out` as datarc.meta_data. The files written are returned.

    Raises:
        MissingError, DataError: See `read_iemocap`.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 (links are kept as they are)
    records = read_iemocap(root)
    written = []
    for session in sorted({str(one.session) for one in records}):
        for part in _PARTS:
            items = [
                {
                    "path": one.path.relative_to(root).as_posix(), "label": one.emotion,
                    "speaker": one.id.split("_")[0],  # the dialogue's prefix, not who speaks
                }
                for one in records
                if (one.session == session) == (part == "test")
            ]  # fmt: skip
            written.append(Path(out) / session / f"{part}_meta_data.json")
            write_json(written[-1], {"labels": LABELS, "meta_data": items})
    return written


def read_folds(
    meta_data: Path | str, fold: str, root: Path | str, *, allow_outside: bool = False
) -> list[Utterance]:
    """Return a fold as its JSON lists it: the training pool, then the test session.

    Of the folder `meta_data` with SessionN/{train,test}_meta_data.json; foldN is SessionN's, as in
    s3prl. Paths in the JSON are relative to `root`, and may leave it if `allow_outside`.

    Raises:
        MissingError: There is no such JSON.
        DataError: It is not s3prl's, a path leads out of the root, or the training list holds
            utterances of the session that is held out.
    """
    if not (match := re.fullmatch(r"fold(\d{1,3})", fold, re.ASCII)):
        raise DataError(f"`test_fold` must be fold1 ... fold5 with fold JSON, but is `{fold}`.")
    session = f"Session{match[1]}"
    guard = PathGuard(Path(root), allow_outside=allow_outside)
    records: list[Utterance] = []
    for part in _PARTS:
        path = Path(meta_data) / session / f"{part}_meta_data.json"
        content = _load(path)
        found = _utterances(path, content, guard)
        if held := [one.id for one in found if (one.session == session) != (part == "test")]:
            verb = "holds" if part == "train" else "must hold nothing but"
            heading = f"{path} {verb} utterances of {session}; these are wrong:"
            raise DataError(listing(held, heading))
        records += found
    return records


def _load(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError as error:
        raise MissingError(
            f"There is no {path}. `meta_data` must be a folder with s3prl's "
            "SessionN/{train,test}_meta_data.json; without `meta_data` folds are made from the "
            "IEMOCAP tree."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ConfigError as error:
        raise DataError(str(error)) from error


def _utterances(path: Path, content: Any, guard: PathGuard) -> list[Utterance]:
    items = content.get("meta_data") if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise DataError(f"{path} is not s3prl's fold JSON: expected `labels` and `meta_data`.")
    if content.get("labels") != LABELS:
        raise DataError(f"{path}: `labels` must be {LABELS}, but is {content.get('labels')!r}.")
    records: list[Utterance] = []
    problems: list[str] = []
    for number, item in enumerate(items):
        try:
            records.append(_utterance(item, guard))
        except ValueError as error:
            problems.append(f"meta_data[{number}]: {error}")
    counts = Counter(one.id for one in records)
    problems += [f"`{one}` is listed more than once" for one, count in counts.items() if count > 1]
    refuse(problems, f"entries of {path} cannot be used")
    if not records:
        raise DataError(f"{path} lists no utterance.")
    return records


def _utterance(item: Any, guard: PathGuard) -> Utterance:
    text = item.get("path") if isinstance(item, dict) else None
    if not isinstance(text, str):
        raise ValueError("expected an object with `path` and `label`")
    emotion = item.get("label")
    if not isinstance(emotion, str) or emotion not in EMOTIONS:
        raise ValueError(f"the label must be one of {', '.join(EMOTIONS)}, but is {emotion!r}")
    path = guard(text)
    session, speaker, turn = parse_name(path.stem)
    about = Utterance(id=path.stem, path=path, emotion=emotion, speaker=speaker)
    return replace(about, session=session, turn=turn)
