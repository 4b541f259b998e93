"""What the controlled benchmark hands out: a table, verdicts, figures and one page.

Last in the benchmark's flow; everything here comes from rows, and every number it shows is in
controlled.json.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spknorm.controlled.figures import draw_accuracy, draw_regained, draw_trade
from spknorm.controlled.folds import ModelRow
from spknorm.controlled.hypotheses import HYPOTHESES, INFERIOR, MARGIN
from spknorm.controlled.plan import Plan
from spknorm.controlled.verdicts import VariantMeans, Verdict, judge, summarise
from spknorm.files import write_atomic, write_json
from spknorm.report.canvas import Figure
from spknorm.report.tables import Section, Table, to_html, to_markdown, to_text
from spknorm.report.words import table

SCHEMA = "spknorm.controlled/1"
_HEADLINE_RHO = 0.9


def write_outcome(plan: Plan, rows: Sequence[ModelRow], out: Path) -> str:
    """Write controlled.json, table.md, report.html and figures/*.png; return the tables as text."""
    cells, verdicts = summarise(rows), judge(rows)
    shown = sorted(cells, key=_order)
    numbers, judged = _table(shown), _verdict_table(verdicts)
    figures = _figures(shown, plan.num_seeds)
    for figure in figures:
        write_atomic(out / "figures" / f"{figure.name}.png", figure.png)
    sections = [
        Section(name="verdicts", title="Verdicts", parts=[judged]),
        Section(name="figures", title="Figures", parts=figures),
        Section(name="numbers", title="Numbers", parts=[numbers]),
    ]
    record, path = to_record(plan, cells, verdicts), out / "controlled.json"
    remark = f"Seeds {plan.first_seed} to {plan.seeds[-1]}. "
    remark += "Hypotheses, settings and tests: docs/controlled.md."
    about = {"title": "Controlled benchmark", "remark": remark}
    return write_page(path, record, [numbers, judged], sections, **about)


def write_page(
    path: Path,
    record: dict[str, Any],
    tables: Sequence[Table],
    sections: Sequence[Section],
    *,
    title: str,
    remark: str,
) -> str:
    """Write a record as JSON, and its tables as table.md and report.html; return them as text."""
    write_json(path, record)
    markdown = to_markdown(tables, title=title, remarks=[remark])
    write_atomic(path.with_name("table.md"), markdown)
    write_atomic(path.with_name("report.html"), to_html(sections, title=title, lead=remark))
    return "\n\n".join(map(to_text, tables))


def to_record(
    plan: Plan, cells: Sequence[VariantMeans], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Return everything that a page shows, and the plan behind it, as JSON."""
    return {
        "schema": SCHEMA,
        "plan": asdict(plan),
        "seeds": list(plan.seeds),
        "tuned_seeds": list(plan.tuned_seeds),
        "cells": [{**cell._asdict(), "variant": cell.variant._asdict()} for cell in cells],
        "verdicts": [verdict._asdict() for verdict in verdicts],
    }


def _table(cells: Sequence[VariantMeans]) -> Table:
    rows = ({"one": one, "costs_nothing": one.variant.method == "none" or one.rho == 0,
             "kind": "control" if one.is_control else "ours"} for one in cells)  # fmt: skip
    return table("controlled", rows)


def _verdict_table(verdicts: Sequence[Verdict]) -> Table:
    names: dict[str, list[str]] = {}  # by family
    for one in HYPOTHESES:
        names.setdefault(one.family, []).append(one.name)
    families = [f"{own[0]} to {own[-1]}" for own in names.values()]
    no_gain, no_loss = (
        [one.name for one in HYPOTHESES if one.bound == bound] for bound in (MARGIN, -INFERIOR)
    )
    rows = ({"one": one} for one in verdicts)
    return table("verdicts", rows, families=families, no_gain=no_gain, no_loss=no_loss)


def _figures(cells: Sequence[VariantMeans], num_seeds: int) -> list[Figure]:
    frozen = [cell for cell in cells if "fine-tun" not in cell.label]
    figures = [draw_accuracy(frozen, num_seeds=num_seeds)] if frozen else []
    if regained := draw_regained(cells, num_seeds=num_seeds):
        figures.append(regained)
    if any(cell.rho == _HEADLINE_RHO for cell in cells):
        figures.append(draw_trade(cells, rho=_HEADLINE_RHO, num_seeds=num_seeds))
    return figures


def _order(cell: VariantMeans) -> tuple[bool, bool, str, bool, str, float]:
    features, method, _ = cell.variant
    is_later = features in ("fine-tuned", "start")
    return is_later, cell.is_control, features, method != "none", method, cell.rho
