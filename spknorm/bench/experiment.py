"""The experiment file: YAML in, checked cells out. Second in this folder.

    name: demo
    config: {runner: {total_steps: 200}}      # what every run changes in the task's config.yaml
    upstreams: [hubert_base, {name: hubert_local, ckpt: my.pt, label: mine}]
    variants: [{strategy: none}, {strategy: SNP, frozen: true}]
    lambdas: [1.0e-4, 1.0e-3]                 # times every variant with an adversary
    protocols: [si5, {protocol: sd, seeds: [0, 1, 2]}]
    seeds: [1337]
    audit: true                               # measure the leakage of each variant at the end
    executor: {kind: local, max_parallel: 2}

A variant names settings of `downstream_expert.spknorm`, and of: name, frozen, selection (-s), layer
(-l), config (other sections). A protocol may have its own folds, seeds, draws, samples_per_label,
base and dev. Files of another kind belong to `spknorm.controlled` and `spknorm.superb`.
"""

import dataclasses
import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spknorm import config
from spknorm.bench.cells import Cell
from spknorm.errors import ConfigError
from spknorm.protocols import NUM_DRAWS, PROTOCOLS, SAMPLES_PER_LABEL, folds_of
from spknorm.schema import MethodConfig

KINDS = ("bench", "controlled", "superb")
DEFAULT_SEED = 1337
"""s3prl's."""
_UPSTREAM_KEYS = ("name", "ckpt", "config", "label")
_METHOD_KEYS = tuple(one.name for one in dataclasses.fields(MethodConfig))
_VARIANT_KEYS = ("name", "frozen", "selection", "layer", "config", *_METHOD_KEYS)
_PROTOCOL_KEYS = ("protocol", "folds", "seeds", "draws", "samples_per_label", "base", "dev")
_QUICK_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Who runs the cells; the names of submitit and Slurm where they have one."""

    kind: str = "local"
    """local or slurm."""
    max_parallel: int | None = None
    """Runs at a time; null: one per GPU, without a GPU cores // threads; slurm: no limit."""
    threads: int = 1
    """CPU threads of a run."""
    partition: str | None = None
    gpus: int | None = None
    """slurm: GPUs per run (null: 1). local: 0 keeps the runs off the GPUs."""
    mem_gb: float | None = None
    timeout_min: int = 7 * 24 * 60
    """Minutes after which a run is stopped."""
    requeue: bool = True
    """slurm: a run that was preempted or timed out goes back into the queue."""


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
    audit: bool = False
    executor: Executor = field(default_factory=Executor)


def read_experiment(path: Path) -> Experiment:
    """Return the experiment file; one of another kind is read no further than that.

    Raises:
        ConfigError: An unknown key (named with the nearest valid one) or a value of a wrong type.
        MissingError: There is no such file.
    """
    content = config.load_yaml(path)
    kind = content.get("kind", "bench")
    if kind not in KINDS:
        raise ConfigError(f"{path}: `kind` must be one of {', '.join(KINDS)}, but is `{kind}`.")
    name = str(content.get("name", Path(path).stem))
    if kind != "bench":
        return Experiment(name=name, kind=kind)
    _known(content, [one.name for one in dataclasses.fields(Experiment)], str(path))
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
    executor = _executor(content.pop("executor", None) or {}, path)
    return Experiment(**{**content, "name": name}, executor=executor)


def expand(experiment: Path | Experiment, *, quick: bool = False) -> list[Cell]:
    """Return the runs of an experiment: protocol, upstream, variant, fold, seed, in this nesting.

    Args:
        experiment: The file, or what `read_experiment` made of it.
        quick: Only the first fold, seed and draw of each, with 20 steps: does it all work?

    Raises:
        ConfigError: A setting is unknown or wrong; found before anything runs.
    """
    if not isinstance(experiment, Experiment):
        experiment = read_experiment(experiment)
    if experiment.kind != "bench":
        raise ConfigError("An experiment of kind controlled has no runs of its own to expand.")
    cells = []
    for entry in experiment.protocols:
        protocol = _mapping(entry, "protocol", _PROTOCOL_KEYS, "protocols")
        points = _points(protocol, experiment.seeds, quick)
        for upstream in experiment.upstreams:
            model = _mapping(upstream, "name", _UPSTREAM_KEYS, "upstreams")
            for variant in _variants(experiment):
                cells += [_cell(experiment, protocol, model, variant, at, quick) for at in points]
    names = [one.name for one in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"Two runs would be called {twice}: give the variants or upstreams that differ "
            "names of their own (`name`, `label`)."
        )
    for cell in cells:
        if config.parse(cell.changes).runner.on_config_change == "fork":
            raise ConfigError(
                "A bench looks for each result in the cell's own folder, so that "
                "`runner.on_config_change: fork` cannot serve it: leave it out."
            )
    return cells


@dataclass(frozen=True, kw_only=True)
class _Point:
    fold: str
    seed: int
    samples_per_label: int | None
    draw: int


