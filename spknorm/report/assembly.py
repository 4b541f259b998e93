"""From a folder of result files to a report; last in the report.

What is half-finished is shown as such: n of m runs.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from spknorm import runs as records
from spknorm.config.progress import Progress
from spknorm.files import write_atomic
from spknorm.report import (
    cross,
    dimensions,
    figures,
    leakage,
    origins,
    paper,
    pictures,
    pooled,
    score_tables,
    selection,
    splits,
    tables,
)
from spknorm.report.adversary import adversary_table
from spknorm.report.canvas import Figure
from spknorm.report.fairness import fairness_of, fairness_records, fairness_tables
from spknorm.report.methods import protocols_note
from spknorm.report.page import (
    Code,
    Folded,
    Notices,
    Part,
    Points,
    RunsDone,
    Section,
    Text,
    to_html,
)
from spknorm.report.scores import Block, score_blocks
from spknorm.report.tables import Table
from spknorm.runs import Runs

T = TypeVar("T")

_MANY_RUNS = 12
_STEPS_OF_BLOCK, _STEPS_OF_ALL = 6, 2  # for the bar
_FOOTER = (
    "Built by spknorm report from result.json, metrics.jsonl, probe.json and summary.json "
    f"alone; grey rows from {paper.CITATION}."
)


def build(folder: Path, out: Path) -> list[Path]:
    """Write the report; see `spknorm.report.build`."""
    runs = records.read(folder)
    count = len({(run.result.task, run.result.protocol) for run in runs.runs})
    with Progress("report", _STEPS_OF_BLOCK * count + _STEPS_OF_ALL) as progress:
        return _build(runs, folder, out, progress)


def _build(runs: Runs, folder: Path, out: Path, progress: Progress) -> list[Path]:
    def each(draw: Callable[[Block], T]) -> list[T]:
        """Do one of the steps of every block."""
        found = []
        for block in blocks:
            found.append(draw(block))
            progress.advance()
        return found

    blocks = score_blocks(runs)
    progress.advance(len(blocks))
    probed = leakage.probed_rows(runs, blocks)
    audits, choices = leakage.audit_tables(probed), selection.read_table(folder)
    doubts = [*origins.doubts_of(runs, blocks), *splits.doubts_of(runs)]
    of_dimensions, matrices = dimensions.dimension_tables(runs), cross.cross_tables(blocks)
    frontiers = leakage.frontiers(runs, blocks)
    progress.advance()
    accuracies = each(lambda block: figures.draw_accuracies(block, frontiers))
    first = next(iter(accuracies), None)
    methods: list[Part] = []
    few: list[Part] = []
    for block, shown in zip(blocks, accuracies, strict=True):
        if block.is_low_resource:
            few += [*_some([figures.draw_low_resource(block)]), *_tables_of(block)]
        else:
            methods += [*_some([shown if shown is not first else None]), *_tables_of(block)]
    leaks = [*map(pictures.draw_frontier, frontiers), *_some([pictures.draw_layers(probed)])]
    tasks = dict.fromkeys(block.task for block in blocks)
    remark = protocols_note(runs)
    beside = [score_tables.paper_table(blocks, task, remark) for task in tasks]
    pooled_pictures = [pooled.draw_features(runs.features)]
    progress.advance()
    among = each(fairness_of)
    fair = [table for one in among for table in fairness_tables(one)]
    speakers = [*_all(each(figures.draw_speakers)), *fair]
    confusions, training = _all(each(figures.draw_confusions)), _all(each(pictures.draw_training))
    sections = [
        Section(name="methods", title="Methods", parts=methods),
        Section(name="cross", title="Across corpora", parts=matrices),
        Section(name="dimensions", title="Dimensions", parts=of_dimensions),
        Section(name="few-labels", title="Few labels", parts=few),
        Section(name="paper", title="Beside the paper", parts=beside),
        Section(name="leakage", title="Leakage", parts=[*leaks, *audits]),
        Section(name="selection", title="How λ was chosen", parts=_some([choices])),
        Section(name="speakers", title="Speakers", parts=speakers),
        Section(name="confusions", title="Confusions", parts=confusions),
        Section(name="training", title="Training", parts=training),
        Section(name="features", title="Features", parts=_some(pooled_pictures)),
        Section(name="origins", title="What was run, and how to repeat it", parts=_origins(runs)),
    ]
    own = [table for block in blocks for table in _tables_of(block)]
    listed = [
        *own,
        *fair,
        *matrices,
        *of_dimensions,
        *beside,
        *audits,
        *([choices] if choices else []),
    ]
    title = f"Speaker normalisation: {runs.experiment}"
    lead = _lead(runs, blocks, doubts, first)
    contents: dict[str, str | bytes] = {
        "table.md": tables.to_markdown(listed, title=title, remarks=[_state(runs), *doubts]),
        "table.tex": tables.to_latex(listed, title=title),
        "table.csv": tables.to_csv(
            [
                *score_tables.records(blocks),
                *(row for one in among for row in fairness_records(one)),
                *dimensions.dimension_records(runs),
            ]
        ),
        "report.html": to_html(sections, title=title, lead=lead, footer=_FOOTER),
    }
    for part in (*lead, *(part for section in sections for part in section.parts)):
        if isinstance(part, Figure):
            contents[f"figures/{part.name}.png"] = part.png
    for stale in sorted((out / "figures").glob("*.png")):
        if f"figures/{stale.name}" not in contents:
            stale.unlink()
    for name, content in contents.items():
        write_atomic(out / name, content)
    return [out / name for name in contents]


def _tables_of(block: Block) -> list[Table]:
    curves = [score_tables.low_resource_table(block)] if block.is_low_resource else []
    rest = (score_tables.comparison_table(block), adversary_table(block))
    return [*curves, score_tables.accuracy_table(block), *(table for table in rest if table)]


def _some(parts: Iterable[Part | None]) -> list[Part]:
    return [part for part in parts if part is not None]


def _all(found: Iterable[Iterable[Figure]]) -> list[Part]:
    return [figure for figures_of_block in found for figure in figures_of_block]


def _lead(
    runs: Runs, blocks: Sequence[Block], doubts: Sequence[str], first: Figure | None
) -> list[Part]:
    parts: list[Part] = [Text(text=_state(runs))]
    done, planned = _progress(runs)
    if done < planned:
        failed = [cell for cell in runs.planned if cell.status == "failed"]
        told = "; ".join(f"{one.name} ({one.error or 'no error recorded'})" for one in failed[:5])
        told = f" Failed: {told}{' and more' if len(failed) > 5 else ''}." if failed else ""
        text = (
            "This benchmark is not complete: every average below stands on the runs that "
            f"have ended, and can change.{told}"
        )
        parts += [RunsDone(done=done, planned=planned), Text(text=text, kind="notice")]
    corpora = score_tables.corpora_of(blocks)
    if blocks and corpora != [paper.CORPUS]:
        text = (
            f"Emotion corpus: {', '.join(corpora)}. These are not the paper's "
            "data; its numbers stand in grey for orientation only."
        )
        parts.append(Text(text=text, kind="notice"))
    parts += _some([first])
    sentences = score_tables.findings(blocks)
    if sentences:
        parts.append(Points(items=sentences))
    if doubts:
        parts.append(Notices(text="What speaks against these numbers", items=doubts))
    return parts


def _progress(runs: Runs) -> tuple[int, int]:
    waiting = sum(cell.status != "complete" for cell in runs.planned)
    done = len(runs.runs) + len(runs.of_dimensions)
    return done, max(len(runs.planned), done + waiting)


def _state(runs: Runs) -> str:
    done, planned = _progress(runs)
    every = (*runs.runs, *runs.of_dimensions)
    seconds = [run.result.seconds for run in every if run.result.seconds is not None]
    cost = f", {sum(seconds) / 3600:.1f} hours of training" if seconds else ""
    upstreams = sorted({run.result.upstream for run in every})
    of = f" on {', '.join(upstreams)}" if upstreams else ""
    return f"{done} of {planned} runs complete{of}{cost}."


def _origins(runs: Runs) -> list[Part]:
    parts: list[Part] = []
    if runs.planned:
        text = (
            "The whole benchmark, by the experiment file of this name (what is complete is not "
            "run again):"
        )
        command = f"./run_downstream.sh {shlex.quote(f'configs/{runs.experiment}.yaml')}"
        parts += [Text(text=text), Code(text=command, label="Command of the benchmark")]
    parts.append(Text(text="This report, from the result files alone:"))
    parts.append(Code(text="spknorm report .", label="Command of this report"))
    every = (*runs.runs, *runs.of_dimensions)
    if every:
        texts = [f"# {run.folder}\n{origins.command_of(run)}" for run in every]
        single = Code(text="\n\n".join(texts), label="Commands of all runs")
        folded = Folded(summary=f"Commands of {len(texts)} runs", inside=single)
        parts.append(Text(text="Single runs, from the folder of this report:"))
        parts.append(folded if len(texts) > 1 else single)
        parts.append(origins.version_table(runs))
    table = origins.run_table(runs)
    if len(table.rows) > _MANY_RUNS:
        parts.append(Folded(summary=f"All {len(table.rows)} runs", inside=table))
    elif table.rows:
        parts.append(table)
    return parts
