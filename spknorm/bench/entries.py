"""The entries of an experiment file's lists: upstreams, variants and protocols, read and typed.

First in this folder. Under the protocol cross one entry stands for several:
`corpora: [a, b, c]` trains on each of them and tests on the others, with `train: others` the other
way round.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from spknorm import config
from spknorm.errors import ConfigError, did_you_mean
from spknorm.protocols import PROTOCOLS, folds_of
from spknorm.schema import DataConfig, MethodConfig
from spknorm.schema.marks import ABOVE_0, NOT_NEGATIVE

_FOLD = re.compile("fold[1-9][0-9]{0,4}")
_LAST_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """An entry of `upstreams`."""

    name: str
    """s3prl's -u."""
    ckpt: str | None = None
    """s3prl's -k."""
    config: str | None = None
    """s3prl's -g."""
    label: str | None = None
    """How its runs are called; null: by its name."""

    @property
    def called(self) -> str:
        """How its runs are called."""
        return self.name if self.label is None else self.label


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An entry of `variants`."""

    name: str | None = None
    """How its runs are called; null: by what it sets."""
    frozen: bool = False
    selection: str | None = None
    """s3prl's -s."""
    layer: int | None = None
    """s3prl's -l."""
    shuffled: bool = False
    """Permuted speaker labels, the control."""
    config: Mapping[str, Any] | None = None
    """Other sections."""
    method: Mapping[str, Any] = field(default_factory=dict)
    """No key of the file: its settings of `downstream_expert.spknorm`."""

    @property
    def called(self) -> str:
        """How its runs are called."""
        erasure = self.method.get("erasure", "none")
        parts = [self.method.get("strategy", "TAP")]
        parts += [erasure] if erasure != "none" else []
        parts += ["frozen"] if self.frozen else []
        parts += ["shuffled"] if self.shuffled else []
        return "-".join(parts) if self.name is None else self.name

    @property
    def takes_lambda(self) -> bool:
        """Whether `lambdas` or `select` decides how strong its adversary is."""
        return self.method.get("strategy") != "none" and "speaker_lambda" not in self.method

    @property
    def key(self) -> tuple[Any, ...]:
        """What variants that share a chosen lambda have in common: all but the labels."""
        method = (self.method.get(name) for name in ("strategy", "update", "adversary"))
        return (*method, self.frozen, self.selection, self.layer)

    def at(self, strength: float) -> "Variant":
        """Return the variant at one lambda, which its name says."""
        name = f"{self.called}-lambda{strength:g}"
        return replace(self, name=name, method={**self.method, "speaker_lambda": strength})


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """An entry of `protocols`, or one of those that it stands for."""

    protocol: str
    label: str | None = None
    """How its runs are called; null: by the protocol."""
    folds: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    draws: Annotated[tuple[int, ...] | None, NOT_NEGATIVE] = None
    samples_per_label: Annotated[tuple[int, ...] | None, ABOVE_0] = None
    corpora: tuple[str, ...] | None = None
    train: Literal["each", "others"] = "each"
    data: Mapping[str, Any] = field(default_factory=dict)
    """No key of the file: what it sets in `downstream_expert.datarc`."""

    @property
    def called(self) -> str:
        """How its runs are called."""
        return self.protocol if self.label is None else self.label


def _names(kind: type, *, but: str = "") -> tuple[str, ...]:
    return tuple(one.name for one in dataclasses.fields(kind) if one.name != but)


UPSTREAM_KEYS = _names(Upstream)
METHOD_KEYS = _names(MethodConfig)
VARIANT_KEYS = (*_names(Variant, but="method"), *METHOD_KEYS)
DATA_KEYS = (
    *("base", "dev", "groups", "unseen", "allow_leak", "fold_lists"),
    *("corpus", "train_with", "test_on"),
)
"""What an entry of `protocols` sets in `downstream_expert.datarc`."""
CROSS_KEYS = ("corpora", "train", "train_with", "test_on")
PROTOCOL_KEYS = (*_names(Protocol, but="data"), *DATA_KEYS)


def as_mapping(entry: Any, main: str, known: Iterable[str], where: str) -> dict[str, Any]:
    """Return an entry of a list; a bare text stands for the mapping with its main key alone.

    `where` is the key of the list in the file, `main` what a bare text is the value of in it, such
    as `protocol`, and `known` the keys that an entry may have.

    Raises:
        ConfigError: It is neither, or has a key that is not among `known`.
    """
    if isinstance(entry, str):
        entry = {main: entry}
    if not isinstance(entry, Mapping):
        raise ConfigError(f"`{where}` holds names or mappings, but one is {entry!r}.")
    check_known(entry, list(known), where)
    if where != "variants" and not isinstance(entry.get(main), str):
        raise ConfigError(f"`{where}`: one of them lacks its `{main}`.")
    if where == "protocols" and entry[main] not in PROTOCOLS:
        raise ConfigError(
            f"`protocols` must be among {', '.join(PROTOCOLS)}, but one is `{entry[main]}`."
        )
    return dict(entry)


