"""Every serious way of taking the speaker out, or putting it in, on equal footing.

One short file per kind of idea; `table.py` has all of them, from which the benchmark, its page and
docs/rivals.md are made. Each has a strength, of which three candidates are tried on
selection seeds by one rule for all, and a control: the same with permuted speakers.

    transforms, embedding, prior     in closed form, or told who speaks
    training                         the loop of those that add a term:
    adversaries, alignment, risk     these
    plan       the experiment file   grid       rows per (rho, seed), resumable
    ranking    what the rows say     outcome    table and page
"""

from collections.abc import Callable
from pathlib import Path

from spknorm.bench.budget import Budget
from spknorm.controlled import budget_of
from spknorm.controlled.rivals.plan import Plan, read_plan
from spknorm.controlled.rivals.table import RIVALS

__all__ = ["RIVALS", "complete", "describe", "needs", "read_plan"]


def complete(
    plan: Plan, out: Path, *, progress: Callable[[int, int], None], workers: int = 2
) -> tuple[str, bool]:
    """Run an experiment of rivals, or continue it; see `spknorm.controlled.complete`."""
    from spknorm.controlled.rivals.grid import run_grid
    from spknorm.controlled.rivals.outcome import write_outcome

    chosen, rows = run_grid(plan, out, workers=workers, progress=progress)
    return write_outcome(plan, chosen, rows, out), True


def describe(plan: Plan) -> str:
    """Return what `complete` would do, in words."""
    trials, reported = plan.num_models
    return (
        f"{len(plan.rivals)} rivals: {trials} models to choose strengths on seeds "
        f"{', '.join(map(str, plan.select_seeds))}, then {reported} on seeds {plan.seeds[0]} to "
        f"{plan.seeds[-1]}, rho {', '.join(f'{rho:g}' for rho in plan.rho)}."
    )


def needs(plan: Plan) -> Budget:
    """Return what `complete` would take, one part after another."""
    seeds = len(plan.select_seeds) + plan.num_seeds
    return budget_of(sum(plan.num_models), 0, num_seeds=seeds)
