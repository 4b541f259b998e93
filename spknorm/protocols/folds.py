"""The protocols by name: settings in, a checked split out. Last in this folder but cross.py."""

import logging
import re
from collections.abc import Iterable, Sequence

from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError
from spknorm.protocols import owners, parts
from spknorm.protocols.emobox import hold_out_by_lists
from spknorm.protocols.groups import (
    hold_out_group,
    hold_out_sentences,
    without_shared_sentences,
)
from spknorm.protocols.overlap import Split, check_split
from spknorm.schema import DataConfig

logger = logging.getLogger(__name__)

PROTOCOLS = (*owners.TITLES,)
BASES = ("si5", "sd")
DEVS = ("superb", "speaker_disjoint", "given")
SAMPLES_PER_LABEL = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
"""The points of the paper's low-resource curve (figure 2)."""
NUM_DRAWS = 5
"""Random draws per point of that curve."""

_NUM_FOLDS = {"si5": 5, "si10": 10, "loso": 0, "sd": 1, "official": 0, "emobox": 0, "cross": 1}
_BY_SPEAKER = ("loso", "loso-group")
_DIMENSIONS = ("arousal", "valence", "dominance")


def folds_of(config: DataConfig, *, listed: bool = True) -> tuple[str, ...]:
    """Return the names of a protocol's folds; none where the corpus or its lists say how many.

    Those of emosuperb and audb are in their lists, which may not be asked for.
    """
    _choice("protocol", config.protocol, PROTOCOLS)
    _choice("base", config.base, BASES)
    kind = config.base if config.protocol == "low_resource" else config.protocol
    if config.unseen == "sentences" or kind == "loso-group":
        count = config.groups
    elif kind in _NUM_FOLDS:
        count = _NUM_FOLDS[kind]
    else:
        count = owners.num_folds(kind, config.corpus) if listed else 0
    return tuple(f"fold{number}" for number in range(1, count + 1))


def divide(
    utterances: Iterable[Utterance],
    config: DataConfig,
    *,
    fold: str,
    dev: str,
    seed: int,
    ordered: bool = False,
) -> tuple[Split, owners.Splitting]:
    """Divide emotion utterances as `datarc` says, and check the result by name.

    Protocols: si5 holds out SessionN (s3prl's folds), si10 the N-th speaker by name, loso is si10
    for any number of speakers, loso-group holds out the N-th of `groups` groups that are alike in
    sex and classes; sd is random and stratified, 80/10/10 by `seed`; low_resource keeps up to
    `samples_per_label` training utterances of each emotion of `base`, of random draws that are
    nested over the sizes; official, emobox, emosuperb, audb: as others divide it.

    dev: `superb` takes `valid_ratio` of the training pool at random, so that train and dev share
    speakers, exactly as s3prl's emotion task does: torch's random_split under seed 0, whatever
    `seed` is. `speaker_disjoint` takes that share of the speakers. `given` is a list's own dev
    part, or speaker_disjoint where the list has none.

    unseen: `sentences` tests on the N-th of `groups` groups of sentences, whoever says them; of
    `both` neither trains. `ordered` keeps the order of the records (s3prl's fold JSON) instead of
    sorting them by id.

    Raises:
        ConfigError: A setting is unknown, or has no effect together with the others; ranges are
            the schema's to check.
        DataError: The records cannot be divided so, or the parts would overlap.
    """
    kind = check_protocol(config, fold=fold, dev=dev)
    if kind == "cross":
        raise ConfigError(
            "The protocol cross trains on some corpora and tests on others, which a run's settings "
            "name: it divides none."
        )
    protocol, unseen = config.protocol, config.unseen
    records = list(utterances) if ordered else sorted(utterances, key=lambda one: one.id)
    _check_records(records)
    pool, given, test = _parts_of(kind, records, fold, config, seed)
    if kind == "sd" and dev == "superb":
        dev = "given"  # a tenth, drawn with the test part
    elif dev == "given" and not given:
        logger.info("The list of %s has no dev part: training speakers are held out.", protocol)
        dev = "speaker_disjoint"
    elif dev != "given":
        kept = {one.id for one in (*pool, *given)}
        pool, given = [one for one in records if one.id in kept], []
    pool, given = (parts.of_turns(one, config.train_turns) for one in (pool, given))
    test = parts.of_turns(test, config.test_turns)
    about = (
        f"{protocol} {fold} is empty: {len(records)} utterances, train_turns {config.train_turns}, "
        f"test_turns {config.test_turns}, valid_ratio {config.valid_ratio}"
    )
    whole = Split(tuple(pool), tuple(given), tuple(test))
    _refuse_empty(about, train=whole.train, test=whole.test)
    # before dev is made of what trains, so that a message is of the list
    check_split(whole, config, dev="")
    if dev == "superb":
        train, valid = parts.superb_dev(pool, config.valid_ratio)
    elif dev == "speaker_disjoint":
        train, valid = parts.disjoint_dev(pool, config.valid_ratio, seed)
    else:
        train, valid = pool, given
    if config.samples_per_label is not None:
        train = parts.up_to(train, config.samples_per_label, config.draw)
    split = Split(tuple(train), tuple(valid), tuple(test))
    _refuse_empty(about, **split._asdict())
    leaks = check_split(split, config, dev=dev)
    dev = "superb" if kind == "sd" and dev == "given" else dev
    title = owners.TITLES[protocol]
    return split, owners.Splitting(
        protocol=protocol, title=title, dev=dev, unseen=unseen, leaks=leaks
    )


