"""The experiment file, read and checked. Second in this folder.

    name: demo
    config: {runner: {total_steps: 200}}      # what every run changes in the task's config.yaml
    upstreams: [hubert_base, {name: hubert_local, ckpt: my.pt, label: mine}]
    variants: [{strategy: none}, {strategy: SNP, frozen: true}]
    lambdas: [1.0e-4, 1.0e-3]                 # times every variant with an adversary
    protocols: [si5, {protocol: sd, seeds: [0, 1, 2]}]
    seeds: [1337]
    select: {lambda: [0.1, 0.3, 1.0], by: leakage, keep: 1.0, seeds: [900, 901]}
    audit: true                               # measure the leakage of each variant at the end
    executor: {kind: local, max_parallel: 2}

`extends: OTHER.yaml` takes everything from another file of the folder that this one does not say.
A variant names settings of `downstream_expert.spknorm`, and of: name, frozen, selection (-s), layer
(-l), shuffled (permuted speaker labels, the control), config (other sections). A protocol may have
its own folds, seeds, draws, samples_per_label, base, dev, unseen and more (entries.py). `select`
(selection.py) chooses each adversary's lambda on seeds of its own. Files of another kind belong to
`spknorm.controlled` and `spknorm.bench.superb`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from spknorm import config
from spknorm.bench.executor import Executor, as_whole, read_executor
from spknorm.errors import ConfigError, did_you_mean
from spknorm.protocols import PROTOCOLS
from spknorm.schema import MethodConfig
from spknorm.schema.marks import NOT_NEGATIVE

KINDS = {
    "bench": "",
    "controlled": "spknorm.controlled",
    "rivals": "spknorm.controlled.rivals",
    "superb": "spknorm.bench.superb",
}
"""Kinds of experiment file, each with the module whose `describe`, `needs` and `complete`
make its table."""
DEFAULT_SEED = 1337
"""s3prl's."""
LAST_SEED = 2**32 - 1
UPSTREAM_KEYS = ("name", "ckpt", "config", "label")
METHOD_KEYS = tuple(one.name for one in dataclasses.fields(MethodConfig))
DATA_KEYS = (
    *("base", "dev", "groups", "unseen", "allow_leak", "fold_lists"),
    *("corpus", "train_with", "test_on"),
)
"""What an entry of `protocols` sets in `downstream_expert.datarc`."""
CROSS_KEYS = ("corpora", "train", "train_with", "test_on")
PROTOCOL_KEYS = (
    *("protocol", "label", "folds", "seeds", "draws", "samples_per_label"),
    *("corpora", "train"),
    *DATA_KEYS,
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a variant names beside the method's settings."""

    name: str | None = None
    frozen: bool = False
    selection: str | None = None
    """s3prl's -s."""
    layer: int | None = None
    """s3prl's -l."""
    shuffled: bool = False
    """Permuted speaker labels, the control."""
    config: Mapping[str, Any] | None = None
    """Other sections."""


@dataclass(frozen=True, kw_only=True)
class Select:
    """How the lambda of each adversary is chosen, before any test set or reported seed is seen."""

    lambdas: tuple[float, ...]
    """`lambda` in the file: the candidates; 0, their control, is always run beside them."""
    by: Literal["leakage"] = "leakage"
    """Of the candidates that are kept, the one that leaves least of the speaker on dev."""
    keep: float = 1.0
    """Points of dev WA that a candidate may lose against lambda 0."""
    seeds: tuple[int, ...] = (900, 901)
    """Of the candidates' runs; none of them may be among the seeds that are reported."""
    folds: tuple[str, ...] | None = None
    """Of the first protocol; null: its first."""


@dataclass(frozen=True)
class _Lambdas:
    lambdas: Annotated[tuple[float, ...], NOT_NEGATIVE]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment file as it was read; every field is a key of the file."""

    name: str
    kind: str = "bench"
    config: Mapping[str, Any] = field(default_factory=dict)
    upstreams: tuple[Any, ...] = ()
    variants: tuple[Any, ...] = ()
    lambdas: tuple[float, ...] = ()
    protocols: tuple[Any, ...] = ("si5",)
    seeds: tuple[int, ...] = (DEFAULT_SEED,)
    select: Select | None = None
    audit: bool = False
    executor: Executor = field(default_factory=Executor)
    chosen: Mapping[tuple[Any, ...], float] = field(default_factory=dict)
    """No key of the file: the lambdas that `select` chose; see selection.py."""


VARIANT_KEYS = (*(one.name for one in dataclasses.fields(Variant)), *METHOD_KEYS)


def read_experiment(path: Path) -> Experiment:
    """Return the experiment file; one of another kind is read no further than that.

    Raises:
        ConfigError: An unknown key (named with the nearest valid one) or a value of a wrong type.
        MissingError: There is no such file.
    """
    content = _load(path)
    kind = content.get("kind", "bench")
    if kind not in KINDS:
        raise ConfigError(f"{path}: `kind` must be one of {', '.join(KINDS)}, but is `{kind}`.")
    name = str(content.get("name", Path(path).stem))
    if kind != "bench":
        return Experiment(name=name, kind=kind)
    if "upstreams" not in content and {"runner", "downstream_expert"} & content.keys():
        raise ConfigError(
            f"{path} holds the settings of one run: start it with `python run_downstream.py "
            f"-d emotion_spknorm -u UPSTREAM -c {path}`."
        )
    fields = [one.name for one in dataclasses.fields(Experiment) if one.name != "chosen"]
    _known(content, fields, str(path))
    for key in ("upstreams", "variants", "lambdas", "protocols", "seeds"):
        if key in content:
            if not isinstance(content[key], list) or not content[key]:
                raise ConfigError(f"{path}: `{key}` must be a list of at least one.")
            content[key] = tuple(content[key])
    for key in ("upstreams", "variants"):
        if key not in content:
            raise ConfigError(f"{path}: `{key}` is missing: what should be compared?")
    if not isinstance(content.get("audit", False), bool):
        raise ConfigError(f"{path}: `audit` must be true or false, but is {content['audit']!r}.")
    executor = read_executor(content.pop("executor", None) or {}, path)
    select = _select(content.pop("select", None), content, path)
    if "lambdas" in content:
        built = config.build(_Lambdas, {"lambdas": content["lambdas"]}, path=str(path))
        content["lambdas"] = built.lambdas
    return Experiment(**{**content, "name": name}, executor=executor, select=select)


def _load(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the file's content on top of that of the file that it extends."""
    path = Path(path)
    content = config.load_yaml(path)
    if path.resolve() in seen:
        raise ConfigError(f"{path}: `extends` leads back to the file itself.")
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str) or not (path.parent / base).is_file():
        raise ConfigError(f"{path}: `extends` names {base!r}, which is no file beside it.")
    inherited = _load(path.parent / base, (*seen, path.resolve()))
    inherited.pop("name", None)
    merged = config.merge(inherited.get("config") or {}, content.get("config") or {})
    return {"name": path.stem, **inherited, **content, "config": merged}


