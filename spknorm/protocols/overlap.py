"""Refuses a split whose parts share a speaker, an utterance, a file or the same audio.

Second in this folder: `folds.py` calls it with names, a run calls it again with audio content.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import NamedTuple

from spknorm.corpora.checks import twins
from spknorm.corpora.records import Utterance
from spknorm.errors import DataError, first_of
from spknorm.protocols.owners import LISTED
from spknorm.schema import DataConfig

logger = logging.getLogger(__name__)

Key = Callable[[Utterance], str | None]
PAIRS = (("train", "test"), ("dev", "test"), ("train", "dev"))
_HELD_OUT: dict[str, Key] = {
    "speakers": lambda one: one.speaker,
    "sentences": lambda one: one.label("sentence"),
}
_SHOWN = 5


class Split(NamedTuple):
    """The three disjoint parts of a fold."""

    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]


def check_split(
    split: Split, config: DataConfig, *, dev: str = "superb", check_audio: bool = False
) -> tuple[str, ...]:
    """Refuse a split whose parts overlap where the protocol forbids it.

    No utterance, file or (with `check_audio`) decoded audio may be in two parts; the test speakers
    of all protocols but sd may be in no other part (or its sentences, or both, as `unseen` says),
    nor the dev speakers in train under speaker_disjoint.

    `config` is `datarc`; audio is compared at 16 bits. Under `allow_leak` a sentence is returned
    for each thing that test shares with the others.

    Raises:
        DataError: They do overlap; the message names the speakers or files.
    """
    protocol = config.protocol
    kind = config.base if protocol == "low_resource" else protocol
    leaks: list[str] = []
    for noun, key in _HELD_OUT.items() if kind != "sd" else ():
        if config.unseen not in (noun, "both"):
            continue
        if config.allow_leak:
            leaks += _leak(split, noun, key)
            continue
        for name in ("train", "dev"):
            _refuse(split, name, "test", noun, protocol, key, advice=kind in LISTED)
    if kind != "sd":
        warn_of_twins(split)
    if dev == "speaker_disjoint":
        _refuse(split, "train", "dev", "speakers", dev, lambda one: one.speaker)
    checks: list[tuple[str, Key]] = [
        ("utterances", lambda one: one.id),
        ("files", lambda one: one.audio.key),
    ]
    if check_audio:
        hashes = _sound_hashes(split)
        checks.append(("audio", lambda one: hashes[one.audio.key]))
    for noun, key in checks:
        for first, second in PAIRS:
            _refuse(split, first, second, noun, protocol, key)
    return tuple(leaks)


def warn_of_twins(split: Split) -> None:
    """Tell of test speakers whose name another has in train or dev, but for capitals or spaces."""
    trained = [one.speaker for one in (*split.train, *split.dev)]
    if found := twins([one.speaker for one in split.test], trained):
        logger.warning(
            "%d test speakers differ from training ones in capitals or spaces alone (%s): if they "
            "are the same people, write them alike, or the test is not on unseen speakers.",
            len(found), ", ".join(f"`{name}` and `{other}`" for name, other in found[:_SHOWN]),
        )  # fmt: skip


def _leak(split: Split, noun: str, key: Key) -> list[str]:
    """Return what of test is in train or dev, as one sentence; none if nothing is."""
    seen = {key(one) for one in (*split.train, *split.dev)} - {None}
    tested = sorted({value for one in split.test if (value := key(one)) is not None})
    if not (shared := [value for value in tested if value in seen]):
        return []
    count = sum(key(one) in seen for one in split.test)
    return [
        f"{len(shared)} of {len(tested)} test {noun} also train, in {count} of {len(split.test)} "
        f"test utterances: {first_of(shared, _SHOWN)}"
    ]


def _refuse(
    split: Split, first: str, second: str, noun: str, rule: str, key: Key, *, advice: bool = False
) -> None:
    seen = {value: one for one in getattr(split, first) if (value := key(one)) is not None}
    twice = {value: one for one in getattr(split, second) if (value := key(one)) in seen}
    if not twice:
        return
    shown = sorted(map(str, twice))
    if noun == "audio":
        shown = sorted(f"{seen[value].path} = {one.path}" for value, one in twice.items())
    names = first_of(shown, _SHOWN)
    message = f"{first} and {second} share {noun}, which {rule} forbids: {names}."
    if advice:
        message = (
            f"{first} and {second} of the protocol {rule} share {len(shown)} {noun}: {names}. Such "
            "scores are of speakers that the model knows. Take a protocol that holds speakers out "
            "(loso-group), or set `downstream_expert.datarc.allow_leak` to true, which every table "
            "then says."
        )
    raise DataError(message)


def _sound_hashes(split: Split) -> dict[str, str]:
    from spknorm.audio import load_audio

    hashes = {}
    for one in (*split.train, *split.dev, *split.test):
        samples = (load_audio(one.audio) * 32768).round().clip(-32768, 32767).astype("<i2")
        hashes[one.audio.key] = hashlib.sha256(samples.tobytes()).hexdigest()
    return hashes
