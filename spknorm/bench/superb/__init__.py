"""A SUPERB-style table: s3prl's own experts on frozen upstreams, through run_downstream.

Rows are upstreams (raw, fine-tuned alone, after SNP, after TAP), columns tasks (ER, SID, IC). Each
cell is an ordinary run in a folder of its own, whose prediction files have s3prl's names and form;
its number is the test score at the best dev step, read from the run's log.log.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spknorm import config
from spknorm.bench.budget import ASSUMED_RATE, Budget
from spknorm.bench.cells import folder_name, run_command
from spknorm.bench.sizes import shape_of, stock_needs
from spknorm.bench.summary import last_said
from spknorm.bench.superb.plan import SuperbExperiment, Task, Upstream, read_plan
from spknorm.bench.worker import RUN_LOG, CellRun
from spknorm.files import read_json, write_atomic, write_json
from spknorm.registry import config_path
from spknorm.report.tables import Table, TableRow, percent, to_markdown, to_text

__all__ = ["TaskScore", "complete", "describe", "needs", "read_plan", "run", "table"]

SCHEMA = "spknorm.bench.superb/1"
_BEST = re.compile(r"New best on dev at step (\d+): ([\d.e+-]+)")
_TEST = re.compile(r"test at step (\d+): ([\d.e+-]+)")


class TaskScore(NamedTuple):
    """One task on one upstream.

    The test accuracy at the best dev step, a fraction; or the `error` why there is none.
    """

    task: str
    upstream: str
    folder: Path
    score: float | None
    step: int | None
    error: str


def run(
    plan: SuperbExperiment,
    out: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[TaskScore]:
    """Fill the table of an experiment; what is complete is not run again.

    `progress` is called with the number of cells that are done, and of all.

    Raises:
        MissingError: A checkpoint is not there.
    """
    environment, lists = _corpora(plan, out)
    cells: list[TaskScore] = []
    pairs = [(upstream, task) for upstream in plan.upstreams for task in plan.tasks]
    for number, (upstream, task) in enumerate(pairs):
        progress(number, len(pairs))
        folder = out / folder_name(f"{task.name}-{upstream.name}")
        command = [*_command(plan, task, lists), *_source(upstream, out), "-p", str(folder)]
        cells.append(_cell(task, upstream, folder, command, environment))
    progress(len(pairs), len(pairs))
    content = [cell._replace(folder=cell.folder.name)._asdict() for cell in cells]  # type: ignore[arg-type]  # a text in the file
    write_json(out / "superb.json", {"schema": SCHEMA, "name": plan.name, "cells": content})
    text = to_markdown([table(cells)], title=plan.name, remarks=())
    write_atomic(out / "superb.md", text)
    return cells


def complete(
    plan: SuperbExperiment, out: Path, *, progress: Callable[[int, int], None]
) -> tuple[str, bool]:
    """Run an experiment as `run` does; return its table as text, and whether every cell ran."""
    cells = run(plan, out, progress=progress)
    return to_text(table(cells)), not any(cell.error for cell in cells)


def describe(plan: SuperbExperiment) -> str:
    """Return what `run` would do, in words."""
    tasks = ", ".join(task.name for task in plan.tasks)
    upstreams = ", ".join(upstream.name for upstream in plan.upstreams)
    return f"{len(plan.tasks) * len(plan.upstreams)} runs: {tasks} on {upstreams}."


def needs(plan: SuperbExperiment) -> Budget:
    """Return what `run` would take."""
    disk, memory, operations, unknown = 0.0, 0.0, 0.0, set()
    for upstream in plan.upstreams:
        shape = shape_of(*_origin(upstream))
        if shape is None:
            unknown.add(upstream.name)
            continue
        for task in plan.tasks:
            settings = config.merge(config.load_yaml(config_path(task.task)), task.config)
            found = stock_needs(shape, task.task, settings, demo=plan.corpora == "demo")
            disk, memory, operations = disk + found[0], max(memory, found[1]), operations + found[2]
    num_runs, hours = len(plan.upstreams) * len(plan.tasks), operations / ASSUMED_RATE / 3600
    return Budget(num_runs, disk / 1e9, memory / 1e9, None, tuple(sorted(unknown)), hours)


def _origin(upstream: Upstream) -> tuple[str, str | None]:
    """Return which upstream of s3prl's hub a row is or was trained from, and its file."""
    if upstream.experiment is None:
        assert upstream.upstream is not None
        return upstream.upstream, upstream.ckpt
    result = read_json(Path(upstream.experiment) / "result.json")
    return str(result["upstream"]), (result.get("args") or {}).get("upstream_ckpt")


