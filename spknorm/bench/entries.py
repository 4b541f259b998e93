"""The entries of `protocols` in an experiment file: what each sets, and which folds it has.

Before `expansion.py`. Under the protocol cross one entry stands for several: `corpora: [a, b, c]`
trains on each of them and tests on the others, with `train: others` the other way round.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from spknorm.bench.experiment import CROSS_KEYS, DATA_KEYS, PROTOCOL_KEYS, as_mapping
from spknorm.errors import ConfigError
from spknorm.protocols import folds_of

_CORPUS = ("downstream_expert", "datarc", "corpus")


def entries_of(protocols: Iterable[Any]) -> list[dict[str, Any]]:
    """Return one entry per set of folds, each with a `label` for its runs' names.

    Raises:
        ConfigError: A key is unknown, or does not belong to the protocol.
    """
    found: list[dict[str, Any]] = []
    for one in protocols:
        entry = as_mapping(one, "protocol", PROTOCOL_KEYS, "protocols")
        strange = sorted(set(entry) & {*CROSS_KEYS}) if entry["protocol"] != "cross" else []
        if strange:
            raise ConfigError(
                f"`{strange[0]}` belongs to the protocol cross, not to {entry['protocol']}."
            )
        found += _crossed(entry) if "corpora" in entry else [{"label": entry["protocol"], **entry}]
    return found


def data_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an entry sets in `downstream_expert.datarc`."""
    return {"protocol": entry["protocol"], **{k: entry[k] for k in DATA_KEYS if k in entry}}


def folds_in(entry: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return the folds that an entry names, or all that its protocol has.

    Raises:
        ConfigError: It must name them and does not, or names one that there is not.
    """
    name, corpus = entry["protocol"], entry.get("corpus") or _corpus_of(config)
    known = folds_of(
        name,
        base=entry.get("base", "si5"),
        groups=entry.get("groups", 5),
        unseen=entry.get("unseen", "speakers"),
        corpus=corpus,
    )
    folds = list(entry.get("folds") or known or (["fold1"] if name == "official" else []))
    if not folds:
        why = "the corpus has one per speaker" if name == "loso" else "its lists say how many"
        raise ConfigError(f"`folds` of {name} must be named: {why}.")
    unknown = [fold for fold in folds if known and fold not in known]
    if unknown:
        valid = ", ".join(known)
        raise ConfigError(f"`folds` of {name} must be among {valid}, but one is `{unknown[0]}`.")
    return folds


def _crossed(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    corpora, train = entry["corpora"], entry.get("train", "each")
    if not isinstance(corpora, list) or len(corpora) < 2 or train not in ("each", "others"):
        raise ConfigError(
            "The protocol cross takes `corpora`, a list of two and more, and `train`: each (one "
            f"trains, the others are tested) or others, but they are {corpora!r} and {train!r}."
        )
    rest = {key: value for key, value in entry.items() if key not in ("corpora", "train")}
    found = []
    for name in corpora:
        others = [other for other in corpora if other != name]
        if train == "each":
            data = {"corpus": name, "test_on": others, "label": f"cross-{name}"}
        else:
            data = {"corpus": others[0], "train_with": others[1:], "test_on": [name]}
            data |= {"label": f"cross-to-{name}"}
        found.append({**rest, **data})
    return found


def _corpus_of(config: Mapping[str, Any]) -> str:
    found: Any = config
    for key in _CORPUS:
        found = found.get(key) if isinstance(found, Mapping) else None
    return str(found or "iemocap")