def _select(entry: Any, content: Mapping[str, Any], path: Path) -> Select | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or "lambda" not in entry:
        raise ConfigError(f"{path}: `select` must be a mapping with `lambda`, the candidates.")
    if "lambdas" in content:
        raise ConfigError(f"{path}: `lambdas` runs every lambda, `select` chooses one: keep one.")
    entry = {"lambdas" if key == "lambda" else key: value for key, value in entry.items()}
    select = config.build(Select, entry, path="select")
    if not select.lambdas or min(select.lambdas) <= 0:
        raise ConfigError(f"{path}: `select.lambda` must hold numbers above 0; 0 is always tried.")
    if select.keep < 0 or not select.seeds:
        raise ConfigError(f"{path}: `select` needs `keep` of 0 or more, and at least one seed.")
    entries = [one for one in content.get("protocols", ()) if isinstance(one, Mapping)]
    reported = {seed for one in entries for seed in one.get("seeds") or ()}
    reported |= set(content.get("seeds", (DEFAULT_SEED,)))
    both = sorted(reported.intersection(select.seeds))
    if both:
        raise ConfigError(
            f"{path}: the seed {both[0]} both chooses lambda (`select.seeds`) and is reported "
            "(`seeds`): a number is not tested on what chose it."
        )
    return select


def as_mapping(entry: Any, main: str, known: Iterable[str], where: str) -> dict[str, Any]:
    """Return an entry of a list; a bare text stands for the mapping with its main key alone.

    Raises:
        ConfigError: It is neither, or has a key that is not among `known`.
    """
    if isinstance(entry, str):
        entry = {main: entry}
    if not isinstance(entry, Mapping):
        raise ConfigError(f"`{where}` holds names or mappings, but one is {entry!r}.")
    _known(entry, list(known), where)
    if where != "variants" and not isinstance(entry.get(main), str):
        raise ConfigError(f"`{where}`: one of them lacks its `{main}`.")
    if where == "protocols" and entry[main] not in PROTOCOLS:
        raise ConfigError(
            f"`protocols` must be among {', '.join(PROTOCOLS)}, but one is `{entry[main]}`."
        )
    return dict(entry)


def as_variant(entry: Any) -> dict[str, Any]:
    """Return an entry of `variants` as a mapping with a name, its values read as a run reads them.

    Raises:
        ConfigError: An unknown key, or a value of a wrong type.
    """
    variant = as_mapping(entry, "strategy", VARIANT_KEYS, "variants")
    for kind, names, path in (
        (MethodConfig, METHOD_KEYS, "config.downstream_expert.spknorm"),
        (Variant, [one.name for one in dataclasses.fields(Variant)], "variants"),
    ):
        given = {key: value for key, value in variant.items() if key in names}
        read = config.build(kind, given, path=path)
        variant |= {key: getattr(read, key) for key in given}
    if variant.get("name") is None:
        parts = [variant.get("strategy", "TAP")]
        parts += [variant["erasure"]] if variant.get("erasure", "none") != "none" else []
        parts += ["frozen"] if variant.get("frozen") else []
        parts += ["shuffled"] if variant.get("shuffled") else []
        variant["name"] = "-".join(parts)
    return variant


def as_seed(value: Any) -> int:
    """Return a seed that every generator takes.

    Raises:
        ConfigError: It is none.
    """
    if not 0 <= as_whole("seeds", value) <= LAST_SEED:
        raise ConfigError(f"`seeds` must be from 0 to 2**32 - 1, but one is {value}.")
    return int(value)


def _known(entry: Mapping[Any, Any], known: list[str], where: str) -> None:
    for key in entry:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(
                f"{where}: `{key}` is not a known key.{hint} Known here: {', '.join(known)}."
            )
