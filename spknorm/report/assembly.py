"""From a folder of result files to a report; last in the report.

What is half-finished is shown as such: n of m runs.
"""

import shlex
from pathlib import Path

from spknorm.files import write_atomic
from spknorm.report import (
    breakdowns,
    figures,
    leakage,
    origins,
    paper,
    pictures,
    pooled,
    scores,
    tables,
)
from spknorm.report.canvas import Figure
from spknorm.report.estimates import estimate
from spknorm.report.methods import group_runs
from spknorm.report.page import Code, Folded, Notice, Part, Points, Progress, Section, Text, to_html
from spknorm.report.results import Results, read_results
from spknorm.report.scores import Scored
from spknorm.report.tables import Table

_MANY_RUNS = 12


def build(folder: Path) -> list[Path]:
    """Write the report; see `spknorm.report.build`."""
    results = read_results(folder)
    blocks = group_runs(results)
    scored = [scores.score_block(block, estimate(block)) for block in blocks]
    probed = leakage.probed_rows(results, blocks)
    audits = leakage.audit_tables(probed)
    sections = _sections(results, scored, audits, probed)
    own = [table for entry in scored for table in _tables_of(entry)]
    listed = [*_paper_tables(scored), *own, *audits]
    title = f"Speaker normalisation: {results.experiment}"
    contents: dict[str, str | bytes] = {
        "table.md": tables.to_markdown(listed, title=title, remarks=[_state(results)]),
        "table.tex": tables.to_latex(listed, title=title),
        "table.csv": tables.to_csv(scores.records(scored)),
        "report.html": to_html(
            sections, title=title, lead=_lead(results, scored), footer=_footer()
        ),
    }
    for section in sections:
        for part in section.parts:
            if isinstance(part, Figure):
                contents[f"figures/{part.name}.png"] = part.png
    for stale in sorted((folder / "figures").glob("*.png")):
        if f"figures/{stale.name}" not in contents:
            stale.unlink()
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return [folder / name for name in contents]


def _paper_tables(scored: list[Scored]) -> list[Table]:
    tasks = dict.fromkeys(entry.block.task for entry in scored)
    return [scores.paper_table(scored, task) for task in tasks]


def _tables_of(entry: Scored) -> list[Table]:
    curves = [scores.low_resource_table(entry)] if entry.curves else []
    compared = scores.comparison_table(entry)
    return [*curves, scores.accuracy_table(entry), *([compared] if compared else [])]


def _sections(
    results: Results,
    scored: list[Scored],
    audits: list[Table],
    probed: list[leakage.Probed],
) -> list[Section]:
    methods: list[Part] = []
    few: list[Part] = []
    for entry in scored:
        if entry.curves:
            few += [*_drawn([figures.draw_low_resource(entry)]), *_tables_of(entry)]
        else:
            methods += [*_drawn([figures.draw_accuracies(entry)]), *_tables_of(entry)]
    frontiers = [
        pictures.draw_frontier(found)
        for found in leakage.frontiers(results, [entry.block for entry in scored])
    ]
    return [
        Section(name="paper", title="Beside the paper", parts=_paper_tables(scored)),
        Section(name="methods", title="Methods", parts=methods),
        Section(name="few-labels", title="Few labels", parts=few),
        Section(
            name="leakage",
            title="Leakage",
            parts=[*frontiers, *_drawn([pictures.draw_layers(probed)]), *audits],
        ),
        Section(
            name="speakers",
            title="Speakers",
            parts=[figure for entry in scored for figure in breakdowns.draw_speakers(entry)],
        ),
        Section(
            name="confusions",
            title="Confusions",
            parts=[figure for entry in scored for figure in breakdowns.draw_confusions(entry)],
        ),
        Section(
            name="training",
            title="Training",
            parts=[figure for entry in scored for figure in pictures.draw_training(entry)],
        ),
        Section(
            name="features",
            title="Features",
            parts=_drawn([pooled.draw_features(results.features)]),
        ),
        Section(
            name="origins", title="What was run, and how to repeat it", parts=_origins(results)
        ),
    ]


def _drawn(figures_or_none: list[Figure | None]) -> list[Part]:
    return [figure for figure in figures_or_none if figure is not None]


def _lead(results: Results, scored: list[Scored]) -> list[Part]:
    runs = [run for entry in scored for run in entry.runs]
    parts: list[Part] = [Text(text=_state(results))]
    done, planned = _progress(results)
    if done < planned:
        parts.append(Progress(done=done, planned=planned))
        failed = [cell for cell in results.planned if cell.status == "failed"]
        told = "; ".join(
            f"{cell.name} ({cell.error or 'no error recorded'})" for cell in failed[:5]
        )
        parts.append(
            Notice(
                text="This benchmark is not complete: every average below stands on the runs that "
                "have ended, and can change."
                + (f" Failed: {told}{' and more' if len(failed) > 5 else ''}." if failed else "")
            )
        )
    if runs and (corpora := scores.corpora_of(runs)) != [paper.CORPUS]:
        parts.append(
            Notice(
                text=f"Emotion corpus: {', '.join(corpora)}. These are not the paper's "
                "data; its numbers stand in grey for orientation only."
            )
        )
    parts += [Notice(text=doubt) for doubt in results.doubts]
    sentences = scores.findings(scored)
    if sentences:
        parts.append(Points(items=sentences))
    return parts


def _progress(results: Results) -> tuple[int, int]:
    waiting = sum(cell.status != "complete" for cell in results.planned)
    return len(results.runs), max(len(results.planned), len(results.runs) + waiting)


def _state(results: Results) -> str:
    done, planned = _progress(results)
    seconds = [run.seconds for run in results.runs if run.seconds is not None]
    cost = f", {sum(seconds) / 3600:.1f} hours of training" if seconds else ""
    upstreams = sorted({run.upstream for run in results.runs})
    of = f" on {', '.join(upstreams)}" if upstreams else ""
    return f"{done} of {planned} runs complete{of}{cost}."


def _origins(results: Results) -> list[Part]:
    parts: list[Part] = []
    if results.planned:
        parts.append(
            Text(
                text="The whole benchmark, by the experiment file of this name (what is "
                "complete is not run again):"
            )
        )
        command = f"./run_downstream.sh {shlex.quote(f'configs/{results.experiment}.yaml')}"
        parts.append(Code(text=command, label="Command of the benchmark"))
    parts.append(Text(text="This report, from the result files alone:"))
    parts.append(Code(text="spknorm report .", label="Command of this report"))
    commands = origins.commands(results)
    if commands:
        parts.append(Text(text="Single runs, from the folder of this report:"))
        parts.append(
            Code(
                text="\n\n".join(f"# {entry.folder}\n{entry.text}" for entry in commands),
                label="Commands of all runs",
                summary=f"Commands of {len(commands)} runs" if len(commands) > 1 else None,
            )
        )
        parts.append(origins.version_table(results))
    runs = origins.run_table(results)
    if len(runs.rows) > _MANY_RUNS:
        parts.append(Folded(summary=f"All {len(runs.rows)} runs", table=runs))
    elif runs.rows:
        parts.append(runs)
    return parts


def _footer() -> str:
    return (
        "Built by spknorm report from result.json, metrics.jsonl, probe.json and summary.json "
        f"alone; grey rows from {paper.CITATION}."
    )
