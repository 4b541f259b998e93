"""What the comparison of rivals runs, read from its experiment file.

Every key of configs/rivals.yaml is a field here.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from spknorm import config
from spknorm.controlled.frozen import Settings
from spknorm.controlled.rivals.table import RIVALS
from spknorm.errors import ConfigError
from spknorm.schema.marks import NOT_NEGATIVE

BASELINES = ("none", "gate")
"""The emotion head alone, and behind SNP's gate without an adversary."""
FIRST_CONFIRMATION_SEED = 310
"""Seeds below chose settings, confirmed in the controlled benchmark, or were looked at."""


class Part(NamedTuple):
    """Rows computed together: folds of a key of `RIVALS` or `BASELINES`, to select or confirm.

    Without a strength they are of all of the rival's candidates, or of a baseline.
    """

    stage: str
    method: str
    rho: float
    seed: int
    strength: float | None = None


@dataclass(frozen=True, kw_only=True)
class Quick:
    """What `--quick` leaves of the plan."""

    rivals: tuple[str, ...] = ("snp", "leace", "calibrated", "znorm")
    rho: tuple[float, ...] = (0.9,)
    select_seeds: tuple[int, ...] = (0,)
    select_folds: int = 1
    num_seeds: int = 4
    num_folds: int = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The experiment file.

    Attributes:
        rivals: Keys of `RIVALS`.
        rho: Values of the confounding; the first is that of the ranking, at which strengths are
            chosen and controls are run.
        select_seeds: Corpora on which each rival's strength is chosen.
        select_folds: Folds of them.
        first_seed: Of the `num_seeds` corpora that are reported.
        num_folds: Folds of each, at most 5.
        frozen: Settings of head and gate, the same for all.
    """

    name: str = "rivals"
    kind: Literal["rivals"] = "rivals"
    rivals: tuple[str, ...] = tuple(RIVALS)
    rho: tuple[float, ...] = (0.9, 0.0)
    select_seeds: Annotated[tuple[int, ...], NOT_NEGATIVE] = (0, 1)
    select_folds: int = 2
    first_seed: Annotated[int, NOT_NEGATIVE] = FIRST_CONFIRMATION_SEED
    num_seeds: int = 10
    num_folds: int = 5
    frozen: Settings = field(default_factory=Settings)
    quick: Quick = field(default_factory=Quick)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the corpora that are reported."""
        return tuple(range(self.first_seed, self.first_seed + self.num_seeds))

    @property
    def selecting(self) -> list[Part]:
        """What is run to choose strengths."""
        return [
            Part("select", rival, self.rho[0], seed)
            for seed in self.select_seeds
            for rival in self.rivals
        ]

    @property
    def confirming(self) -> list[Part]:
        """What is reported, seed by seed, so that a part of it is a smaller table of the same."""
        return [
            Part("confirm", method, rho, seed)
            for seed in self.seeds
            for rho in self.rho
            for method in (*BASELINES, *self.rivals)
        ]

    @property
    def num_models(self) -> tuple[int, int]:
        """How many models choose strengths, and how many are reported."""
        controls = len(self.rivals) * self.num_seeds
        reported = (len(self.confirming) + controls) * self.num_folds
        return 3 * len(self.selecting) * self.select_folds, reported


def read_plan(path: Path, *, quick: bool = False) -> Plan:
    """Return the checked experiment file, or what `--quick` leaves of it.

    Raises:
        ConfigError: An unknown key or rival, a wrong type, a value out of range, or a seed that
            both chooses and is reported.
        MissingError: No such file.
    """
    plan = config.build(Plan, config.load_yaml(path), path=Path(path).name)
    if quick:
        plan = replace(plan, name=f"{plan.name}-quick", **vars(plan.quick))
    if unknown := sorted(set(plan.rivals) - set(RIVALS)):
        known = ", ".join(RIVALS)
        raise ConfigError(f"{path}: there is no rival `{unknown[0]}`. There are {known}.")
    if not plan.rho or not all(0.0 <= rho <= 1.0 for rho in plan.rho):
        raise ConfigError(f"{path}: `rho` must be numbers within 0 and 1, at least one.")
    if not (1 <= plan.num_folds <= 5 and 1 <= plan.select_folds <= 5):
        raise ConfigError(f"{path}: `num_folds` and `select_folds` must be within 1 and 5.")
    both = sorted(set(plan.select_seeds) & set(plan.seeds))
    if both or not plan.select_seeds:
        raise ConfigError(
            f"{path}: `select_seeds` must be seeds that are not reported, but are "
            f"{list(plan.select_seeds)}, and {list(plan.seeds)} are reported."
        )
    return plan
