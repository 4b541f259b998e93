"""Choosing each adversary's lambda before anything is reported. Last in this folder.

    select: {lambda: [0.1, 0.3, 1.0], by: leakage, keep: 1.0, seeds: [900, 901]}

Every upstream and adversary is trained with each candidate and with lambda 0, on seeds of its own
and without ever touching the test set. Candidates whose dev WA stays within `keep` points of
lambda 0 are kept; of these the one that leaves least of the speaker on dev is chosen. The choice
and all candidates are in selection.json, which the report shows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from spknorm import config
from spknorm.bench.cells import Cell
from spknorm.bench.entries import Protocol, Variant, folds_in
from spknorm.bench.expansion import expand
from spknorm.bench.experiment import Experiment
from spknorm.errors import ConfigError
from spknorm.files import read_json, write_json
from spknorm.runs.checked import Share, build, read_object
from spknorm.schema.marks import Range
from spknorm.statistics import mean_std

FOLDER = "selection"
"""In the bench's folder: the candidates' runs."""


_SCHEMA = "spknorm.selection/1"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One lambda of one upstream and variant, over the selection seeds.

    Attributes:
        speaker_lambda: The candidate; 0 is the control.
        dev_wa: Mean over runs: WA, or the CCC of runs that predict dimensions.
        dev_wa_std: Its standard deviation.
        leakage: Accuracy of a fresh speaker probe on the corpus' dev part, mean over runs.
        leakage_std: Its standard deviation.
        num_runs: How many runs.
        kept: Whether dev WA stayed within `keep` points of lambda 0.
    """

    speaker_lambda: float
    dev_wa: Annotated[float, Range(least=-1, most=1)]
    dev_wa_std: float = 0.0
    leakage: Share
    leakage_std: float = 0.0
    num_runs: int
    kept: bool = True


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen for one upstream and variant; `doubt` says what speaks against it."""

    upstream: str
    variant: str
    speaker_lambda: float
    candidates: tuple[Candidate, ...]
    doubt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The whole file; `asked` is what `select` said, and the candidates' runs."""

    schema: str = _SCHEMA
    asked: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[Choice, ...]


def read_selection(path: Path) -> Selection:
    """Return a selection.json, checked.

    Raises:
        ConfigError: It is malformed; the message names file and key.
    """
    return build(Selection, read_object(path, _SCHEMA), path)


def candidates_of(experiment: Experiment) -> Experiment:
    """Return the experiment whose runs are the candidates: dev alone, selection seeds."""
    select = experiment.select
    assert select is not None
    first = experiment.protocols[0]
    name = first.protocol
    if name == "low_resource":
        name = first.data.get("base", "si5")  # lambda is not chosen anew for every size
    data = {key: value for key, value in first.data.items() if key != "base"}
    named = select.folds or (first.folds or ())[:1]
    protocol = Protocol(protocol=name, folds=named, data={**data, "protocol": name})
    folds = folds_in(protocol, experiment.config)
    protocol = replace(protocol, folds=tuple(folds if named else folds[:1]))
    return replace(
        experiment,
        config=config.merge(experiment.config, {"runner": {"eval_dataloaders": ["dev"]}}),
        variants=tuple(
            variant.at(strength)
            for variant in _adversaries(experiment)
            for strength in (0.0, *select.lambdas)
        ),
        protocols=(protocol,),
        seeds=select.seeds,
        select=None,
        audit=False,
    )


def choose(
    experiment: Experiment, out: Path, *, leakage: Callable[[Path], float], quick: bool = False
) -> tuple[Choice, ...]:
    """Return the choices, made from the candidates' finished runs; they are in selection.json.

    `leakage` is that of a finished run's upstream, on dev; see spknorm.probe.audit.

    Raises:
        ConfigError: A candidate has no result.
    """
    select = experiment.select
    assert select is not None
    path = out / "selection.json"
    candidates = candidates_of(experiment)
    cells = expand(candidates, quick=quick)
    asked = config.to_mapping({**vars(select), "runs": [cell.name for cell in cells]})
    if path.is_file():
        content = read_json(path)
        if isinstance(content, Mapping) and content.get("asked") == asked:
            return read_selection(path).choices
    choices = []
    for upstream in experiment.upstreams:
        cells = expand(replace(candidates, upstreams=(upstream,)), quick=quick)
        for variant in _adversaries(experiment):
            measured = [
                _measure(variant, strength, cells, out, leakage)
                for strength in (0.0, *select.lambdas)
            ]
            choices.append(_decide(upstream.called, variant.called, measured, select.keep))
    made = Selection(asked=asked, choices=tuple(choices))
    write_json(path, config.to_mapping(made))
    return made.choices


def with_choices(experiment: Experiment, choices: Iterable[Choice]) -> Experiment:
    """Return the experiment with each adversary at the lambda that was chosen for it."""
    keys = {variant.called: variant.key for variant in _adversaries(experiment)}
    chosen = {(one.upstream, *keys[one.variant]): one.speaker_lambda for one in choices}
    return replace(experiment, chosen=chosen)


def _decide(upstream: str, name: str, measured: Sequence[Candidate], keep: float) -> Choice:
    control, *others = measured
    bound = control.dev_wa - keep / 100 - 1e-9
    others = [replace(one, kept=one.dev_wa >= bound) for one in others]
    kept, doubt = [one for one in others if one.kept], None
    if not kept:
        best = min(others, key=lambda one: one.speaker_lambda)
        doubt = f"every lambda lost more than {keep:g} points of dev WA: the smallest was taken"
    else:
        best = min(kept, key=lambda one: (one.leakage, -one.speaker_lambda))
        if best.leakage >= control.leakage:
            doubt = "no lambda that was kept leaves less of the speaker than lambda 0"
    return Choice(
        upstream=upstream,
        variant=name,
        speaker_lambda=best.speaker_lambda,
        candidates=(control, *others),
        doubt=doubt,
    )


def _measure(
    variant: Variant,
    strength: float,
    cells: Sequence[Cell],
    out: Path,
    leakage: Callable[[Path], float],
) -> Candidate:
    scores, left = [], []
    for cell in (one for one in cells if one.variant == variant.at(strength).called):
        folder = out / FOLDER / cell.name
        path = folder / "result.json"
        if not path.is_file():
            raise ConfigError(f"The candidate {folder} has no result: run the bench again.")
        result = read_json(path)
        dimensions = result.get("dimensions")  # of runs that predict those instead of classes
        scores.append(dimensions["dev"]["mean"] if dimensions else result["dev"]["wa"])
        left.append(leakage(folder))
    wa, speaker = mean_std(scores), mean_std(left)
    return Candidate(
        speaker_lambda=strength,
        dev_wa=wa.mean,
        dev_wa_std=wa.std,
        leakage=speaker.mean,
        leakage_std=speaker.std,
        num_runs=wa.n,
    )


def _adversaries(experiment: Experiment) -> list[Variant]:
    """Return the variants whose lambda is to be chosen; controls take that of their original."""
    found: dict[tuple[Any, ...], Variant] = {}
    for variant in experiment.variants:
        if variant.takes_lambda and not variant.shuffled:
            found.setdefault(variant.key, variant)
    return list(found.values())
