"""Several emotion corpora of one run: those that train, and those that are only tested.

Before `emotions.py`, for the protocol cross; `spknorm.protocols.cross` divides them.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spknorm.batches import targets
from spknorm.corpora.checks import check_records, usable
from spknorm.corpora.known import CORPORA
from spknorm.corpora.reading import read_corpus
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError
from spknorm.protocols import (
    TITLES,
    Split,
    Splitting,
    check_protocol,
    check_split,
    cross_split,
    in_common,
    renamed,
)
from spknorm.schema import DataConfig, ExpertConfig, resolved_dev

logger = logging.getLogger(__name__)

_LISTS = (".csv", ".jsonl")


class Divided(NamedTuple):
    """The emotion corpora of one run, read and divided.

    Attributes:
        records: Of all of them.
        names: The classes that all have, or the dimensions.
        scale: Of the dimensions; of several corpora -1 to 1, on which each's own were laid; None:
            classes.
        split: Train, dev and test.
        splitting: Who made the folds, or which corpora are which.
    """

    records: Sequence[Utterance]
    names: tuple[str, ...]
    scale: tuple[float, float] | None
    split: Split
    splitting: Splitting


def read_several(config: DataConfig, *, seed: int, work_dir: Path) -> Divided:
    """Read what trains and what is tested, and divide it.

    Raises:
        ConfigError: A corpus is named twice, or none is tested.
        MissingError: A corpus is not where it was looked for.
        DataError: There are no classes in common, or somebody trains who is tested.
    """
    sources, tested = (config.corpus, *config.train_with), config.test_on
    everything = (*sources, *tested)
    twice = next((name for name in everything if everything.count(name) > 1), None)
    if not tested or twice is not None:
        what = "names no corpus" if not tested else f"and what trains both name `{twice}`"
        raise ConfigError(
            f"`downstream_expert.datarc.test_on` {what}: the protocol cross trains on `corpus` "
            "and `train_with`, and tests on other corpora."
        )
    dev = resolved_dev(config.dev, protocol="cross", base=config.base, corpus=config.corpus)
    check_protocol(config, fold=str(config.test_fold), dev=dev)
    corpora = {
        name: renamed(
            usable(_read(config, name), work_dir=work_dir, skip_bad=config.skip_bad), name
        )
        for name in everything
    }
    if config.targets == "dimensions":
        names, corpora = _same_dimensions(config, corpora)
        scale: tuple[float, float] | None = (-1.0, 1.0)
    else:
        names, corpora = in_common(corpora)
        scale = None
        for name, records in corpora.items():
            logger.info("%s: %d utterances of the classes in common", name, len(records))
    records = [one for name in everything for one in corpora[name]]
    if scale is None:
        check_records(records, role="emotion", classes=names)
    split = cross_split(
        {name: corpora[name] for name in sources},
        {name: corpora[name] for name in tested},
        dev=dev,
        valid_ratio=config.valid_ratio,
        seed=seed,
    )
    strangers = DataConfig(protocol="cross", allow_leak=config.allow_leak)
    leaks = check_split(split, strangers, dev=dev)
    splitting = Splitting(
        protocol="cross",
        title=TITLES["cross"],
        dev=dev,
        leaks=leaks,
        trained_on=sources,
        tested_on=tested,
    )
    return Divided(records, names, scale, split, splitting)


def _read(config: DataConfig, name: str) -> list[Utterance]:
    """Return one of the corpora, under the same labels as the others."""
    place = config.roots.get(name)
    first = name == config.corpus
    if name not in CORPORA:
        if place is None or not str(place).lower().endswith(_LISTS):
            raise ConfigError(
                f"`{name}` is none of the corpora {', '.join(CORPORA)}; for a manifest of that "
                f"name, `downstream_expert.datarc.roots.{name}` must be its .csv or .jsonl file."
            )
        one = dataclasses.replace(config, corpus="manifest", manifest=str(place), root=None)
    elif name == "manifest" and not first:
        raise ConfigError(
            "A manifest in `train_with` or `test_on` needs a name of its own, with its file in "
            "`downstream_expert.datarc.roots`."
        )
    else:
        root = config.root if place is None and first else place
        one = dataclasses.replace(config, corpus=name, root=root)
        if not first:
            one = dataclasses.replace(one, manifest=None, meta_data=None)
    return list(read_corpus(ExpertConfig(datarc=one), "emotion"))


def _same_dimensions(
    config: DataConfig, corpora: dict[str, list[Utterance]]
) -> tuple[tuple[str, ...], dict[str, list[Utterance]]]:
    """Return the dimensions that all corpora have, and these laid on -1 ... 1."""
    shared = [targets.dimensions_among(records) for records in corpora.values()]
    names = tuple(one for one in shared[0] if all(one in other for other in shared))
    if not names:
        raise ConfigError(
            "The corpora have no dimension in common: "
            + "; ".join(f"{k} has {', '.join(v)}" for k, v in zip(corpora, shared, strict=True))
        )
    return names, {name: _laid(config, name, names, records) for name, records in corpora.items()}


def _laid(
    config: DataConfig, name: str, names: Sequence[str], records: list[Utterance]
) -> list[Utterance]:
    kept = targets.with_dimensions(records, names)
    known = CORPORA[name].scale if name in CORPORA else None
    scale = targets.scale_of(kept, names, config.scale, known)
    values = targets.dimension_labels(kept, names, scale)
    return [
        dataclasses.replace(one, **dict(zip(names, row, strict=True)))  # type: ignore[arg-type]
        for one, row in zip(kept, values, strict=True)
    ]
