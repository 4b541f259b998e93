"""Whether the method does something with the task's own defaults, on the embedded corpora.

    python benchmarks/defaults_on_the_demo.py --out benchmarks/results/DATE-defaults.json

Every run is `run_downstream.py -d emotion_spknorm -u spknorm_demo_hubert` with the two corpora
named, the strategy, and for its controls lambda 0 or shuffled speakers; all else is the task's
config.yaml, but for --steps in the place of total_steps (4000 steps are a quarter of an hour of one
core, twice that under TAP). --frozen leaves the upstream as it is and reads its last hidden state:
what SNP's gate sees under an upstream rate of 1e-5 is nearly that, at an eighth of the time; the 32
utterances of a step then pass at once. Leakage is the accuracy of a fresh linear speaker probe on
what the heads see; differences are paired by seed. Finished runs are kept in --folder, and those of
an earlier --out are taken over by --known; one JSON line per strategy and control is printed.
"""

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from leakage_of_readings import leakage
from scipy.stats import t as student

from spknorm.cli import run_downstream
from spknorm.files import write_json
from spknorm.runs.result import versions

STRATEGIES = ("TAP", "SNP")
CONTROLS = ("lambda 0", "shuffled")
EXPERT = "config.downstream_expert."
FROZEN = ["--frozen", "-s", "last_hidden_state"]
AT_ONCE = {
    "config.runner.gradient_accumulate_steps": 1,
    EXPERT + "datarc.train_batch_size": 32,
    EXPERT + "datarc.eval_batch_size": 32,
    EXPERT + "datarc.num_workers": 0,
}
CORPORA = {EXPERT + "datarc.corpus": "demo", EXPERT + "speaker_corpus.corpus": "demo"}


def run_once(
    folder: Path,
    strategy: str,
    seed: int,
    *,
    steps: int,
    changes: dict[str, Any],
    control: str | None,
    frozen: bool,
) -> dict[str, Any]:
    """Train one model unless it is there, probe it, and return its row."""
    named = [control.replace(" ", "-")] if control else []
    parts = [strategy, *["frozen"] * frozen, *named, str(steps), str(seed)]
    expdir = folder / "-".join(parts)
    kept = expdir / "row.json"
    if kept.exists():
        row: dict[str, Any] = json.loads(kept.read_text())
        return row
    settings = {**CORPORA, EXPERT + "spknorm.strategy": strategy} | changes
    settings["config.runner.total_steps"] = steps
    if control == "lambda 0":
        settings[EXPERT + "spknorm.speaker_lambda"] = 0.0
    if control == "shuffled":
        settings[EXPERT + "speaker_corpus.shuffle_labels"] = True
    override = ",,".join(f"{key}={value!r}" for key, value in settings.items())
    status = run_downstream(
        ["-d", "emotion_spknorm", "-u", "spknorm_demo_hubert", "-p", str(expdir), "-a",
         "--seed", str(seed), "-o", override, *(FROZEN if frozen else [])]
    )  # fmt: skip
    if status:
        raise SystemExit(status)
    result = json.loads((expdir / "result.json").read_text())
    row = {
        "strategy": strategy, "control": control, "seed": seed, "wa": result["test"]["wa"],
        "best_step": result["best_step"], "leakage": leakage(expdir),
        "adversary": result.get("adversary"),
        "spknorm": result["config"]["downstream_expert"]["spknorm"] if "config" in result else None,
    }  # fmt: skip
    write_json(kept, row)
    return row


def compare(rows: Sequence[dict[str, Any]], strategy: str, control: str) -> dict[str, Any]:
    """Return means, and mean and 95 % t-interval of the differences to a control by seed."""
    with_it, without = (
        {row["seed"]: row for row in rows if (row["strategy"], row["control"]) == (strategy, kind)}
        for kind in (None, control)
    )
    seeds = sorted(set(with_it) & set(without))
    found: dict[str, Any] = {"strategy": strategy, "control": control, "seeds": seeds}
    for name in ("leakage", "wa"):
        found[name] = round(float(np.mean([with_it[seed][name] for seed in seeds])), 4)
        found[f"{name}_control"] = round(float(np.mean([without[seed][name] for seed in seeds])), 4)
        differences = np.array([with_it[seed][name] - without[seed][name] for seed in seeds])
        ends = [float(differences.mean())]
        if len(seeds) > 1:
            spread = float(differences.std(ddof=1)) / math.sqrt(len(seeds))
            half = float(student.ppf(0.975, len(seeds) - 1)) * spread
            ends += [ends[0] - half, ends[0] + half]
        found[f"{name}_difference"] = [round(value, 4) for value in ends]
    return found


def main() -> None:
    """Run what is missing, seed by seed, and write the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("result/defaults"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[200, 201, 202, 203, 204])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    parser.add_argument("--controls", nargs="+", default=CONTROLS[:1], choices=CONTROLS)
    parser.add_argument("--known", type=Path, help="an earlier file of the same steps and changes")
    parser.add_argument("--frozen", action="store_true", help="leave the upstream as it is")
    parser.add_argument("--change", nargs="*", default=[], help="KEY=VALUE, to choose defaults by")
    options = parser.parse_args()
    torch.set_num_threads(1)
    changes = dict(AT_ONCE) if options.frozen else {}
    for change in options.change:
        key, _, value = change.partition("=")
        changes[key] = json.loads(value)
    rows: list[dict[str, Any]] = []
    if options.known:
        rows = json.loads(options.known.read_text())["rows"]
    for seed in options.seeds:
        for strategy in options.strategies:
            for control in (*options.controls, None):
                asked = (strategy, control, seed)
                if asked not in {(row["strategy"], row["control"], row["seed"]) for row in rows}:
                    rows += [
                        run_once(
                            options.folder, strategy, seed, steps=options.steps,
                            changes=changes, control=control, frozen=options.frozen,
                        )
                    ]  # fmt: skip
        table = [
            compare(rows, strategy, control)
            for strategy in options.strategies
            for control in options.controls
        ]
        write_json(
            options.out,
            {
                "command": shlex.join(["python", *sys.argv]),
                "what": "the task's defaults with only corpora, upstream, strategy and number of "
                "steps named, against the same with lambda 0 or shuffled speakers: mean and 95 % "
                "t-interval of differences paired by seed",
                "changes": changes,
                "versions": versions(),
                "table": table,
                "rows": rows,
            },
        )
    for line in table:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
