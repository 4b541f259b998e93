"""What every corpus has to fulfil before a run starts, whichever reader it came from."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spknorm.audio import AudioError, AudioIndex
from spknorm.audio.excerpt import excerpt_of
from spknorm.audio.faults import listing, printable, refuse
from spknorm.corpora.columns import Utterances, all_differ
from spknorm.corpora.records import EMOTIONS, FIELDS, Utterance
from spknorm.errors import ConfigError, DataError, did_you_mean, first_of
from spknorm.files import read_json, write_json

logger = logging.getLogger(__name__)

ROLES = ("emotion", "speaker")
SKIPPED = "skipped.json"  # in the work folder: files that were left out, by path


class BadAudio(NamedTuple):
    """An utterance whose sound file cannot be used, and why."""

    utterance: Utterance
    error: AudioError


def check_records(
    records: Sequence[Utterance],
    *,
    role: str,
    label: str = "speaker",
    classes: Sequence[str] = EMOTIONS,
) -> None:
    """Check that a corpus can serve a role.

    As `emotion` it needs one of `classes` everywhere and each of them somewhere, as `speaker` the
    column `label` everywhere and at least two different ones.

    Raises:
        ConfigError: The role is unknown.
        DataError: There are no utterances, ids occur twice, labels are missing or unknown, or
            there is nothing to tell apart.
    """
    if role not in ROLES:
        raise ConfigError(f"`role` must be one of {', '.join(ROLES)}, but is `{role}`.")
    if not records:
        raise DataError(f"The {role} corpus has no utterances.")
    records = Utterances.of(records)
    if not all_differ(records.ids()):
        counts = Counter(records.ids())
        repeated = [f"`{name}`, {count} times" for name, count in counts.items() if count > 1]
        refuse(repeated, f"ids of the {role} corpus occur more than once")
    column = "emotion" if role == "emotion" else label
    codes, values = records.coded(column)
    there = {code: values[code] for code in np.unique(codes).tolist()}
    empty = [code for code, value in there.items() if not value]
    if len(empty) == len(there):
        known = [name for name in (*records[0].labels, *FIELDS) if records[0].label(name)]
        hint = did_you_mean(column, known)
        raise DataError(f"No utterance of the {role} corpus has a label `{column}`.{hint}")
    unlabelled = records.take(np.isin(codes, empty)).ids()
    noun = f"utterances of the {role} corpus have no label `{column}`"
    refuse([f"`{name}`" for name in unlabelled], noun)
    if found := twins(there.values(), there.values()):
        logger.warning(
            "The %s corpus has values of `%s` that differ in capitals or spaces alone (%s): if "
            "they mean the same, write them alike, or they are told apart.",
            role, column, first_of([f"`{one}` and `{other}`" for one, other in found], 3),
        )  # fmt: skip
    if role == "emotion":
        unknown = [f"`{one.id}`: `{one.emotion}`" for one in records if one.emotion not in classes]
        refuse(unknown, f"utterances have an emotion that is none of {', '.join(classes)}")
        if absent := sorted(set(classes) - set(there.values())):
            raise DataError(f"The emotion corpus has no utterance of {', '.join(absent)}.")
        _tell_contradictions(records, ("emotion", "speaker"))
    elif len(there) < 2:
        raise DataError(
            f"The speaker corpus has a single `{column}`, `{next(iter(there.values()))}`. "
            "Normalising them away needs at least 2."
        )
    else:
        _tell_contradictions(records, (label,))


def twins(names: Iterable[str | None], others: Iterable[str | None]) -> list[tuple[str, str]]:
    """Return each name that differs in capitals or spaces alone from one of the others, and that.

    None is no name.
    """
    seen = {_plain(one): one for one in others if one is not None}
    tried = sorted({name for name in names if name is not None})
    found = ((name, seen.get(_plain(name), name)) for name in tried)
    return [(name, other) for name, other in found if name != other]


def _plain(name: str) -> str:
    return "".join(name.casefold().split())


def find_bad_audio(records: Sequence[Utterance], *, decode: bool = False) -> list[BadAudio]:
    """Return the utterances whose audio cannot be used, in the order of the records.

    Several files are read at a time, and what was found good is remembered between runs; `decode`
    reads every file to its end, which also finds NaN and damage past the header.
    """
    errors = AudioIndex.shared().look_up(Utterances.of(records).sounds(), decode=decode).errors
    return [BadAudio(records[number], errors[number]) for number in sorted(errors)]


def usable(
    records: Sequence[Utterance], *, work_dir: Path | str, skip_bad: bool = True
) -> Utterances:
    """Return the utterances whose audio can be used, or stop at those that cannot.

    With `skip_bad` bad files are left out, after decoding all of them once, and `work_dir` keeps
    the list (`SKIPPED`). Otherwise headers alone are looked at, and any bad file is an error.

    Raises:
        DataError: Files are bad and `skip_bad` is off: at most 20 are named, with the count.
    """
    records = Utterances.of(records)
    if not (bad := find_bad_audio(records, decode=skip_bad)):
        return records
    heading = f"{len(bad)} of {len(records)} audio files cannot be used"
    if not skip_bad:
        heading += " (`--skip-bad` leaves them out and records which):"
        raise DataError(listing([str(one.error) for one in bad], heading))
    path = Path(work_dir) / SKIPPED
    skipped = read_json(path) if path.exists() else {}
    for one, error in bad:
        about = {"id": one.id, "kind": error.kind, "message": str(error)}
        skipped[one.audio.key] = about
    write_json(path, skipped)
    logger.warning("%s and are left out; %s lists them", heading, path)
    left_out = {utterance.id for utterance, _ in bad}
    return records.take(np.array([name not in left_out for name in records.ids()]))


def _tell_contradictions(records: Utterances, columns: Sequence[str]) -> None:
    """Warn of recordings that several utterances share and label differently."""
    if all_differ(one if isinstance(one, str) else excerpt_of(one).key for one in records.sounds()):
        return
    first: dict[str, Utterance] = {}
    odd = []
    for record in records:
        other = first.setdefault(record.audio.key, record)
        pairs = ((other.label(column), record.label(column)) for column in columns)
        said = [f"`{other.id}` {one}, `{record.id}` {two}" for one, two in pairs if one != two]
        if said:
            odd.append(f"{printable(record.path.name)} ({'; '.join(said)})")
    if odd:
        logger.warning(
            "%d recordings are listed more than once and labelled differently, which trains and "
            "scores both: %s. Correct the list.", len(odd), first_of(odd, 3),
        )  # fmt: skip
