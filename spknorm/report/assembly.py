"""From a folder of result files to a report; last in the report.

What is half-finished is shown as such: n of m runs.
"""

import shlex
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from spknorm.config.progress import Progress
from spknorm.files import write_atomic
from spknorm.report import (
    cross,
    figures,
    leakage,
    origins,
    paper,
    pictures,
    score_tables,
    speakers,
    tables,
)
from spknorm.report.blocks import Block, records
from spknorm.report.canvas import Figure
from spknorm.report.doubts import doubts_of
from spknorm.report.methods import protocols_note
from spknorm.report.score_tables import block_tables
from spknorm.report.scores import dimension_blocks, score_blocks
from spknorm.report.tables import Section, Table, to_html
from spknorm.report.words import sentence
from spknorm.runs import Runs, read

Part = Table | Figure
P = TypeVar("P", Table, Figure, Part)

_STEPS_OF_BLOCK, _STEPS_OF_ALL = 6, 2  # for the bar
_SECTIONS = {
    "methods": "Methods", "cross": "Across corpora", "dimensions": "Dimensions",
    "few-labels": "Few labels", "paper": "Beside the paper", "leakage": "Leakage",
    "selection": "How λ was chosen", "speakers": "Speakers", "confusions": "Confusions",
    "training": "Training", "features": "Features",
}  # fmt: skip


def build(folder: Path, out: Path) -> list[Path]:
    """Write the report; see `spknorm.report.build`."""
    runs = read(folder)
    count = len({(run.result.task, run.result.protocol) for run in runs.runs})
    with Progress("report", _STEPS_OF_BLOCK * count + _STEPS_OF_ALL) as progress:
        contents = _contents(runs, folder, progress)
    for stale in sorted((out / "figures").glob("*.png")):
        if f"figures/{stale.name}" not in contents:
            stale.unlink()
    for name, content in contents.items():
        write_atomic(out / name, content)
    return [out / name for name in contents]


def text(folder: Path | str) -> str:
    """Return the report for a terminal; see `spknorm.report.text`."""
    runs = read(folder)
    blocks = score_blocks(runs)
    found = [tables.to_text(score_tables.short_table(blocks), title=False)] if blocks else []
    ranked = dimension_blocks(runs)
    of_dimensions = chain(*map(_dimension_tables, ranked, map(speakers.among_speakers, ranked)))
    found += map(tables.to_text, [*filled(of_dimensions), *cross.cross_tables(blocks)])
    return "\n".join([*found, *(f"Doubt: {doubt}" for doubt in doubts_of(runs, blocks))])


def filled(parts: Iterable[P | None]) -> list[P]:
    """Return the tables and figures that have something to show."""
    return [part for part in parts if part and (isinstance(part, Figure) or part.rows)]


def _contents(runs: Runs, folder: Path, progress: Progress) -> dict[str, str | bytes]:
    """Return what each file holds, by its name below the report's folder."""
    blocks = score_blocks(runs)
    progress.advance(len(blocks))
    first, sections, listed, numbers = _parts(runs, blocks, folder, progress)
    title = f"Speaker normalisation: {runs.experiment}"
    state, doubts = _state(runs), doubts_of(runs, blocks)
    corpora = score_tables.corpora_of(blocks)
    said = sentence("state", **state)
    page = to_html(
        sections,
        "report/report.html.j2",
        title=title,
        state=said,
        corpora=corpora if corpora != [paper.CORPUS] else [],
        first=first,
        findings=score_tables.findings(blocks),
        doubts=doubts,
        footer=sentence("footer", paper=paper),
        **state,
        **_origins(runs),
    )
    contents: dict[str, str | bytes] = {
        "table.md": tables.to_markdown(listed, title=title, remarks=[said, *doubts]),
        "table.tex": tables.to_latex(listed, title=title),
        "table.csv": tables.to_csv(numbers),
        "report.html": page,
    }
    for part in (first, *chain(*(section.parts for section in sections))):
        if isinstance(part, Figure):
            contents[f"figures/{part.name}.png"] = part.png
    return contents


def _parts(
    runs: Runs, blocks: Sequence[Block], folder: Path, progress: Progress
) -> tuple[Figure | None, list[Section], list[Table], list[dict[str, Any]]]:
    """Return the picture above all sections, these, the tables of files, and their numbers."""
    probed, frontiers = leakage.probed_rows(runs, blocks), leakage.frontiers(runs, blocks)
    ranked = dimension_blocks(runs)
    among, among_ranked = ([*map(speakers.among_speakers, one)] for one in (blocks, ranked))
    own, fair = [*map(block_tables, blocks)], [*chain(*map(speakers.speaker_tables, among))]
    audits, choices = leakage.audit_tables(probed), leakage.selection_table(folder)
    matrices = cross.cross_tables(blocks)
    of_dimensions = [*chain(*map(_dimension_tables, ranked, among_ranked))]
    beside = [score_tables.paper_table(blocks, task, protocols_note(runs))
              for task in dict.fromkeys(block.task for block in blocks)]  # fmt: skip
    first = figures.draw_accuracies(blocks[0], frontiers) if blocks else None
    progress.advance()
    parts: dict[str, list[Part | None]] = {name: [] for name in _SECTIONS}
    for block, of_block, of_speakers in zip(blocks, own, among, strict=True):
        if block.is_low_resource:
            parts["few-labels"] += [figures.draw_low_resource(block), *of_block]
        else:
            again = block is blocks[0]
            picture = None if again else figures.draw_accuracies(block, frontiers)
            parts["methods"] += [picture, *of_block]
        progress.advance(2)
        for name, drawn in (
            ("speakers", figures.draw_speakers(of_speakers)),
            ("confusions", figures.draw_confusions(block)),
            ("training", pictures.draw_training(block)),
        ):
            parts[name] += drawn
            progress.advance()
    leaks = (*map(pictures.draw_frontier, frontiers), pictures.draw_layers(probed))
    parts["speakers"] += fair
    parts |= {"cross": [*matrices], "dimensions": [*of_dimensions], "paper": [*beside]}
    parts |= {"leakage": [*leaks, *audits], "selection": [choices]}
    parts["features"].append(pictures.draw_features(runs.features))
    progress.advance()
    sections = [
        Section(name=name, title=title, parts=filled(parts[name]))
        for name, title in _SECTIONS.items()
    ]
    listed = filled([*chain(*own), *fair, *matrices, *of_dimensions, *beside, *audits, choices])
    return first, sections, listed, records([*blocks, *among, *ranked, *among_ranked])


def _dimension_tables(block: Block, among: Block) -> list[Table]:
    return [*block_tables(block), *speakers.speaker_tables(among)]


def _state(runs: Runs) -> dict[str, Any]:
    """Return what has been done: the sentence of that name, and the page's bar, say it."""
    waiting = sum(cell.status != "complete" for cell in runs.planned)
    return {
        "done": len(runs.every),
        "planned": max(len(runs.planned), len(runs.every) + waiting),
        "failed": [cell for cell in runs.planned if cell.status == "failed"],
        "seconds": [run.result.seconds for run in runs.every if run.result.seconds is not None],
        "upstreams": sorted({run.result.upstream for run in runs.every}),
    }


def _origins(runs: Runs) -> dict[str, Any]:
    name = shlex.quote(f"configs/{runs.experiment}.yaml")
    return {
        "command": f"./run_downstream.sh {name}" if runs.planned else "",
        "commands": [f"# {run.folder}\n{origins.command_of(run)}" for run in runs.every],
        "versions": origins.version_table(runs),
        "every_run": origins.run_table(runs),
    }
