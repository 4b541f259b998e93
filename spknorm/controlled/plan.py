"""What the controlled benchmark compares, read from its experiment file.

Used by `grid.py`; every key of configs/controlled.yaml is a field here.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from spknorm import config
from spknorm.controlled.finetuning import FineTuning
from spknorm.controlled.frozen import Settings
from spknorm.errors import ConfigError
from spknorm.schema.marks import NOT_NEGATIVE

Method = Literal["none", "gate", "SNP", "confusion", "erasure", "znorm"]
Tuned = Literal["none", "TAP", "confusion", "by_loss", "erasure"]
Start = Literal["none", "erasure"]

FIRST_CONFIRMATION_SEED = 100


class Variant(NamedTuple):
    """One method (`gate` is SNP's with lambda 0) under one condition; a row of the table.

    Attributes:
        features: `hubert` (frozen), `fine-tuned`, or `start`: the frozen model of the same fold
            from which a fine-tuned one goes on.
        labels: `true`, or `shuffled`: the control with permuted speaker labels.
    """

    features: str
    method: str
    labels: str


class Part(NamedTuple):
    """Rows that are computed together, `frozen` or `tuned`: one confounding, one corpus."""

    kind: str
    rho: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Quick:
    """What `--quick` leaves of the plan."""

    rho: tuple[float, ...] = (0.0, 0.8, 0.9)
    methods: tuple[Method, ...] = ("none", "SNP", "erasure")
    controls: tuple[Method, ...] = ("gate",)
    shuffled: tuple[Method, ...] = ("SNP",)
    control_rho: tuple[float, ...] = (0.9,)
    tuned: tuple[Tuned, ...] = ("none", "TAP")
    tuned_shuffled: tuple[Tuned, ...] = ()
    baseline_rho: tuple[float, ...] = ()
    tuned_folds: int = 1
    num_seeds: int = 3
    tuned_num_seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The experiment file.

    Attributes:
        rho: Values of the confounding, in the order in which they are run.
        methods: Methods on frozen features, at every rho.
        controls: Further methods on frozen features, at `control_rho`.
        shuffled: Methods that are also run with shuffled speaker labels, at `control_rho`.
        control_rho: Some of `rho`.
        tuned: Methods that fine-tune the upstream, as `tuned_shuffled`.
        tuned_starts: Frozen models from which these go on, as rows of their own.
        tuned_rho: Values of the confounding for these.
        baseline_rho: Further ones, at which only `none` is fine-tuned.
        num_folds: Folds of the frozen models, as `tuned_folds` of the others; at most 5.
        first_seed: Seeds from 100 on confirm; 0 to 4 are for choosing settings.
        tuned_first_seed: Of the fine-tuned models, where it is another one.
        rank: Directions that erasure removes; there are more speakers than dimensions, so removing
            all would leave nothing.
        fine_tuning: Settings of TAP, by ascent and by confusion, and of its control.
        loss_tuning: Settings of `by_loss`: TAP by confusion in the reading of the task's defaults.
        erasure_tuning: Settings of fine-tuning behind an eraser.
    """

    name: str = "controlled"
    kind: Literal["controlled"] = "controlled"
    rho: tuple[float, ...] = (0.9, 0.0, 0.8, 0.6, 0.4)
    methods: tuple[Method, ...] = ("none", "SNP", "erasure")
    controls: tuple[Method, ...] = ("gate", "confusion", "znorm")
    shuffled: tuple[Method, ...] = ("SNP", "erasure")
    control_rho: tuple[float, ...] = (0.9, 0.0)
    tuned: tuple[Tuned, ...] = ("none", "TAP")
    tuned_shuffled: tuple[Tuned, ...] = ()
    tuned_starts: tuple[Start, ...] = ("none",)
    tuned_rho: tuple[float, ...] = (0.9,)
    baseline_rho: tuple[float, ...] = ()
    num_folds: int = 5
    tuned_folds: int = 5
    first_seed: Annotated[int, NOT_NEGATIVE] = FIRST_CONFIRMATION_SEED
    tuned_first_seed: Annotated[int | None, NOT_NEGATIVE] = None
    num_seeds: int = 10
    tuned_num_seeds: int | None = None
    rank: int = 10
    frozen: Settings = field(default_factory=Settings)
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    loss_tuning: FineTuning = field(
        default_factory=lambda: FineTuning(
            relative_to="loss", ascent_direction="raw", speaker_lambda=3.0
        )
    )
    erasure_tuning: FineTuning = field(default_factory=lambda: FineTuning(rank=10))
    quick: Quick = field(default_factory=Quick)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the corpora of the frozen models."""
        return tuple(range(self.first_seed, self.first_seed + self.num_seeds))

    @property
    def tuned_seeds(self) -> tuple[int, ...]:
        """Seeds of the corpora of the fine-tuned models."""
        first = self.first_seed if self.tuned_first_seed is None else self.tuned_first_seed
        number = self.num_seeds if self.tuned_num_seeds is None else self.tuned_num_seeds
        return tuple(range(first, first + number))

    def tuning_of(self, variant: Variant) -> FineTuning:
        """Return the settings of a fine-tuned variant."""
        own = {"erasure": self.erasure_tuning, "by_loss": self.loss_tuning}
        return own.get(variant.method, self.fine_tuning)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is run, in order; each part is one file of rows."""
        frozen = [Part("frozen", rho, seed) for rho in self.rho for seed in self.seeds]
        levels = (*self.tuned_rho, *self.baseline_rho) if self.tuned and self.tuned_folds else ()
        tuned = [Part("tuned", rho, seed) for seed in self.tuned_seeds for rho in levels]
        return (*frozen, *tuned)

    @property
    def num_models(self) -> tuple[int, int]:
        """How many models on frozen features, and how many fine-tuned ones."""
        models = Counter[str]()
        for part in self.parts:
            models[part.kind] += len(self.variants_of(part))
        return models["frozen"] * self.num_folds, models["tuned"] * self.tuned_folds

    def variants_of(self, part: Part) -> list[Variant]:
        """Return what is compared in a part."""
        compared: list[tuple[str, str, tuple[str, ...]]]
        if part.kind == "frozen":
            compared = [("hubert", "true", self.methods)]
            if part.rho in self.control_rho:
                compared += [("hubert", "true", self.controls)]
                compared += [("hubert", "shuffled", self.shuffled)]
        elif part.rho in self.tuned_rho:
            compared = [("start", "true", self.tuned_starts), ("fine-tuned", "true", self.tuned)]
            compared += [("fine-tuned", "shuffled", self.tuned_shuffled)]
        else:
            compared = [("start", "true", ("none",)), ("fine-tuned", "true", ("none",))]
        return [Variant(what, one, labels) for what, labels, those in compared for one in those]


def read_plan(path: Path, *, quick: bool = False) -> Plan:
    """Return the checked experiment file, or what `--quick` leaves of it.

    Raises:
        ConfigError: An unknown key, a wrong type, or a value out of range.
        MissingError: No such file.
    """
    plan = config.build(Plan, config.load_yaml(path), path=Path(path).name)
    if quick:
        plan = replace(plan, name=f"{plan.name}-quick", **vars(plan.quick))
    for rho in (*plan.rho, *plan.tuned_rho, *plan.baseline_rho):
        if not 0.0 <= rho <= 1.0:
            raise ConfigError(f"{path}: `rho` must be within 0 and 1, but is {rho:g}.")
    for key in ("num_folds", "tuned_folds"):
        if not 0 <= getattr(plan, key) <= 5:
            raise ConfigError(f"{path}: `{key}` must be within 0 and 5.")
    if min(plan.num_seeds, plan.tuned_num_seeds or plan.num_seeds) < 2:
        raise ConfigError(f"{path}: `num_seeds` must be 2 or more: seeds are what is tested over.")
    return plan
