"""What the parts of anybody's split share: speakers, sentences, recordings. Beside overlap.py.

overlap.py refuses a split of ours; this file counts, over any list that says who trains and tests.
"""

import functools
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.audio import AudioError, AudioIndex, Excerpt
from spknorm.config.progress import counted
from spknorm.corpora.records import Utterance
from spknorm.protocols.fingerprint import fingerprint, groups_of
from spknorm.protocols.overlap import PAIRS, Key, Split

_SHOWN = 5
_DIALOGUE = re.compile(r"(Ses\d\d[FM])_\w+_([FM])\d+", re.ASCII)


class Shared(NamedTuple):
    """What two parts of a fold have in common.

    Attributes:
        what: `utterances`, `speakers`, `sentences`, `recordings` (files of equal content) or
            `near-duplicates` (equal to the ear, of other content).
        number: Of so many values of `second` that are in `first`, too, which trains or validates.
        utterances: Of `second` that have one of them.
    """

    what: str
    first: str
    second: str
    number: int
    of: int
    utterances: int
    examples: tuple[str, ...]

    @property
    def is_leak(self) -> bool:
        """Whether it lets a model know of the test part; acted sentences are the same by design."""
        return self.second == "test" and self.what != "sentences" and self.number > 0


class Fold(NamedTuple):
    """One fold of a split, counted: utterances by part, and by part and emotion.

    Attributes:
        shared: By kind and pair of parts, where both have such values.
        unread: Files whose content was not compared, since they are not there.
        undecoded: Files that were not compared by ear, since they cannot be decoded.
    """

    name: str
    utterances: dict[str, int]
    classes: dict[str, dict[str, int]]
    shared: tuple[Shared, ...]
    unread: int
    undecoded: int = 0

    @property
    def leaks(self) -> tuple[Shared, ...]:
        """Return what lets a model know of the test part."""
        return tuple(one for one in self.shared if one.is_leak)

    @property
    def labels(self) -> list[str]:
        """Return its classes in order; utterances without one have none."""
        return sorted({name for counts in self.classes.values() for name in counts} - {"None"})

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {**self._asdict(), "shared": [one._asdict() for one in self.shared]}


def count_shared(name: str, split: Split, *, content: bool = True, near: bool = False) -> Fold:
    """Count what the parts of a fold share; any of them may be empty.

    With `content` files are compared byte by byte, with `near` by their fingerprints, too.
    """
    every = [one for part in split for one in part]
    paths = list(dict.fromkeys(one.path for one in every)) if content else []
    there = [path for path in paths if path.is_file() and os.access(path, os.R_OK)]
    hashes = dict(zip(there, AudioIndex.shared().hashes(there), strict=True))
    alike = _alike(every, hashes) if near else {}
    kinds: tuple[tuple[str, Key], ...] = (
        ("utterances", lambda one: one.id),
        ("speakers", lambda one: one.speaker),
        ("sentences", lambda one: one.label("sentence")),
        ("recordings", lambda one: hashes.get(one.path)),
        ("near-duplicates", lambda one: alike.get(one.audio.key)),
    )
    shared = [
        one
        for what, key in kinds
        for first, second in PAIRS
        if (one := _shared(split, what, first, second, key)) is not None
    ]
    parts = split._asdict()
    classes = {part: Counter(str(one.emotion) for one in own) for part, own in parts.items()}
    sounds = {one.audio for one in every} if near else ()
    return Fold(
        name,
        {part: len(members) for part, members in parts.items()},
        {part: dict(counts) for part, counts in classes.items()},
        tuple(shared),
        unread=len(paths) - len(there),
        undecoded=sum(not _decoded(sound).fine for sound in sounds),
    )


def named_by_dialogue(records: Sequence[Utterance]) -> tuple[int, int]:
    """Return how many utterances name IEMOCAP's dialogue as speaker, and how many so err.

    `Ses01F_impro01_M013` is spoken by M of session 1; the F tells who wears the markers.
    """
    found = [(one, _DIALOGUE.search(one.id)) for one in {one.id: one for one in records}.values()]
    named = [match for one, match in found if match is not None and one.speaker == match[1]]
    return len(named), sum(match[1][-1] != match[2] for match in named)


def _alike(utterances: Sequence[Utterance], hashes: Mapping[Path, str]) -> dict[str, str | None]:
    """Return by sound which group of near-duplicates it is in; None for one that is alone.

    Files of equal content are one recording, which is counted elsewhere.
    """
    sounds = {one.audio.key: one for one in utterances}
    prints = [_decoded(one.audio).print for one in counted("files decoded", sounds.values())]
    groups = groups_of(prints)
    contents: dict[int, set[str]] = {}
    for (key, one), group in zip(sounds.items(), groups, strict=True):
        if group is not None:
            contents.setdefault(group, set()).add(f"{hashes.get(one.path) or key}")
    return {
        key: str(group) if group is not None and len(contents[group]) > 1 else None
        for key, group in zip(sounds, groups, strict=True)
    }


class _Decoded(NamedTuple):
    print: tuple[float, Any] | None  # none of silence, either
    fine: bool = True


@functools.lru_cache(maxsize=1 << 16)
def _decoded(sound: Excerpt) -> _Decoded:
    try:
        return _Decoded(fingerprint(sound))
    except AudioError:
        return _Decoded(None, fine=False)


def _shared(split: Split, what: str, first: str, second: str, key: Key) -> Shared | None:
    ours = {value for one in getattr(split, first) if (value := key(one))}
    theirs = [(one, value) for one in getattr(split, second) if (value := key(one))]
    if not ours or not theirs:
        return None
    common = [(one, value) for one, value in theirs if value in ours]
    by_file = what in ("recordings", "near-duplicates")
    shown = {value: one.id if by_file else value for one, value in common}
    counts = (len(shown), len({value for _, value in theirs}), len(common))
    return Shared(what, first, second, *counts, tuple(sorted(shown.values())[:_SHOWN]))
