"""The ways to take a part out of a list of utterances: a session, a speaker, a share, a number.

First in this folder. No global random state is touched. s3prl's dev set comes from torch's
generator; every other random order is that of a hash of (purpose, seed, utterance id), which no
library version, machine or file order can change.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence

from spknorm.corpora.records import Utterance
from spknorm.errors import DataError

logger = logging.getLogger(__name__)

Records = Sequence[Utterance]
Part = list[Utterance]


def parted(records: Records, is_held: Callable[[Utterance], bool]) -> tuple[Part, Part]:
    """Return (the others, those that are held), each in the order of the records."""
    parts: tuple[Part, Part] = ([], [])
    for one in records:
        parts[is_held(one)].append(one)
    return parts


def hold_out_session(records: Records, fold: str) -> tuple[Part, Part]:
    """Return (the others, the utterances of SessionN) for foldN."""
    session = fold.replace("fold", "Session")
    if lost := next((one for one in records if one.session is None), None):
        raise DataError(
            f"The protocol si5 needs the session of every utterance; {lost.id} has none. Without "
            "sessions, groups of speakers can be held out (protocol loso-group, dev "
            "speaker_disjoint), or each speaker (loso)."
        )
    others, held = parted(records, lambda one: one.session == session)
    if not held:
        names = ", ".join(sorted({str(one.session) for one in records})) or "none"
        raise DataError(f"No utterance is of {session}, which {fold} tests on; there are: {names}.")
    return others, held


def hold_out_speaker(records: Records, fold: str, protocol: str = "si10") -> tuple[Part, Part]:
    """Return (the others, the utterances of the N-th speaker in the order of names) for foldN."""
    speakers = speakers_of(records, f"The protocol {protocol}")
    number = int(fold.removeprefix("fold"))
    if number > len(speakers):
        raise DataError(
            f"{fold} of {protocol} tests on speaker {number}, but there are {len(speakers)}."
        )
    return parted(records, lambda one: one.speaker == speakers[number - 1])


def superb_dev(pool: Records, valid_ratio: float) -> tuple[Part, Part]:
    """Return (train, dev) as s3prl/downstream/emotion/expert.py: random_split under seed 0."""
    import torch

    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0)).tolist()
    num_train = int((1 - valid_ratio) * len(pool))
    return [pool[i] for i in order[:num_train]], [pool[i] for i in order[num_train:]]


def disjoint_dev(pool: Records, valid_ratio: float, seed: int) -> tuple[Part, Part]:
    """Return (train, dev) such that `valid_ratio` of the speakers are in dev and nowhere else."""
    speakers = speakers_of(pool, "A speaker-disjoint dev set")
    if len(speakers) < 2:
        raise DataError(
            f"A speaker-disjoint dev set needs two training speakers; there are {len(speakers)}. "
            "`dev: superb` takes a random share of the utterances instead, whose speakers train."
        )
    count = min(max(1, round(valid_ratio * len(speakers))), len(speakers) - 1)
    chosen = set(sorted(speakers, key=lambda name: rank("dev speakers", seed, name))[:count])
    return parted(pool, lambda one: one.speaker in chosen)


def stratified(records: Records, seed: int) -> tuple[Part, Part, Part]:
    """Return (train, dev, test), 80/10/10 within each emotion, each in the order of the records."""
    dev, test = set[str](), set[str]()
    for group in _by_emotion(records).values():
        order = [one.id for one in sorted(group, key=lambda one: rank("sd", seed, one.id))]
        tenth = round(len(order) / 10)
        test.update(order[:tenth])
        dev.update(order[tenth : 2 * tenth])
    others, tested = parted(records, lambda one: one.id in test)
    return (*parted(others, lambda one: one.id in dev), tested)


def up_to(records: Records, count: int, draw: int) -> Part:
    """Return up to `count` utterances of each emotion; a larger count keeps those of a smaller.

    Of which there are fewer is told.
    """
    kept, groups = set[str](), _by_emotion(records)
    if few := [f"{len(group)} {name}" for name, group in groups.items() if len(group) < count]:
        logger.warning(
            "%d training utterances per class are asked for, but there are %s, which all train.",
            count, ", ".join(few),
        )  # fmt: skip
    for group in groups.values():
        order = sorted(group, key=lambda one: rank("low_resource", draw, one.id))
        kept.update(one.id for one in order[:count])
    return [one for one in records if one.id in kept]


def of_turns(records: Iterable[Utterance], turns: str) -> Part:
    """Return the improvised, the scripted or all utterances."""
    return [one for one in records if turns in ("all", one.turn)]


def _by_emotion(records: Iterable[Utterance]) -> dict[str, Part]:
    groups: dict[str, Part] = {}
    for one in records:
        groups.setdefault(str(one.emotion), []).append(one)
    return groups


def speakers_of(records: Iterable[Utterance], needer: str) -> list[str]:
    """Return the speakers by name; `needer` is who cannot do without.

    Raises:
        DataError: An utterance has none.
    """
    names: set[str] = set()
    for one in records:
        if one.speaker is None:
            raise DataError(f"{needer} needs the speaker of every utterance; {one.id} has none.")
        names.add(one.speaker)
    return sorted(names)


def rank(purpose: str, seed: int, name: str) -> bytes:
    """Return what to sort by for a random order that is the same everywhere."""
    return hashlib.sha256(f"spknorm {purpose}\0{seed}\0{name}".encode()).digest()