def table(cells: Sequence[TaskScore]) -> Table:
    """Return the table, accuracies in per cent, and why cells are empty."""
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    found = {(cell.upstream, cell.task): cell for cell in cells}
    rows = []
    for upstream in dict.fromkeys(cell.upstream for cell in cells):
        scores = (found[upstream, task].score for task in tasks)
        rows.append(TableRow(cells=(upstream, *map(percent, scores))))
    return Table(
        name="superb",
        title="SUPERB's tasks on frozen upstreams",
        notes=(
            "Test accuracy in per cent at the best dev step.",
            *(f"{cell.task} on {cell.upstream}: {cell.error}" for cell in cells if cell.error),
        ),
        columns=("Upstream", *tasks),
        rows=tuple(rows),
    )


def _corpora(plan: SuperbExperiment, out: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Return which variables say where the demo's corpora are, which are made, and tasks' lists."""
    if plan.corpora != "demo":
        return {}, {}
    from spknorm.corpora.folds import write_folds
    from spknorm.demo import make_demo_corpora

    roots, folds = make_demo_corpora(), out.resolve() / "meta_data"
    write_folds(roots.iemocap, folds)
    variables = {"IEMOCAP_ROOT": str(roots.iemocap), "VOXCELEB1_ROOT": str(roots.voxceleb1)}
    variables["FLUENT_COMMANDS_ROOT"] = ""  # of which the demo has none
    return variables, {"emotion": folds, "voxceleb1": roots.voxceleb1_split}


def _command(plan: SuperbExperiment, task: Task, lists: Mapping[str, Path]) -> list[str]:
    changes = dict(config.flatten(task.config))
    if task.task in lists:
        changes["downstream_expert.datarc.meta_data"] = str(lists[task.task])
    options = ["-d", task.task, "-s", plan.selection, "--seed", str(plan.seed), "-a"]
    options += ["-v", task.variant] if task.variant else []
    return run_command(options, changes.items())


def _source(upstream: Upstream, out: Path) -> list[str]:
    if upstream.experiment is None:
        assert upstream.upstream is not None
        return ["-u", upstream.upstream, *(["-k", upstream.ckpt] if upstream.ckpt else [])]
    folder = out / "upstreams" / folder_name(upstream.name)
    named = folder / "flags.json"
    if not named.is_file():
        from spknorm.export import export

        exported = export(upstream.experiment, folder, formats=None)
        write_json(named, {"flags": list(exported.flags)})
    return [str(flag) for flag in read_json(named)["flags"]]


def _cell(
    task: Task, upstream: Upstream, folder: Path, command: list[str], environment: dict[str, str]
) -> TaskScore:
    cell = TaskScore(task.name, upstream.name, folder, None, None, "")
    done = folder / "superb_cell.json"
    known = read_json(done) if done.is_file() else {}
    if known.get("command") != command:
        status = CellRun(command, folder, environment)()
        score, step = _at_best(folder / "log.log")
        if status or score is None:
            return cell._replace(error=_reason(folder, status))
        known = {"schema": SCHEMA, "command": command, "score": score, "step": step}
        write_json(done, known)
    return cell._replace(score=known["score"], step=known["step"])


def _at_best(log: Path) -> tuple[float, int] | tuple[None, None]:
    """Return the test score at the best dev step, and that step, where a log has them."""
    text = log.read_text() if log.is_file() else ""
    tests = dict(_TEST.findall(text))
    best = next((step for step, _ in reversed(_BEST.findall(text))), "")
    return (float(tests[best]), int(best)) if best in tests else (None, None)


def _reason(folder: Path, status: int) -> str:
    if status == 0:
        return f"its dev accuracy never rose above 0 ({folder / 'log.log'})"
    log = folder / RUN_LOG
    return f"{(last_said(log) or 'no output')[:300]} (exit {status}, {log})"
