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
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from spknorm import config, registry
from spknorm.bench.entries import (
    Protocol,
    Upstream,
    Variant,
    as_folds,
    as_protocols,
    as_upstream,
    as_variant,
    check_known,
)
from spknorm.bench.executor import Executor, read_executor
from spknorm.errors import ConfigError
from spknorm.schema import TaskConfig
from spknorm.schema.marks import NOT_NEGATIVE

KINDS = {
    "bench": "",
    "controlled": "spknorm.controlled",
    "rivals": "spknorm.controlled.rivals",
    "superb": "spknorm.bench.superb",
}
"""Kinds of experiment file, each with the module whose `read_plan`, `describe`, `needs` and
`complete` make its table."""
DEFAULT_SEED = 1337
"""s3prl's."""


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
    upstreams: tuple[Upstream, ...] = ()
    variants: tuple[Variant, ...] = ()
    lambdas: tuple[float, ...] = ()
    protocols: tuple[Protocol, ...] = ()
    seeds: tuple[int, ...] = (DEFAULT_SEED,)
    select: Select | None = None
    audit: bool = False
    executor: Executor = field(default_factory=Executor)
    chosen: Mapping[tuple[Any, ...], float] = field(default_factory=dict)
    """No key of the file: the lambdas that `select` chose; see selection.py."""


def read_experiment(path: Path | Experiment) -> Experiment:
    """Return the experiment file; one of another kind is read no further than that.

    What was read already is given back as it is.

    Raises:
        ConfigError: An unknown key (named with the nearest valid one) or a value of a wrong type.
        MissingError: There is no such file.
    """
    if isinstance(path, Experiment):
        return path
    content = _load(path)
    kind = content.get("kind", "bench")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{path}: `kind` must be one of {', '.join(KINDS)}, but is `{kind}`.")
    name = _name(content.get("name", Path(path).stem), path)
    if kind != "bench":
        return Experiment(name=name, kind=kind)
    if "upstreams" not in content and {"runner", "downstream_expert"} & content.keys():
        task = registry.stock_task_of(path) or "emotion_spknorm"
        raise ConfigError(
            f"{path} holds the settings of one run: start it with `python run_downstream.py "
            f"-d {task} -u UPSTREAM -c {path}`."
        )
    fields = [one.name for one in dataclasses.fields(Experiment) if one.name != "chosen"]
    check_known(content, fields, str(path))
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
    content["upstreams"] = tuple(map(as_upstream, content["upstreams"]))
    content["variants"] = tuple(map(as_variant, content["variants"]))
    named = map(as_protocols, content.get("protocols", ("si5",)))
    content["protocols"] = tuple(chain.from_iterable(named))
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
    content["config"] = content.get("config") or {}
    config.build(TaskConfig, content["config"], path="config")
    if base is None:
        return content
    if not isinstance(base, str) or not (path.parent / base).is_file():
        raise ConfigError(f"{path}: `extends` names {base!r}, which is no file beside it.")
    inherited = _load(path.parent / base, (*seen, path.resolve()))
    inherited.pop("name", None)
    merged = config.merge(inherited["config"], content["config"])
    return {"name": path.stem, **inherited, **content, "config": merged}


def _name(name: Any, path: Path) -> str:
    """Return the name of the bench, which is that of its folder."""
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not re.fullmatch(r"(?!\.+$)[^/\\\0]+", name):
        raise ConfigError(
            f"{path}: `name` must be the name of a folder, without separators, but is {name!r}. "
            "`--out` says where else the results go."
        )
    return name


def _select(entry: Any, content: Mapping[str, Any], path: Path) -> Select | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or "lambda" not in entry:
        raise ConfigError(f"{path}: `select` must be a mapping with `lambda`, the candidates.")
    if "lambdas" in content:
        raise ConfigError(f"{path}: `lambdas` runs every lambda, `select` chooses one: keep one.")
    entry = {"lambdas" if key == "lambda" else key: value for key, value in entry.items()}
    entry |= {"folds": as_folds(entry["folds"])} if "folds" in entry else {}
    try:
        select = config.build(Select, entry, path="select")
    except ConfigError as error:  # `lambda` is no name for a field
        raise ConfigError(f"{error}".replace("lambdas", "lambda")) from error
    if not select.lambdas or min(select.lambdas) <= 0:
        raise ConfigError(f"{path}: `select.lambda` must hold numbers above 0; 0 is always tried.")
    if select.keep < 0 or not select.seeds:
        raise ConfigError(f"{path}: `select` needs `keep` of 0 or more, and at least one seed.")
    reported = {seed for one in content["protocols"] for seed in one.seeds or ()}
    reported |= set(content.get("seeds", (DEFAULT_SEED,)))
    both = sorted(reported.intersection(select.seeds))
    if both:
        raise ConfigError(
            f"{path}: the seed {both[0]} both chooses lambda (`select.seeds`) and is reported "
            "(`seeds`): a number is not tested on what chose it."
        )
    return select
