"""Writes a controlled benchmark's folder as a dated result file: verdicts, cells and every row.

    ./run_downstream.sh configs/controlled.yaml
    python benchmarks/controlled_result.py --out benchmarks/results/DATE-controlled.json

A benchmark that is not complete gives what it has: every cell and verdict says over how many seeds.
"""

import argparse
import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

from spknorm.controlled.folds import ModelRow
from spknorm.controlled.grid import read_rows
from spknorm.controlled.outcome import to_record
from spknorm.controlled.plan import read_plan
from spknorm.controlled.verdicts import judge, summarise
from spknorm.files import write_atomic
from spknorm.runs.result import versions

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Read rows, judge them, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, default=HERE.parent / "configs" / "controlled.yaml")
    parser.add_argument("--folder", type=Path, default=Path("result/controlled"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    plan = read_plan(options.plan)
    rows = read_rows(plan, options.folder)
    record = to_record(plan, summarise(rows), judge(rows))
    head = {
        **record,
        "command": f"./run_downstream.sh configs/{options.plan.name}",
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "versions": versions(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one thread per process",
        "row_columns": list(ModelRow._fields),
    }
    write_atomic(options.out, _lines(head, rows))


def _lines(head: dict[str, Any], rows: list[ModelRow]) -> str:
    """Return JSON with one line per model."""
    text = json.dumps(head, indent=1, sort_keys=True)
    listed = ",\n".join(json.dumps(_short(row)) for row in rows)
    return f'{text[:-2]},\n "rows": [\n{listed}\n]}}\n'


def _short(row: ModelRow) -> list[Any]:
    return [round(v, 5) if isinstance(v, float) else v for v in row]


if __name__ == "__main__":
    main()