def _parts_of(
    kind: str, records: parts.Part, fold: str, config: DataConfig, seed: int
) -> tuple[parts.Part, parts.Part, parts.Part]:
    """Return the training pool, the dev part that is given with it (or nothing), and test."""
    if kind == "sd":
        return parts.stratified(records, seed)
    if kind == "official":
        return owners.hold_out_official(records, fold)
    if kind == "emobox":
        return hold_out_by_lists(records, fold, config.fold_lists or "")
    if kind in owners.LISTED:
        return owners.hold_out_listed(records, fold, owner=kind, corpus=config.corpus)
    if config.unseen == "sentences":
        pool, test = hold_out_sentences(records, fold, config.groups)
    elif kind == "si5":
        pool, test = parts.hold_out_session(records, fold)
    elif kind == "loso-group":
        pool, test = hold_out_group(records, fold, config.groups)
    else:
        pool, test = parts.hold_out_speaker(records, fold, kind)
    if config.unseen == "both":
        pool, test = without_shared_sentences(records, pool, test, fold, config.groups)
    return pool, [], test


def _refuse_empty(about: str, **members: Sequence[Utterance]) -> None:
    for name, part in members.items():
        if not part:
            raise DataError(f"The {name} part of {about}.")


def check_protocol(config: DataConfig, *, fold: str, dev: str) -> str:
    """Check what is asked of a protocol, before any utterance is looked at; return its kind.

    The kind of low_resource is its base, of every other protocol itself.

    Raises:
        ConfigError: A setting is unknown, or has no effect together with the others.
    """
    _choice("dev", dev, DEVS)
    protocol, unseen, samples_per_label = config.protocol, config.unseen, config.samples_per_label
    kind = config.base if protocol == "low_resource" else protocol
    folds = folds_of(config, listed=False)
    if fold not in folds and not (not folds and re.fullmatch(r"fold[1-9][0-9]{0,4}", fold)):
        names = ", ".join(folds) or "fold1, fold2, ..."
        raise ConfigError(
            f"`test_fold` must be one of {names} under the protocol {protocol}, but is `{fold}`."
        )
    if dev == "given" and kind not in owners.LISTED:
        raise ConfigError(
            f"`dev: given` is the dev part of a list ({', '.join(owners.LISTED)}), which {kind} "
            "has not: set `dev` to speaker_disjoint."
        )
    if kind in _BY_SPEAKER and dev == "superb":
        raise ConfigError(
            f"`dev: {dev}` shares speakers between train and dev, which {kind} does not: set "
            "`dev: speaker_disjoint`."
        )
    if (protocol == "low_resource") != (samples_per_label is not None):
        raise ConfigError(
            "`samples_per_label` and the protocol low_resource belong together, but protocol is "
            f"`{protocol}` and samples_per_label is {samples_per_label}."
        )
    if unseen != "speakers" and kind in ("sd", "cross", *owners.LISTED):
        raise ConfigError(
            f"`unseen: {unseen}` has no effect under the protocol {protocol}, whose parts are what "
            "they are: take loso-group, loso, si5 or si10."
        )
    if kind == "cross" and not config.train_turns == config.test_turns == "all":
        raise ConfigError(
            "`train_turns` and `test_turns` have no effect under the protocol cross, which takes "
            "corpora whole: leave them out."
        )
    return kind


def _check_records(records: Sequence[Utterance]) -> None:
    ids: set[str] = set()
    for one in records:
        if one.emotion is None and all(getattr(one, name) is None for name in _DIMENSIONS):
            raise DataError(f"Utterance {one.id} ({one.path}) has no emotion, so it has no part.")
        if one.id in ids:
            raise DataError(f"Two utterances have the id {one.id}; ids must be unique.")
        ids.add(one.id)


def _choice(name: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        raise ConfigError(f"`{name}` must be one of {', '.join(valid)}, but is `{value}`.")
