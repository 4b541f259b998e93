"""What the comparison hands out: a table, a record and one page.

Last in the flow; everything here comes from the rows, and every number it shows is in rivals.json.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from spknorm.controlled.outcome import write_page
from spknorm.controlled.rivals.grid import RivalRow
from spknorm.controlled.rivals.plan import Plan
from spknorm.controlled.rivals.ranking import Gain, Rank, Standing, rank
from spknorm.controlled.rivals.table import RIVALS
from spknorm.report.tables import NOTHING, Section, signed_points, span
from spknorm.report.words import Line, table

SCHEMA = "spknorm.rivals/1"
_BASELINES = {"none": "emotion head alone", "gate": "gate without adversary"}


def write_outcome(plan: Plan, chosen: dict[str, float], rows: Sequence[RivalRow], out: Path) -> str:
    """Write rivals.json, table.md and report.html into `out`; return the tables as text."""
    standings = rank(plan, chosen, rows)
    lines, seeds = [_line(one) for one in standings], sorted({row.seed for row in rows})
    ranking = table(
        "ranking", lines, rho=plan.rho[0], num_corpora=len(seeds), num_folds=plan.num_folds
    )
    prices = table("prices", lines)
    record = {
        "schema": SCHEMA,
        "plan": asdict(plan),
        "seeds": seeds,
        "strengths": {one: list(RIVALS[one].strengths) for one in plan.rivals},
        "standings": [
            {
                name: value._asdict() if isinstance(value, Gain | Rank) else value
                for name, value in {**one._asdict(), "verdict": one.verdict}.items()
            }
            for one in standings
        ],
    }
    sections = [
        Section(name="ranking", title="Ranking", parts=[ranking]),
        Section(name="prices", title="What it takes", parts=[prices]),
    ]
    remark = "Strengths were chosen on other corpora, by one rule for all: docs/rivals.md."
    tables, path = [ranking, prices], out / "rivals.json"
    return write_page(path, record, tables, sections, title="Rivals", remark=remark)


def _points(gain: Gain | None) -> list[str]:
    if gain is None:
        return [NOTHING, NOTHING]
    around = NOTHING if gain.low is None else span(gain.low, gain.high, signed_points)
    return [signed_points(gain.mean), around]


def _place(found: Rank | None) -> str:
    if found is None:
        return NOTHING
    return f"{found.place}{f' ({found.best}-{found.worst})' if found.best else ''}"


def _line(one: Standing) -> Line:
    return {
        "one": one,
        "rival": RIVALS.get(one.method),
        "title": _BASELINES.get(one.method) or RIVALS[one.method].title,
        "place": _place(one.rank),
        "gain": _points(one.gain),
        "control": _points(one.control),
        "worst_gain": _points(one.worst_gain),
        "cost": _points(one.cost),
        "kind": "control" if one.method in _BASELINES else "ours",
    }
