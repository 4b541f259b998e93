"""Each rival on planted Gaussians, against its own theory, with its control.

    python benchmarks/planted_rivals.py --folder OUT --out RESULT.json

World, theory, settings and draws are the tests' (`tests/planted.py`, `tests/planted_theory.py`);
settings were chosen on draws 11 to 18. What OUT holds is not computed again.
"""

import argparse
import datetime
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import planted_theory
import torch
from planted_theory import FRESH, SETTINGS, Trial

from spknorm.files import read_json, write_json
from spknorm.runs.result import versions

WITHIN = 0.02


def trial_of(name: str, seed: int, folder: Path) -> Trial:
    """Return how a rival ends, computed unless it is there."""
    path = folder / f"{name}-{seed}.json"
    if not path.is_file():
        write_json(path, planted_theory.attempt(name, seed)._asdict())
    return Trial(**read_json(path))


def line_of(name: str, trials: list[Trial]) -> dict[str, Any]:
    """Return a rival's line: means over draws, and standard errors, in points."""
    theory, measured, control = 100 * np.array(trials).T
    gap, root = measured - theory, len(trials) ** 0.5
    strength, steps = SETTINGS[name]
    return {
        "rival": name,
        "strength": strength,
        "steps": steps,
        "theory": round(float(theory.mean()), 2),
        "measured": round(float(measured.mean()), 2),
        "gap": round(float(gap.mean()), 2),
        "gap_error": round(float(gap.std(ddof=1)) / root, 2),
        "largest_gap": round(float(gap[np.abs(gap).argmax()]), 2),
        "control": round(float(control.mean()), 2),
        "control_error": round(float(control.std(ddof=1)) / root, 2),
        "largest_control": round(float(control[np.abs(control).argmax()]), 2),
        "within": bool(np.abs(gap).max() <= 100 * WITHIN),
        "control_does_nothing": bool(abs(control.mean()) <= 100 * WITHIN),
    }


def main() -> None:
    """Try all rivals on all their draws, print their lines, write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for what is done")
    parser.add_argument("--out", type=Path, required=True, help="result file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name in SETTINGS:
        lines.append(line_of(name, [trial_of(name, seed, options.folder) for seed in FRESH]))
        print(lines[-1], flush=True)
    content = {
        "command": "python benchmarks/planted_rivals.py",
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "draws": FRESH,
        "what": "accuracies in per cent on the same utterances; within: gap at most 2 points on "
        "every draw; control_does_nothing: 2 points at most from theory, either way, on average",
        "versions": versions(),
        "rivals": lines,
    }
    write_json(options.out, content)


if __name__ == "__main__":
    main()
