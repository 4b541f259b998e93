"""What the reports say of made-up results, recorded, so that a rebuilt report can be held to it.

    python tests/record_reports.py              # compare with tests/recorded/
    python tests/record_reports.py --write      # record anew, where a change was meant

A bench of 117 runs (tests/fake_results.py): its table.csv, table.md and table.tex, the table that
the bench prints, and what the page says of its pictures; tables of an audit, of SUPERB and of the
controlled benchmark. test_recorded_reports.py compares: numbers to 1e-9, texts to the letter.
"""

import argparse
import difflib
import html
import json
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests" / "recorded"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
UPSTREAM = "hubert_large_ll60k"
METHODS = (("none", 0.0), ("SNP", 1e-3), ("TAP", 1e-3))


def make_117_runs(folder):
    """Write 72 runs under si5 and sd, and 45 of low_resource, into one bench."""
    from fake_results import make_bench

    parts = []
    grids = {"protocols": ("si5", "sd"), "seeds": (0, 1), "erasures": ("leace", "znorm")}
    low = {"protocols": ("low_resource",), "num_samples": (50, 300, 1000), "draws": (0,)}
    for options in (grids | {"shuffled": True}, low):
        make_bench(folder, methods=METHODS, upstreams=(UPSTREAM,), **options)
        parts += json.loads((folder / "summary.json").read_text())["cells"]
    runs = [json.loads((folder / cell["name"] / "result.json").read_text()) for cell in parts]
    for run, cell in zip(runs, parts, strict=True):
        method = run["config"]["downstream_expert"]["spknorm"]
        run["variant"] = method["strategy"] if method["erasure"] == "none" else method["erasure"]
        run["expdir"] = cell["name"]
    summary = json.loads((folder / "summary.json").read_text()) | {"cells": parts, "runs": runs}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def outputs(folder):
    """Return name -> text of everything that is recorded."""
    from spknorm import report

    make_117_runs(folder)
    report.build(folder)
    found = {name: (folder / name).read_text() for name in ("table.csv", "table.md", "table.tex")}
    found["pictures.txt"] = pictures_of((folder / "report.html").read_text())
    found["bench.txt"] = report.text(folder) + "\n"
    found["audit.txt"] = audit_table(folder)
    found["superb.txt"] = superb_table()
    found["controlled.txt"] = controlled_text()
    return found


def pictures_of(page):
    """Return what the page says of its pictures, one line each."""
    texts = re.findall(r'<img [^>]*alt="([^"]*)"', page)
    return "".join(f"{html.unescape(text)}\n" for text in texts)


def audit_table(folder):
    """Return the audit's table of the bench's probes."""
    from spknorm.probe import audit
    from spknorm.runs.probes import ProbeRow

    rows = []
    for path in sorted(folder.rglob("probe.json")):
        for row in json.loads(path.read_text())["rows"]:
            row |= {"frozen": False, "run": path.parent.name}
            rows.append(ProbeRow(**row))
            if row["control"] == "chance":  # the made-up audits tell it of the linear probe alone
                rows += [ProbeRow(**row | {"probe": name}) for name in ("mlp", "knn", "eer")]
    return audit.table(rows) + "\n"


def superb_table():
    """Return SUPERB's table of some made-up cells."""
    from spknorm.bench.superb import TaskScore, table
    from spknorm.report.tables import to_text

    scores = (("ER", "raw", 0.625), ("SID", "raw", 0.8125), ("ER", "TAP", 0.65))
    cells = [TaskScore(task, row, Path("x"), score, 10, "") for task, row, score in scores]
    cells.append(
        TaskScore("SID", "TAP", Path("x"), None, None, "out of memory (exit 1, x/run.log)")
    )
    return to_text(table(cells)) + "\n"


def controlled_text():
    """Return the controlled benchmark's tables of made-up rows."""
    from controlled_rows import rows_of, world_of

    from spknorm.controlled.outcome import write_outcome
    from spknorm.controlled.plan import Plan

    with tempfile.TemporaryDirectory() as folder:
        return write_outcome(Plan(), rows_of(world_of()), Path(folder)) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="record anew")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory() as folder:
        found = outputs(Path(folder))
    RECORDED.mkdir(exist_ok=True)
    differs = False
    for name, text in found.items():
        path = RECORDED / name
        before = path.read_text() if path.exists() else ""
        differs |= before != text
        if write:
            path.write_text(text)
        else:
            changes = difflib.unified_diff(before.splitlines(), text.splitlines(), name, name, n=0)
            sys.stdout.writelines(f"{line}\n" for line in changes)
    return int(differs and not write)


if __name__ == "__main__":
    sys.exit(main())
