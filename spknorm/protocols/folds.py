"""The protocols by name: settings in, a checked split out. Third in this folder."""

import re
from collections.abc import Iterable, Sequence
from types import MappingProxyType

from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError
from spknorm.protocols import parts
from spknorm.protocols.groups import hold_out_group
from spknorm.protocols.overlap import Split, check_split

PROTOCOLS = ("si5", "si10", "loso", "loso-group", "sd", "low_resource")
BASES = ("si5", "sd")
DEVS = ("superb", "speaker_disjoint")
TURNS = ("all", "improvised", "scripted")
SAMPLES_PER_LABEL = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
"""The points of the paper's low-resource curve (figure 2)."""
NUM_DRAWS = 5
"""Random draws per point of that curve."""

_NUM_FOLDS = MappingProxyType({"si5": 5, "si10": 10, "loso": 0, "sd": 1})
_BY_SPEAKER = ("loso", "loso-group")


def folds_of(protocol: str, *, base: str = "si5", groups: int = 5) -> tuple[str, ...]:
    """Return the names of a protocol's folds; none for loso, where the corpus has one per speaker.

    `base` is what low_resource draws from, `groups` the number of loso-group's.
    """
    _choice("protocol", protocol, PROTOCOLS)
    _choice("base", base, BASES)
    if protocol == "loso-group":
        count = groups
    else:
        count = _NUM_FOLDS[base if protocol == "low_resource" else protocol]
    return tuple(f"fold{number}" for number in range(1, count + 1))


def make_split(
    utterances: Iterable[Utterance],
    *,
    protocol: str,
    fold: str,
    dev: str = "superb",
    valid_ratio: float = 0.2,
    seed: int = 0,
    samples_per_label: int | None = None,
    draw: int = 0,
    base: str = "si5",
    train_turns: str = "all",
    test_turns: str = "all",
    ordered: bool = False,
    groups: int = 5,
) -> Split:
    """Divide emotion utterances as a protocol says, and check the result by name.

    Args:
        utterances: Records with an emotion; si5 needs their session, si10 and speaker_disjoint
            their speaker.
        protocol: `si5` holds out SessionN (s3prl's folds), `si10` the N-th speaker by name, `sd`
            is random and stratified, 80/10/10; `loso` is si10 for any number of speakers,
            `loso-group` holds out the N-th of `groups` groups of speakers that are alike in sex
            and classes; `low_resource` keeps up to `samples_per_label`
            training utterances of each emotion of `base`, dev and test stay those of `base`.
        fold: `fold1` and on, see `folds_of`.
        dev: `superb` takes `valid_ratio` of the training pool at random, so that train and dev
            share speakers, exactly as s3prl's emotion task does: torch's random_split under seed
            0, whatever `seed` is. `speaker_disjoint` takes that share of the speakers.
        valid_ratio: Share of the training pool that validates (si5, si10).
        seed: Chooses the split of sd and the speakers of speaker_disjoint.
        samples_per_label: Utterances per emotion for low_resource, "up to" where there are fewer.
        draw: Which random draw of low_resource; the draws of one number are nested over
            `samples_per_label`.
        base: `si5` or `sd`, what low_resource draws from.
        train_turns: `all`, `improvised` or `scripted`: what trains and validates.
        test_turns: The same for the test part.
        ordered: Keep the order of the records (s3prl's fold JSON) instead of sorting them by id.
        groups: How many groups of speakers loso-group makes.

    Raises:
        ConfigError: A setting is unknown, or has no effect together with the others.
        DataError: The records cannot be divided so, or the parts would overlap.
    """
    _choice("dev", dev, DEVS)
    _choice("train_turns", train_turns, TURNS)
    _choice("test_turns", test_turns, TURNS)
    _check_fold(fold, protocol=protocol, base=base, groups=groups)
    kind = base if protocol == "low_resource" else protocol
    _check_settings(protocol, kind, dev, valid_ratio, samples_per_label, seed, draw)
    records = list(utterances) if ordered else sorted(utterances, key=lambda one: one.id)
    _check_records(records)
    if kind == "sd":
        train, valid, test = parts.stratified(records, seed)
        train, valid = parts.of_turns(train, train_turns), parts.of_turns(valid, train_turns)
    else:
        pool, test = _hold_out(kind, records, fold, groups)
        pool = parts.of_turns(pool, train_turns)
        if dev == "superb":
            train, valid = parts.superb_dev(pool, valid_ratio)
        else:
            train, valid = parts.disjoint_dev(pool, valid_ratio, seed)
    if samples_per_label is not None:
        train = parts.up_to(train, samples_per_label, draw)
    split = Split(tuple(train), tuple(valid), tuple(parts.of_turns(test, test_turns)))
    for name, part in split._asdict().items():
        if not part:
            raise DataError(
                f"The {name} part of {protocol} {fold} is empty: {len(records)} utterances, "
                f"train_turns {train_turns}, test_turns {test_turns}, valid_ratio {valid_ratio}."
            )
    check_split(split, protocol=protocol, base=base, dev=dev)
    return split


def _check_fold(fold: str, *, protocol: str, base: str, groups: int) -> None:
    folds = folds_of(protocol, base=base, groups=groups)
    if fold not in folds and not (not folds and re.fullmatch(r"fold[1-9][0-9]{0,4}", fold)):
        names = ", ".join(folds) or "fold1, fold2, ..."
        raise ConfigError(
            f"`test_fold` must be one of {names} under the protocol {protocol}, but is `{fold}`."
        )


def _hold_out(
    kind: str, records: Sequence[Utterance], fold: str, groups: int
) -> tuple[parts.Part, parts.Part]:
    if kind == "si5":
        return parts.hold_out_session(records, fold)
    if kind == "loso-group":
        return hold_out_group(records, fold, groups)
    return parts.hold_out_speaker(records, fold, kind)


def _check_settings(
    protocol: str,
    kind: str,
    dev: str,
    valid_ratio: float,
    samples_per_label: int | None,
    seed: int,
    draw: int,
) -> None:
    if kind == "sd" and dev != "superb":
        raise ConfigError("`dev: speaker_disjoint` needs si5 or si10; sd is split by utterance.")
    if kind in _BY_SPEAKER and dev != "speaker_disjoint":
        raise ConfigError(
            f"`dev: {dev}` shares speakers between train and dev, which {kind} does not: set "
            "`dev: speaker_disjoint`."
        )
    if not 0 < valid_ratio < 1:
        raise ConfigError(f"`valid_ratio` must lie between 0 and 1, but is {valid_ratio}.")
    if (protocol == "low_resource") != (samples_per_label is not None):
        raise ConfigError(
            "`samples_per_label` and the protocol low_resource belong together, but protocol is "
            f"`{protocol}` and samples_per_label is {samples_per_label}."
        )
    if samples_per_label is not None and samples_per_label < 1:
        raise ConfigError(f"`samples_per_label` must be 1 or more, but is {samples_per_label}.")
    if seed < 0 or draw < 0:
        raise ConfigError(f"`seed` and `draw` must be 0 or more, but are {seed} and {draw}.")


def _check_records(records: Sequence[Utterance]) -> None:
    ids: set[str] = set()
    for one in records:
        if one.emotion is None:
            raise DataError(f"Utterance {one.id} ({one.path}) has no emotion, so it has no part.")
        if one.id in ids:
            raise DataError(f"Two utterances have the id {one.id}; ids must be unique.")
        ids.add(one.id)


def _choice(name: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        raise ConfigError(f"`{name}` must be one of {', '.join(valid)}, but is `{value}`.")
