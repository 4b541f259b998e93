"""Every run of an experiment file: protocol, upstream, variant, fold, seed. Third here."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from spknorm import config
from spknorm.bench.cells import QUICK, Cell, folder_name
from spknorm.bench.entries import METHOD_KEYS, Protocol, Upstream, Variant, as_seed, folds_in
from spknorm.bench.experiment import Experiment, read_experiment
from spknorm.errors import ConfigError
from spknorm.protocols import NUM_DRAWS, SAMPLES_PER_LABEL


def expand(experiment: Path | Experiment, *, quick: bool = False) -> list[Cell]:
    """Return the runs of an experiment: protocol, upstream, variant, fold, seed, in this nesting.

    `quick`: only the first fold, seed and draw of each, with 20 steps: does it all work?

    Raises:
        ConfigError: A setting is unknown or wrong; found before anything runs.
    """
    experiment = read_experiment(experiment)
    if experiment.kind != "bench":
        raise ConfigError("An experiment of kind controlled has no runs of its own to expand.")
    cells = []
    for protocol in experiment.protocols:
        points = _points(protocol, experiment, quick)
        for upstream in experiment.upstreams:
            for variant in _variants(experiment, upstream.called):
                one = (experiment, protocol, upstream, variant)
                cells += [_cell(*one, at, quick) for at in points]
    counted = Counter(one.name.casefold() for one in cells)  # Macs and Windows take A for a
    twice = next((one.name for one in cells if counted[one.name.casefold()] > 1), None)
    if twice is not None:
        raise ConfigError(
            f"Two runs would be called {twice}: give the variants or upstreams that differ "
            "names of their own (`name`, `label`), and each seed, fold and lambda once."
        )
    for cell in cells:
        if config.parse(cell.changes).runner.on_config_change == "fork":
            raise ConfigError(
                "A bench looks for each result in the cell's own folder, so that "
                "`runner.on_config_change: fork` cannot serve it: leave it out."
            )
    return cells


class _GridPoint(NamedTuple):
    samples_per_label: int | None
    draw: int
    fold: str
    seed: int


def _points(protocol: Protocol, experiment: Experiment, quick: bool) -> list[_GridPoint]:
    name, folds = protocol.protocol, folds_in(protocol, experiment.config)
    samples: list[int | None] = [None]
    draws = [0]
    if name == "low_resource":
        samples = list(protocol.samples_per_label or SAMPLES_PER_LABEL)
        draws = list(protocol.draws or range(NUM_DRAWS))
    elif protocol.samples_per_label is not None or protocol.draws is not None:
        raise ConfigError(f"`samples_per_label` and `draws` belong to low_resource, not to {name}.")
    seeds = map(as_seed, protocol.seeds or experiment.seeds)
    points = [_GridPoint(*at) for at in itertools.product(samples, draws, folds, seeds)]
    return points[:1] if quick else points


def _variants(experiment: Experiment, label: str) -> list[Variant]:
    """Variants times lambdas, each with its name and the strength chosen for its upstream."""
    found: list[Variant] = []
    for variant in experiment.variants:
        chosen = experiment.chosen.get((label, *variant.key))
        if variant.takes_lambda and experiment.lambdas:
            found += map(variant.at, experiment.lambdas)
        elif variant.takes_lambda and chosen is not None:
            found.append(replace(variant.at(chosen), name=variant.called))
        else:
            found.append(variant)
    return found


def _cell(
    experiment: Experiment,
    protocol: Protocol,
    upstream: Upstream,
    variant: Variant,
    at: _GridPoint,
    quick: bool,
) -> Cell:
    data = dict(protocol.data)
    if at.samples_per_label is not None:
        data |= {"samples_per_label": at.samples_per_label, "draw": at.draw}
    method = {key: variant.method[key] for key in METHOD_KEYS if key in variant.method}
    changes = config.merge(experiment.config, variant.config or {})
    expert: dict[str, Any] = {"datarc": data, "spknorm": method}
    if variant.shuffled:
        expert["speaker_corpus"] = {"shuffle_labels": True}
    changes = config.merge(changes, {"downstream_expert": expert})
    if quick:
        changes = config.merge(changes, {"runner": QUICK})
    parts = [upstream.called, variant.called, protocol.called]
    group = folder_name("-".join(parts))
    if at.samples_per_label is not None:
        parts += [f"n{at.samples_per_label}", f"draw{at.draw}"]
    return Cell(
        name=folder_name("-".join([*parts, at.fold, f"seed{at.seed}"])),
        group=group,
        variant=variant.called,
        upstream=upstream,
        frozen=variant.frozen,
        selection=variant.selection,
        layer=variant.layer,
        fold=at.fold,
        seed=at.seed,
        changes=changes,
    )
