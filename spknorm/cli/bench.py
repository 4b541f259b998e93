"""`spknorm bench`: an experiment file as a grid of runs, a table and a report."""

import argparse
import importlib
import shlex
import sys
from pathlib import Path
from typing import Any

from spknorm import bench, registry
from spknorm.bench.budget import budget, lines_of, measured_seconds, refuse_what_cannot_fit
from spknorm.bench.cells import Cell
from spknorm.bench.experiment import Experiment
from spknorm.bench.grid import BenchProgress, DryRun
from spknorm.bench.selection import FOLDER as SELECTION
from spknorm.bench.standing import WORDS
from spknorm.bench.summary import Summary, lines_of_cells
from spknorm.cli.audit import finish as finish_audit
from spknorm.cli.bars import bar
from spknorm.cli.parsing import Command, flag, option, roots, take_roots
from spknorm.errors import USER_ERRORS, ConfigError
from spknorm.files import FolderLock


def run(args: argparse.Namespace) -> int:
    """Run what `args` asks for; 1 if a run failed."""
    if args.status is not None:
        return _show_standing(args.status)
    if args.experiment is None:
        raise ConfigError("`spknorm bench` needs an experiment file, or --status DIR.")
    path = args.experiment
    if not path.is_file():  # maybe one of the project's own, by its name
        path = registry.shared_configs().get(path.name, path)
    take_roots(args)
    experiment = bench.read_experiment(path)
    out = args.out or Path("result") / (experiment.name + ("-quick" if args.quick else ""))
    if bench.KINDS[experiment.kind]:
        return _run_table(importlib.import_module(bench.KINDS[experiment.kind]), path, out, args)
    if experiment.select is not None:
        experiment = _with_lambdas(experiment, out, args)
    plan = bench.plan(experiment, out, quick=args.quick)
    if args.dry_run:
        _show_plan(plan, out)
        return 0
    _prepare(plan, out)
    summary = bench.run(experiment, out, quick=args.quick, on_progress=_Display())
    for text in summary.not_followed:
        print(f"FAILED {text}", file=sys.stderr)
    audited = not summary.not_followed
    if audited and experiment.audit and summary.complete:
        audited = _audit(out)
    _show_table(summary, out)
    return 1 if summary.failed or not audited else 0


def _with_lambdas(experiment: Experiment, out: Path, args: argparse.Namespace) -> Experiment:
    """Choose each adversary's lambda on dev first; a dry run only says what that takes.

    Raises:
        ConfigError: A candidate failed.
    """
    candidates, folder = bench.candidates_of(experiment), out / SELECTION
    plan = bench.plan(candidates, folder, quick=args.quick)
    if args.dry_run:
        print("First, to choose each adversary's lambda on dev:\n")
        _show_plan(plan, folder)
        print("\nThen, with the lambdas chosen (named here as the task's default):\n")
        return experiment
    _prepare(plan, folder)
    summary = bench.run(candidates, folder, quick=args.quick, on_progress=_Display())
    if summary.failed:
        failed = summary.failed[0]
        raise ConfigError(f"Lambda cannot be chosen: {failed.cell.name} failed: {failed.error}")
    from spknorm.probe.audit import dev_leakage

    choices = bench.choose(experiment, out, leakage=dev_leakage, quick=args.quick)
    for one in choices:
        doubt = f" ({one.doubt})" if one.doubt else ""
        print(
            f"{one.upstream} {one.variant}: lambda {one.speaker_lambda:g}{doubt}", file=sys.stderr
        )
    return bench.with_choices(experiment, choices)


def _audit(out: Path) -> bool:
    """Measure leakage, or what an earlier call left of that to do; say whether it worked."""
    try:
        finish_audit(out)
    except USER_ERRORS as error:
        print(f"The leakage audit failed: {error}", file=sys.stderr)
        return False
    return True


def _run_table(kind: Any, path: Path, out: Path, args: argparse.Namespace) -> int:
    """Run a kind that is one table; its module says how."""
    plan = kind.read_plan(path, quick=args.quick)
    if args.dry_run:
        print(kind.describe(plan))
        print("\n".join(lines_of(kind.needs(plan), out)))
        return 0
    with FolderLock(out), bar("parts", lines=True) as show:
        text, all_ran = kind.complete(plan, out, progress=show)
    print(f"{text}\n\nReport: {out}")
    return 0 if all_ran else 1


