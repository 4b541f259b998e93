"""Refuses a split whose parts share a speaker, an utterance, a file or the same audio.

Second in this folder: `folds.py` calls it with names, a run calls it again with audio content.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from spknorm.corpora.records import Utterance
from spknorm.errors import DataError

_SHOWN = 5


class Split(NamedTuple):
    """The three disjoint parts of a fold."""

    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]


def check_split(
    split: Split,
    *,
    protocol: str,
    base: str = "si5",
    dev: str = "superb",
    check_audio: bool = False,
) -> None:
    """Refuse a split whose parts overlap where the protocol forbids it.

    No utterance, file or (with `check_audio`) decoded audio may be in two parts; the test speakers
    of all protocols but sd may be in no other part, nor the dev speakers in train under
    speaker_disjoint.

    Args:
        split: The parts.
        protocol: As for `make_split`, like `base` and `dev`.
        base: What low_resource draws from.
        dev: How the dev part was made.
        check_audio: Decode every file and compare by content, at 16 bits.

    Raises:
        DataError: They do overlap; the message names the speakers or files.
    """
    kind = base if protocol == "low_resource" else protocol
    if kind in ("si5", "si10", "loso", "loso-group"):
        for name in ("train", "dev"):
            _refuse(split, name, "test", "speakers", protocol, lambda one: one.speaker)
    if dev == "speaker_disjoint":
        _refuse(split, "train", "dev", "speakers", dev, lambda one: one.speaker)
    checks: list[tuple[str, Callable[[Utterance], str | None]]] = [
        ("utterances", lambda one: one.id),
        ("files", lambda one: one.audio.key),
    ]
    if check_audio:
        hashes = _sound_hashes(split)
        checks.append(("audio", lambda one: hashes[one.audio.key]))
    for noun, key in checks:
        for first, second in (("train", "test"), ("dev", "test"), ("train", "dev")):
            _refuse(split, first, second, noun, protocol, key)


def _refuse(
    split: Split,
    first: str,
    second: str,
    noun: str,
    rule: str,
    key: Callable[[Utterance], str | None],
) -> None:
    seen = {value: one for one in getattr(split, first) if (value := key(one)) is not None}
    twice = {value: one for one in getattr(split, second) if (value := key(one)) in seen}
    if not twice:
        return
    if noun == "audio":
        shown = sorted(f"{seen[value].path} = {one.path}" for value, one in twice.items())
    else:
        shown = sorted(str(value) for value in twice)
    more = "" if len(shown) <= _SHOWN else f" and {len(shown) - _SHOWN} more"
    names = ", ".join(shown[:_SHOWN]) + more
    raise DataError(f"{first} and {second} share {noun}, which {rule} forbids: {names}.")


def _sound_hashes(split: Split) -> dict[str, str]:
    from spknorm.audio import load_audio

    hashes = {}
    for one in (*split.train, *split.dev, *split.test):
        samples = (load_audio(one.audio) * 32768).round().clip(-32768, 32767).astype("<i2")
        hashes[one.audio.key] = hashlib.sha256(samples.tobytes()).hexdigest()
    return hashes
