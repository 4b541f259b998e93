"""A benchmark in which the confounding of speaker and emotion is set.

    plan       the experiment file          pool        features of a seed, for every rho
    upstream   the demo's HuBERT            frozen      a model on frozen features
    fitted     what a method gives back     finetuning  fine-tuning, TAP, behind an eraser
    folds      the models of a fold         grid        rows per (rho, seed), resumable
    verdicts   hypotheses, judged by code   outcome     table, figures, page
    parallel   jobs in processes
    rivals/    other ways to deal with the speaker, in the same world

Hypotheses, settings and results are in docs/controlled.md.
"""

from collections.abc import Callable
from pathlib import Path

from spknorm.bench.budget import Budget
from spknorm.controlled.plan import Plan, read_plan

__all__ = ["budget_of", "complete", "describe", "needs", "read_plan"]

POOL_SECONDS, FROZEN_SECONDS, TUNED_SECONDS = 15.0, 2.0, 12.0
"""Of one core, as runs of either benchmark took them: the features of a seed, a model on them, a
fine-tuned one (7 to 14, or the features of its seed and the frozen one from which it goes on)."""
_POOL_GB, _PROCESS_GB = 0.0015, 1.0


def complete(
    plan: Plan, out: Path, *, progress: Callable[[int, int], None], workers: int = 2
) -> tuple[str, bool]:
    """Run an experiment, or continue it, and write its table, figures and page.

    Rows that are in `out` are not computed again. Progress is called with (parts done, parts in
    all); workers are processes of one core each. The tables are returned as text, and whether every
    part ran.
    """
    from spknorm.controlled.grid import run_grid
    from spknorm.controlled.outcome import write_outcome  # matplotlib, which processes do without

    rows = run_grid(plan, out, workers=workers, progress=progress)
    return write_outcome(plan, rows, out), True


def describe(plan: Plan) -> str:
    """Return what `complete` would do, in words."""
    frozen, tuned = plan.num_models
    return (
        f"{len(plan.parts)} parts: {frozen} models on frozen features and {tuned} fine-tuned ones, "
        f"seeds {plan.seeds[0]} to {plan.seeds[-1]}, rho {', '.join(f'{r:g}' for r in plan.rho)}."
    )


def needs(plan: Plan) -> Budget:
    """Return what `complete` would take, one part after another."""
    return budget_of(*plan.num_models, num_seeds=len(plan.seeds))


def budget_of(frozen: int, tuned: int, *, num_seeds: int) -> Budget:
    """Return what so many models take, on the features of so many seeds."""
    seconds = num_seeds * POOL_SECONDS + frozen * FROZEN_SECONDS + tuned * TUNED_SECONDS
    disk, models = num_seeds * _POOL_GB, frozen + tuned
    return Budget(models, disk, _PROCESS_GB, hours=seconds / 3600, unknown=())
