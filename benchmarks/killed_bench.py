"""A bench of 12 real runs, killed five times at random moments, against an undisturbed one.

Every kill is SIGKILL, in turns of the whole process group and of the bench alone, whose runs then
live on. At the end both have to hold 12 results that are equal but for `seconds`, and equal
training curves. Prints one JSON line; the exit status is 1 if anything differs.

    python benchmarks/killed_bench.py --folder /tmp/killed
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from spknorm import bench

EXPERIMENT = """\
name: killed
config:
  runner: {total_steps: 30, eval_step: 10, log_step: 5, save_step: 5, gradient_accumulate_steps: 1}
  downstream_expert:
    datarc: {corpus: demo, train_turns: improvised, test_turns: scripted, train_batch_size: 8,
             eval_batch_size: 32, num_workers: 0}
    speaker_corpus: {corpus: demo, batch_size: 8}
upstreams: [spknorm_demo_hubert]
variants: [{strategy: none, frozen: true}, {strategy: SNP, frozen: true}, {strategy: TAP}]
protocols: [{protocol: si5, folds: [fold1, fold2]}]
seeds: [1, 2]
executor: {kind: local, max_parallel: 2}
"""
PROGRAM = "import sys; from spknorm.cli import main; sys.exit(main(sys.argv[1:]))"
NUM_KILLS = 5


def start(experiment: Path, out: Path) -> "subprocess.Popen[bytes]":
    """Start the bench in a process group of its own."""
    arguments = ["bench", str(experiment), "--out", str(out)]
    log = (out.parent / f"{out.name}.log").open("ab")
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def complete(experiment: Path, out: Path) -> int:
    """Return how many cells are complete."""
    statuses = bench.plan(experiment, out).statuses
    return sum(one.status == "complete" for one in statuses)


def main() -> int:
    """Run both benches, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    experiment = arguments.folder / "killed.yaml"
    experiment.write_text(EXPERIMENT)
    outs = {name: arguments.folder / name for name in ("undisturbed", "killed")}
    began = time.monotonic()
    status = start(experiment, outs["undisturbed"]).wait()
    took = time.monotonic() - began
    generator = random.Random(arguments.seed)
    after, at_work = [], 0
    for kill in range(NUM_KILLS):
        process = start(experiment, outs["killed"])
        while complete(experiment, outs["killed"]) < 2 * kill and process.poll() is None:
            time.sleep(0.2)  # so that every kill finds a bench at work
        time.sleep(generator.uniform(0.0, 10.0))
        at_work += process.poll() is None
        if kill % 2:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        after.append(complete(experiment, outs["killed"]))
    status = status or start(experiment, outs["killed"]).wait()
    cells = bench.expand(experiment)
    unequal = [
        f"{cell.name}/{name}"
        for cell in cells
        for name, read in (("result.json", _result), ("metrics.jsonl", Path.read_bytes))
        if read(outs["killed"] / cell.name / name) != read(outs["undisturbed"] / cell.name / name)
    ]
    found = {
        "cells": len(cells),
        "complete": complete(experiment, outs["killed"]),
        "complete_after_each_kill": after,
        "kills_at_work": at_work,
        "unequal": unequal,
        "seconds_undisturbed": round(took, 1),
        "seed": arguments.seed,
    }
    print(json.dumps(found))
    return int(bool(status or unequal or found["complete"] != len(cells)))


def _result(path: Path) -> dict[str, object]:
    return {**json.loads(path.read_text()), "seconds": None}


if __name__ == "__main__":
    sys.exit(main())
