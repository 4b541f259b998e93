"""Refuses a split whose parts share a speaker, an utterance, a file or the same audio.

Second in this folder: `folds.py` calls it with names, a run calls it again with audio content.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from spknorm.corpora.records import Utterance
from spknorm.errors import DataError
from spknorm.files import read_json, write_json

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
    cache_file: Path | None = None,
) -> None:
    """Refuse a split whose parts overlap where the protocol forbids it.

    No utterance, file or (with `check_audio`) decoded audio may be in two parts; the test speakers
    of si5 and si10 may be in no other part, nor the dev speakers in train under speaker_disjoint.

    Args:
        split: The parts.
        protocol: As for `make_split`, like `base` and `dev`.
        base: What low_resource draws from.
        dev: How the dev part was made.
        check_audio: Decode every file and compare by content, at 16 bits.
        cache_file: JSON in which content hashes are kept by (path, size, time of change).

    Raises:
        DataError: They do overlap; the message names the speakers or files.
    """
    kind = base if protocol == "low_resource" else protocol
    if kind in ("si5", "si10"):
        for name in ("train", "dev"):
            _refuse(split, name, "test", "speakers", protocol, lambda one: one.speaker)
    if dev == "speaker_disjoint":
        _refuse(split, "train", "dev", "speakers", dev, lambda one: one.speaker)
    checks: list[tuple[str, Callable[[Utterance], str | None]]] = [
        ("utterances", lambda one: one.id),
        ("files", lambda one: str(one.path)),
    ]
    if check_audio:
        hashes = _content_hashes(split, cache_file)
        checks.append(("audio", lambda one: hashes[str(one.path)]))
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


def _content_hashes(split: Split, cache_file: Path | None) -> dict[str, str]:
    from spknorm.audio import load_audio

    cached: dict[str, str] = {}
    if cache_file is not None and cache_file.is_file():
        cached = read_json(cache_file)
    hashes, fresh = {}, dict(cached)
    for one in (*split.train, *split.dev, *split.test):
        path = str(one.path)
        stat = one.path.stat()
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in fresh:
            samples = (load_audio(one.path) * 32768).round().clip(-32768, 32767).astype("<i2")
            fresh[key] = hashlib.sha256(samples.tobytes()).hexdigest()
        hashes[path] = fresh[key]
    if cache_file is not None and fresh != cached:
        write_json(cache_file, fresh)
    return hashes