def _prepare(plan: DryRun, out: Path) -> None:
    """Before the runs to come: is there room for what they keep, and are the demo corpora there?

    Raises:
        ConfigError: There is no room.
    """
    pending = [one.cell for one in plan.statuses if one.status == "pending"]
    if pending:
        refuse_what_cannot_fit(budget(pending, {}), out)
        _make_demo_corpora([one.cell for one in plan.statuses])


def _make_demo_corpora(cells: list[Cell]) -> None:
    """Before the runs, which would otherwise all make them at the same time."""
    wanted = set()
    for cell in cells:
        expert = cell.changes.get("downstream_expert", {})
        sections = [expert.get(name) or {} for name in ("datarc", "speaker_corpus")]
        if any(section.get("corpus") == "demo" for section in sections):
            wanted.add((sections[0].get("demo_rho", 0.8), sections[0].get("demo_seed", 0)))
    for rho, seed in sorted(wanted):
        from spknorm.demo import make_demo_corpora

        with bar("utterances of the demo", leave=False) as show:
            make_demo_corpora(rho=rho, seed=seed, progress=show)


def _show_plan(plan: DryRun, out: Path) -> None:
    print("\n".join(lines_of_cells(plan.statuses)))
    states = [one.status for one in plan.statuses]
    print(f"\n{len(states)} runs, of which {states.count('complete')} are complete, in {out}")
    parallel = "as many as the cluster gives" if plan.max_parallel is None else plan.max_parallel
    print(f"At a time: {parallel}")
    cells = [one.cell for one in plan.statuses]
    print("\n".join(lines_of(budget(cells, measured_seconds(cells, out)), out)))
    if plan.seconds_left is not None:
        print(f"Time left: about {_duration(plan.seconds_left)}")
    pending = next((one.cell for one in plan.statuses if one.status == "pending"), None)
    if pending is not None:
        command = ["python", *pending.command(out / pending.name)[1:]]
        print("The first of them:\n  " + shlex.join(command))


def _show_standing(out: Path) -> int:
    """Print where every run stands; 1 while some are not complete."""
    found = bench.standing(out)
    for one in found:
        print(f"{one.word:<9} {one.name}" + (f": {one.detail}" if one.detail else ""))
    counts = [(sum(one.word == word for one in found), word) for word in WORDS]
    print(f"\n{len(found)} in all: " + ", ".join(f"{n} {word}" for n, word in counts if n))
    return 0 if all(one.word == "complete" for one in found) else 1


_WIDTH = 24


class _Display:
    """A bar with the time left on a terminal, a line per finished run elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def __call__(self, progress: BenchProgress) -> None:
        ended, total = progress.ended, progress.total
        seconds = progress.seconds_left
        left = "" if seconds is None else f", about {_duration(seconds)} left"
        done = progress.complete + progress.failed
        if ended is not None:
            self._clear()
            failed = f"FAILED {ended.cell.name}: {ended.error}"
            said = failed if ended.status == "failed" else ended.cell.name
            print(f"[{done}/{total}{left}] {said}", file=sys.stderr)
        if self._live:
            self._clear()
            filled = _WIDTH * done // max(1, total)
            counts = f"{done} of {total} runs, {progress.running} running{left}"
            line = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {counts}"
            print(line, end="", file=sys.stderr, flush=True)
            if not progress.running and done == total:
                self._clear()

    def _clear(self) -> None:
        if self._live:
            print("\r\033[K", end="", file=sys.stderr)


def _show_table(summary: Summary, out: Path) -> None:
    if summary.complete:
        from spknorm import report

        report.build(out)
        print(report.text(out))
    for one in summary.failed:
        print(f"FAILED {one.cell.name}: {one.error}", file=sys.stderr)
    print(f"{len(summary.complete)} of {len(summary.cells)} runs are complete. Report: {out}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


COMMAND = Command(
    "run an experiment file: folds, seeds and variants, with a report",
    "example: spknorm bench configs/demo.yaml --dry-run",
    (
        option(
            "experiment",
            "the experiment file, such as configs/demo.yaml",
            "YAML",
            type=Path,
            nargs="?",
        ),
        option("--status", "print how far the runs of a bench in DIR are", "DIR"),
        *roots(" for the runs"),
        option("--out", "default: result/NAME", "DIR"),
        flag("--dry-run", "print the grid and an estimate; run nothing"),
        flag("--quick", "first fold, seed and draw, 20 steps, to see if it works"),
    ),
    run,
)