def as_variant(entry: Any) -> Variant:
    """Return an entry of `variants`, its values read as a run reads them.

    Raises:
        ConfigError: An unknown key, or a value of a wrong type.
    """
    rest = as_mapping(entry, "strategy", VARIANT_KEYS, "variants")
    method = {key: rest.pop(key) for key in METHOD_KEYS if key in rest}
    read = config.build(MethodConfig, method, path="config.downstream_expert.spknorm")
    variant = config.build(Variant, rest, path="variants")
    return replace(variant, method={key: getattr(read, key) for key in method})


def as_upstream(entry: Any) -> Upstream:
    """Return an entry of `upstreams`.

    Raises:
        ConfigError: An unknown key, or a value that is no text.
    """
    upstream = as_mapping(entry, "name", UPSTREAM_KEYS, "upstreams")
    return config.build(Upstream, upstream, path="upstreams")


def as_folds(value: Any) -> Any:
    """Return a list of folds with numbers N called foldN; what is no list as it is."""
    if not isinstance(value, list):
        return value
    numbered = [isinstance(one, int) and not isinstance(one, bool) for one in value]
    return [f"fold{one}" if number else one for one, number in zip(value, numbered, strict=True)]


def as_seed(value: Any) -> int:
    """Return a seed that every generator takes.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"`seeds` must be a whole number, but is {value!r}.")
    if not 0 <= value <= _LAST_SEED:
        raise ConfigError(f"`seeds` must be from 0 to 2**32 - 1, but one is {value}.")
    return value


def check_known(entry: Mapping[Any, Any], known: list[str], where: str) -> None:
    """Check that an entry has no key that is not among `known`.

    Raises:
        ConfigError: It has; the message names the first one and the nearest known.
    """
    for key in entry:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(
                f"{where}: `{key}` is not a known key.{hint} Known here: {', '.join(known)}."
            )


def as_protocols(entry: Any) -> list[Protocol]:
    """Return what an entry of `protocols` stands for: under cross maybe several sets of folds.

    Raises:
        ConfigError: A key is unknown or does not belong to the protocol, or a value is of a wrong
            type.
    """
    grid = as_mapping(entry, "protocol", PROTOCOL_KEYS, "protocols")
    if "folds" in grid:
        grid["folds"] = as_folds(grid["folds"])
    data = {key: grid.pop(key) for key in DATA_KEYS if key in grid}
    read = config.build(DataConfig, data, path="protocols")
    found = config.build(Protocol, grid, path="protocols")
    known = {key: value for key in data if (value := getattr(read, key)) is not None}
    found = replace(found, data={"protocol": found.protocol, **known})
    said = {*known, *(key for key in grid if getattr(found, key) is not None)}
    strange = sorted(said.intersection(CROSS_KEYS))
    if strange and found.protocol != "cross":
        raise ConfigError(f"`{strange[0]}` belongs to the protocol cross, not to {found.protocol}.")
    return [found] if found.corpora is None else _crossed(found, found.corpora)


def folds_in(entry: Protocol, config: Mapping[str, Any]) -> list[str]:
    """Return the folds that an entry names, or all that its protocol has.

    Raises:
        ConfigError: It must name them and does not, or names one that there is not.
    """
    name, data = entry.protocol, config.get("downstream_expert", {}).get("datarc", {})
    corpus = entry.data.get("corpus") or data.get("corpus", "iemocap")
    known = folds_of(DataConfig(**{**entry.data, "corpus": corpus}))
    folds = list(entry.folds or known or (["fold1"] if name == "official" else []))
    if not folds:
        why = "the corpus has one per speaker" if name == "loso" else "its lists say how many"
        raise ConfigError(f"`folds` of {name} must be named, as [fold1, fold2]: {why}.")
    unknown = [fold for fold in folds if fold not in known and (known or not _FOLD.fullmatch(fold))]
    if unknown:
        valid = ", ".join(known or ("fold1", "fold2, ..."))
        raise ConfigError(f"`folds` of {name} must be among {valid}, but one is `{unknown[0]}`.")
    return folds


def _crossed(entry: Protocol, corpora: Sequence[str]) -> list[Protocol]:
    if len(corpora) < 2:
        raise ConfigError(
            "The protocol cross takes `corpora`, a list of two and more, and `train`: each (one "
            "trains, the others are tested) or others, but they are "
            f"{list(corpora)} and {entry.train!r}."
        )
    found = []
    for name in corpora:
        others = [other for other in corpora if other != name]
        label, data = f"cross-{name}", {"corpus": name, "test_on": others}
        if entry.train == "others":
            label = f"cross-to-{name}"
            data = {"corpus": others[0], "train_with": others[1:], "test_on": [name]}
        found.append(replace(entry, label=label, data={**entry.data, **data}))
    return found