def _points(protocol: Mapping[str, Any], seeds: Iterable[int], quick: bool) -> list[_Point]:
    name, base = protocol["protocol"], protocol.get("base", "si5")
    folds = protocol.get("folds") or folds_of(name, base=base)
    unknown = [fold for fold in folds if fold not in folds_of(name, base=base)]
    if unknown:
        valid = ", ".join(folds_of(name, base=base))
        raise ConfigError(f"`folds` of {name} must be among {valid}, but one is `{unknown[0]}`.")
    samples: list[int | None] = [None]
    draws = [0]
    if name == "low_resource":
        samples = list(protocol.get("samples_per_label") or SAMPLES_PER_LABEL)
        draws = list(protocol.get("draws") or range(NUM_DRAWS))
    elif "samples_per_label" in protocol or "draws" in protocol:
        raise ConfigError(f"`samples_per_label` and `draws` belong to low_resource, not to {name}.")
    grid = itertools.product(samples, draws, folds, protocol.get("seeds") or seeds)
    points = [
        _Point(fold=fold, seed=_whole("seeds", seed), samples_per_label=count, draw=draw)
        for count, draw, fold, seed in grid
    ]
    return points[:1] if quick else points


def _variants(experiment: Experiment) -> list[dict[str, Any]]:
    """Variants times lambdas, each with its name."""
    found = []
    for entry in experiment.variants:
        variant = _mapping(entry, "strategy", _VARIANT_KEYS, "variants")
        if "name" not in variant:
            parts = [str(variant.get("strategy", "TAP"))]
            parts += [variant["erasure"]] if variant.get("erasure", "none") != "none" else []
            parts += ["frozen"] if variant.get("frozen") else []
            variant["name"] = "-".join(parts)
        adversarial = variant.get("strategy", "TAP") != "none"
        if experiment.lambdas and adversarial and "speaker_lambda" not in variant:
            for strength in experiment.lambdas:
                name = f"{variant['name']}-lambda{float(strength):g}"
                found.append({**variant, "speaker_lambda": float(strength), "name": name})
        else:
            found.append(variant)
    return found


def _cell(
    experiment: Experiment,
    protocol: Mapping[str, Any],
    upstream: Mapping[str, Any],
    variant: Mapping[str, Any],
    at: _Point,
    quick: bool,
) -> Cell:
    name = protocol["protocol"]
    data = {"protocol": name, **{key: protocol[key] for key in ("base", "dev") if key in protocol}}
    if at.samples_per_label is not None:
        data |= {"samples_per_label": at.samples_per_label, "draw": at.draw}
    method = {key: variant[key] for key in _METHOD_KEYS if key in variant}
    changes = config.merge(experiment.config, variant.get("config") or {})
    changes = config.merge(changes, {"downstream_expert": {"datarc": data, "spknorm": method}})
    if quick:
        steps = {"total_steps": _QUICK_STEPS, "log_step": _QUICK_STEPS // 2}
        steps |= {"eval_step": _QUICK_STEPS // 2, "save_step": _QUICK_STEPS // 2}
        changes = config.merge(changes, {"runner": steps})
    label = str(upstream.get("label", upstream["name"]))
    parts = [label, variant["name"], name]
    if at.samples_per_label is not None:
        parts += [f"n{at.samples_per_label}", f"draw{at.draw}"]
    return Cell(
        name=re.sub(r"[^\w.+-]", "_", "-".join([*parts, at.fold, f"seed{at.seed}"])),
        variant=variant["name"],
        upstream=upstream["name"],
        upstream_ckpt=upstream.get("ckpt"),
        upstream_config=upstream.get("config"),
        frozen=bool(variant.get("frozen", False)),
        selection=variant.get("selection"),
        layer=variant.get("layer"),
        fold=at.fold,
        seed=at.seed,
        changes=changes,
    )


def _mapping(entry: Any, main: str, known: Iterable[str], where: str) -> dict[str, Any]:
    """A bare text stands for the mapping with its main key alone."""
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


def _known(entry: Mapping[Any, Any], known: list[str], where: str) -> None:
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise ConfigError(
                f"{where}: `{key}` is not a known key.{hint} Known here: {', '.join(known)}."
            )


def _executor(entry: Any, path: Path) -> Executor:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{path}: `executor` must be a mapping such as {{kind: slurm}}.")
    _known(entry, [one.name for one in dataclasses.fields(Executor)], f"{path}: executor")
    executor = Executor(**entry)
    if executor.kind not in ("local", "slurm"):
        raise ConfigError(
            f"{path}: `executor.kind` must be local or slurm, but is `{executor.kind}`."
        )
    for key in ("threads", "timeout_min", "max_parallel"):
        value = getattr(executor, key)
        if value is not None and _whole(f"executor.{key}", value) < 1:
            raise ConfigError(f"{path}: `executor.{key}` must be 1 or more, but is {value}.")
    return executor


def _whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"`{key}` must be a whole number, but is {value!r}.")
    return value
