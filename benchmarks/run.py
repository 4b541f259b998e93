"""Measures every speed figure of docs/performance.md against its target.

    pip install -c constraints.txt '.[benchmark]'
    python benchmarks/run.py                     all figures (about half an hour on two cores)
    python benchmarks/run.py --only finetune     one family of figures
    python benchmarks/run.py --quick             two layers and short audio: does it run?

Prints one JSON line per figure, then a table, and writes results/<date>-speed.json, as it goes:
what is cut off is there, marked as incomplete. Run it on a machine that does nothing else: the load
average is in the file.
"""

import argparse
import datetime
import functools
import importlib.util
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from speed import (  # noqa: E402
    breakdown,
    families,
    finetune,
    frozen,
    full_size,
    gpu,
    measure,
    reading,
    timeline,
)

import spknorm.compat  # noqa: E402, F401

FAMILIES = {
    "reading": reading.measure,
    "timeline": timeline.measure,
    "finetune": finetune.measure,
    "bfloat16": finetune.measure_bfloat16,
    "families": families.measure,
    "whole": families.measure_whole,
    "frozen": frozen.measure,
    "options": finetune.measure_options,
    "compile": finetune.measure_compiled,
    "breakdown": breakdown.measure,
    "gpu": gpu.measure,
    "xlarge": full_size.measure_xlarge,
    "large": full_size.measure_families,
}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--quick", action="store_true", help="tiny sizes; nothing is written")
    parser.add_argument(
        "--short", action="store_true",
        help="half the audio per batch, a quarter of the utterances: the same ratios, sooner",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="where upstreams and corpora are kept")
    parser.add_argument("--out", type=Path, help="result file; results are added to those in it")
    parser.add_argument(
        "--clock", choices=measure.CLOCKS, default="wall",
        help="cpu: processor seconds in one thread, for a machine that others use, too",
    )  # fmt: skip
    arguments = parser.parse_args()
    alone = arguments.only == ["gpu"]
    if alone and (reason := gpu.reason_unmeasurable()) is not None:
        sys.exit(f"Nothing was measured on a GPU: {reason}.")
    needs_peer = {"finetune", "bfloat16", "gpu"} & set(arguments.only)
    if needs_peer and importlib.util.find_spec("accelerate") is None:
        parser.error(
            "transformers' Trainer, one of the peers, needs accelerate, which is not installed: "
            "pip install -c constraints.txt '.[benchmark]', or name other families with --only"
        )
    measure.use_clock(arguments.clock)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    figures: list[dict[str, Any]] = []
    before = measure.machine("cuda") if alone else measure.machine()
    today = datetime.datetime.now(datetime.UTC).date()
    path = arguments.out or HERE / "results" / f"{today}-{'gpu' if alone else 'speed'}.json"
    options = f"--clock {arguments.clock}{' --short' if arguments.short else ''}"
    keep = functools.partial(write, path, figures, before, options=options)
    with tempfile.TemporaryDirectory(prefix="spknorm-benchmark-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for family in arguments.only:
            for figure in FAMILIES[family](folder, quick=arguments.quick, short=arguments.short):
                figures.append({"family": family, **figure.as_json()})
                print(json.dumps(figures[-1]), flush=True)
                if not arguments.quick:
                    keep(complete=False)
    print(table(figures))
    if not arguments.quick:
        keep(complete=True)
    return 0


def table(figures: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| figure | measured | target | |", "|---|---:|---:|---|"]
    for figure in figures:
        sign = "at least" if figure["at_least"] else "at most"
        target = "" if figure["target"] is None else f"{sign} {figure['target']:g}"
        value = "" if figure["value"] is None else f"{figure['value']:.3g} {figure['unit']}"
        verdict = figure["verdict"]
        note = f"{verdict}; {figure['note']}" if figure["note"] else verdict
        lines.append(f"| {figure['name']} | {value} | {target} | {note} |")
    return "\n".join(lines)


def write(
    path: Path,
    figures: list[dict[str, Any]],
    before: dict[str, Any],
    *,
    options: str,
    complete: bool = True,
) -> None:
    """Write the result file; families measured earlier stay in it, with their machine's state."""
    content: dict[str, Any] = {"schema": "spknorm.speed/1"}
    if path.exists():
        content = json.loads(path.read_text())
    runs = content.setdefault("runs", [])
    families = sorted({figure["family"] for figure in figures})
    runs[:] = [run for run in runs if not set(run["families"]) <= set(families)]
    run: dict[str, Any] = {
        "families": families,
        "command": f"python benchmarks/run.py {options} --only {' '.join(families)}",
        "machine": before,
        "figures": figures,
    }
    if complete:
        after = measure.machine("cuda") if before.get("gpu") else measure.machine()
        run |= {f"{key}_after": after[key] for key in ("load_average", "matrix_gflops")}
    else:
        run["incomplete"] = True
    runs.append(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
