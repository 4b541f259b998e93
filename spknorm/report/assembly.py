"""From a folder of result files to a report; last in the report.

What is half-finished is shown as such: n of m runs.
"""

import shlex
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from spknorm.config.progress import Progress
from spknorm.files import write_atomic
from spknorm.report import (
    cross,
    dimensions,
    fairness,
    figures,
    leakage,
    origins,
    paper,
    pictures,
    score_tables,
    selection,
    tables,
)
from spknorm.report.blocks import Block, records
from spknorm.report.canvas import Figure
from spknorm.report.doubts import doubts_of
from spknorm.report.methods import protocols_note
from spknorm.report.page import Section, to_html
from spknorm.report.scores import dimension_blocks, score_blocks
from spknorm.report.tables import Table
from spknorm.report.words import sentence
from spknorm.runs import Runs, read

T = TypeVar("T")
Part = Table | Figure

_STEPS_OF_BLOCK, _STEPS_OF_ALL = 6, 2  # for the bar


def build(folder: Path, out: Path) -> list[Path]:
    """Write the report; see `spknorm.report.build`."""
    runs = read(folder)
    count = len({(run.result.task, run.result.protocol) for run in runs.runs})
    with Progress("report", _STEPS_OF_BLOCK * count + _STEPS_OF_ALL) as progress:
        return _build(runs, folder, out, progress)


def text(folder: Path | str) -> str:
    """Return the report for a terminal; see `spknorm.report.text`."""
    runs = read(folder)
    blocks = score_blocks(runs)
    found = [tables.to_text(score_tables.short_table(blocks), title=False)] if blocks else []
    more = [*dimensions.dimension_tables(dimension_blocks(runs)), *cross.cross_tables(blocks)]
    doubts = [f"Doubt: {doubt}" for doubt in doubts_of(runs, blocks)]
    return "\n".join([*found, *map(tables.to_text, more), *doubts])


def _build(runs: Runs, folder: Path, out: Path, progress: Progress) -> list[Path]:
    def each(make: Callable[[Block], T]) -> list[T]:
        """Do one of the steps of every block."""
        found = []
        for block in blocks:
            found.append(make(block))
            progress.advance()
        return found

    blocks, ranked = score_blocks(runs), dimension_blocks(runs)
    progress.advance(len(blocks))
    probed = leakage.probed_rows(runs, blocks)
    frontiers = leakage.frontiers(runs, blocks)
    audits, choices = leakage.audit_tables(probed), selection.read_table(folder)
    of_dimensions, matrices = dimensions.dimension_tables(ranked), cross.cross_tables(blocks)
    remark = protocols_note(runs)
    tasks = dict.fromkeys(block.task for block in blocks)
    beside = [score_tables.paper_table(blocks, task, remark) for task in tasks]
    progress.advance()
    accuracies = each(lambda block: figures.draw_accuracies(block, frontiers))
    tables_of = [_tables_of(block) for block in blocks]
    methods: list[Part | None] = []
    few: list[Part | None] = []
    for block, own, picture in zip(blocks, tables_of, accuracies, strict=True):
        if block.is_low_resource:
            few += [figures.draw_low_resource(block), *own]
        else:
            methods += [picture if block is not blocks[0] else None, *own]
    leaks = [*map(pictures.draw_frontier, frontiers), pictures.draw_layers(probed)]
    features = pictures.draw_features(runs.features)
    progress.advance()
    among = each(fairness.fairness_of)
    fair = [table for one in among for table in fairness.fairness_tables(one)]
    speakers = [*chain(*map(figures.draw_speakers, among))]
    progress.advance(len(blocks))
    confusions = each(lambda block: [*figures.draw_confusions(block)])
    training = each(lambda block: [*pictures.draw_training(block)])
    listed = [*chain(*tables_of), *fair, *matrices, *of_dimensions, *beside, *audits, choices]
    sections = [
        _section("methods", "Methods", methods),
        _section("cross", "Across corpora", matrices),
        _section("dimensions", "Dimensions", of_dimensions),
        _section("few-labels", "Few labels", few),
        _section("paper", "Beside the paper", beside),
        _section("leakage", "Leakage", [*leaks, *audits]),
        _section("selection", "How λ was chosen", [choices]),
        _section("speakers", "Speakers", [*speakers, *fair]),
        _section("confusions", "Confusions", chain(*confusions)),
        _section("training", "Training", chain(*training)),
        _section("features", "Features", [features]),
    ]
    title = f"Speaker normalisation: {runs.experiment}"
    doubts, first = doubts_of(runs, blocks), accuracies[0] if accuracies else None
    state = _state(runs)
    remarks = [sentence("state", **state), *doubts]
    corpora = score_tables.corpora_of(blocks)
    lead = {
        "state": remarks[0],
        "corpora": corpora if corpora != [paper.CORPUS] else [],
        "first": first,
        "findings": score_tables.findings(blocks),
        "doubts": doubts,
    }
    texts = {"title": title, "footer": sentence("footer", paper=paper)}
    page = to_html(sections, "report.html.j2", **texts, **state, **lead, **_origins(runs))
    shown, of_speakers = filled(listed), map(dimensions.among_speakers, ranked)
    contents: dict[str, str | bytes] = {
        "table.md": tables.to_markdown(shown, title=title, remarks=remarks),
        "table.tex": tables.to_latex(shown, title=title),
        "table.csv": tables.to_csv(records([*blocks, *among, *ranked, *of_speakers])),
        "report.html": page,
    }
    for part in (first, *(part for section in sections for part in section.parts)):
        if isinstance(part, Figure):
            contents[f"figures/{part.name}.png"] = part.png
    for stale in sorted((out / "figures").glob("*.png")):
        if f"figures/{stale.name}" not in contents:
            stale.unlink()
    for name, content in contents.items():
        write_atomic(out / name, content)
    return [out / name for name in contents]


def filled(tables: Iterable[Table | None]) -> list[Table]:
    """Return the tables that have something to show."""
    return [table for table in tables if table is not None and table.rows]


def _section(name: str, title: str, parts: Iterable[Part | None]) -> Section:
    shown = [part for part in parts if isinstance(part, Figure) or (part and part.rows)]
    return Section(name=name, title=title, parts=shown)


def _tables_of(block: Block) -> list[Table]:
    curves = [score_tables.low_resource_table(block)] if block.is_low_resource else []
    rest = (score_tables.comparison_table(block), score_tables.adversary_table(block))
    return [*curves, score_tables.accuracy_table(block), *rest]


def _state(runs: Runs) -> dict[str, Any]:
    """Return what has been done: the sentence of that name, and the page's bar, say it."""
    every = (*runs.runs, *runs.of_dimensions)
    waiting = sum(cell.status != "complete" for cell in runs.planned)
    return {
        "done": len(every),
        "planned": max(len(runs.planned), len(every) + waiting),
        "failed": [cell for cell in runs.planned if cell.status == "failed"],
        "seconds": [run.result.seconds for run in every if run.result.seconds is not None],
        "upstreams": sorted({run.result.upstream for run in every}),
    }


def _origins(runs: Runs) -> dict[str, Any]:
    """Return what the page's last section shows."""
    name = shlex.quote(f"configs/{runs.experiment}.yaml")
    every = (*runs.runs, *runs.of_dimensions)
    return {
        "command": f"./run_downstream.sh {name}" if runs.planned else "",
        "commands": [f"# {run.folder}\n{origins.command_of(run)}" for run in every],
        "versions": origins.version_table(runs),
        "every_run": origins.run_table(runs),
    }
