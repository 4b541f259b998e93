"""From a folder of result files to a report; last in the report.

What is half-finished is shown as such: n of m runs.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

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
from spknorm.report.page import Section, to_html
from spknorm.report.scores import dimension_blocks, score_blocks
from spknorm.report.tables import Table
from spknorm.report.words import sentence
from spknorm.runs import Runs, read

T = TypeVar("T")
Part = Table | Figure
P = TypeVar("P", Table, Figure, Part)

_STEPS_OF_BLOCK, _STEPS_OF_ALL = 6, 2  # for the bar


class _Parts(NamedTuple):
    """What a report shows: `first` stands above all sections, `listed` are the tables in files."""

    first: Figure | None
    sections: list[Section]
    listed: list[Table]
    records: list[dict[str, Any]]


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
    tables_of = map(_dimension_tables, ranked, map(speakers.among_speakers, ranked))
    more = [*filled(chain(*tables_of)), *cross.cross_tables(blocks)]
    doubts = [f"Doubt: {doubt}" for doubt in doubts_of(runs, blocks)]
    return "\n".join([*found, *map(tables.to_text, more), *doubts])


def filled(parts: Iterable[P | None]) -> list[P]:
    """Return the tables and figures that have something to show."""
    return [part for part in parts if part and (isinstance(part, Figure) or part.rows)]


def _contents(runs: Runs, folder: Path, progress: Progress) -> dict[str, str | bytes]:
    """Return what each file holds, by its name below the report's folder."""
    blocks = score_blocks(runs)
    progress.advance(len(blocks))
    parts = _parts(runs, blocks, folder, progress)
    title = f"Speaker normalisation: {runs.experiment}"
    state, doubts = _state(runs), doubts_of(runs, blocks)
    corpora = score_tables.corpora_of(blocks)
    said = sentence("state", **state)
    page = to_html(
        parts.sections,
        "report.html.j2",
        title=title,
        state=said,
        corpora=corpora if corpora != [paper.CORPUS] else [],
        first=parts.first,
        findings=score_tables.findings(blocks),
        doubts=doubts,
        footer=sentence("footer", paper=paper),
        **state,
        **_origins(runs),
    )
    contents: dict[str, str | bytes] = {
        "table.md": tables.to_markdown(parts.listed, title=title, remarks=[said, *doubts]),
        "table.tex": tables.to_latex(parts.listed, title=title),
        "table.csv": tables.to_csv(parts.records),
        "report.html": page,
    }
    for part in (parts.first, *chain(*(section.parts for section in parts.sections))):
        if isinstance(part, Figure):
            contents[f"figures/{part.name}.png"] = part.png
    return contents


def _parts(runs: Runs, blocks: Sequence[Block], folder: Path, progress: Progress) -> _Parts:
    def each(make: Callable[[Block], T]) -> list[T]:
        """Do one of the steps of every block."""
        found = []
        for block in blocks:
            found.append(make(block))
            progress.advance()
        return found

    ranked = dimension_blocks(runs)
    probed, frontiers = leakage.probed_rows(runs, blocks), leakage.frontiers(runs, blocks)
    audits, choices = leakage.audit_tables(probed), leakage.selection_table(folder)
    among_ranked = [*map(speakers.among_speakers, ranked)]
    of_dimensions = [*chain(*map(_dimension_tables, ranked, among_ranked))]
    beside = [score_tables.paper_table(blocks, task, protocols_note(runs))
              for task in dict.fromkeys(block.task for block in blocks)]  # fmt: skip
    progress.advance()
    accuracies = each(lambda block: figures.draw_accuracies(block, frontiers))
    own = [score_tables.block_tables(block) for block in blocks]
    leaks = [*map(pictures.draw_frontier, frontiers), pictures.draw_layers(probed)]
    among = each(speakers.among_speakers)
    fair, matrices = [*chain(*map(speakers.speaker_tables, among))], cross.cross_tables(blocks)
    served: list[Part] = [*chain(*map(figures.draw_speakers, among)), *fair]
    progress.advance(len(blocks) + 1)
    confusions = each(lambda block: [*figures.draw_confusions(block)])
    training = each(lambda block: [*pictures.draw_training(block)])
    methods, few = _of_methods(blocks, accuracies, own)
    named: dict[tuple[str, str], Iterable[Part | None]] = {
        ("methods", "Methods"): methods,
        ("cross", "Across corpora"): matrices,
        ("dimensions", "Dimensions"): of_dimensions,
        ("few-labels", "Few labels"): few,
        ("paper", "Beside the paper"): beside,
        ("leakage", "Leakage"): [*leaks, *audits],
        ("selection", "How λ was chosen"): [choices],
        ("speakers", "Speakers"): served,
        ("confusions", "Confusions"): chain(*confusions),
        ("training", "Training"): chain(*training),
        ("features", "Features"): [pictures.draw_features(runs.features)],
    }
    return _Parts(
        first=accuracies[0] if accuracies else None,
        sections=[
            Section(name=name, title=title, parts=filled(parts))
            for (name, title), parts in named.items()
        ],
        listed=filled([*chain(*own), *fair, *matrices, *of_dimensions, *beside, *audits, choices]),
        records=records([*blocks, *among, *ranked, *among_ranked]),
    )


def _of_methods(
    blocks: Sequence[Block], pictures_of: Sequence[Figure], tables_of: Sequence[list[Table]]
) -> tuple[list[Part | None], list[Part | None]]:
    """Return what stands under Methods, and under Few labels; the first picture is above all."""
    methods: list[Part | None] = []
    few: list[Part | None] = []
    for block, picture, found in zip(blocks, pictures_of, tables_of, strict=True):
        if block.is_low_resource:
            few += [figures.draw_low_resource(block), *found]
        else:
            methods += [picture if block is not blocks[0] else None, *found]
    return methods, few


def _dimension_tables(block: Block, among: Block) -> list[Table]:
    return [*score_tables.block_tables(block), *speakers.speaker_tables(among)]


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
