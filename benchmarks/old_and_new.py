"""A training step of another commit against today's on the CPU, in turns, in processor seconds.

    python benchmarks/old_and_new.py --out FILE [--only CASE ...] [--turns 2] [--commit 3532b1f]

Processor time, so that it may be run on a machine that others use, too. Each turn is a run of
run_downstream.py in a process of its own, on the embedded corpora. A step is what lies between the
ends of two: batches, passes, updates; the peak of memory is that of the whole run. What FILE has of
other cases, or of earlier turns, stays; `cases` in it, and a table at the end, have both trees'
medians over all turns of the same commits.
"""

import argparse
import itertools
import json
import os
import platform
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

DEMO = {f"downstream_expert.{one}.corpus": "demo" for one in ("datarc", "speaker_corpus")}
QUIET = {
    "downstream_expert.datarc.num_workers": 0, "runner.eval_step": 100_000,
    "runner.save_step": 100_000, "runner.log_step": 100_000, "runner.eval_dataloaders": "[]",
}  # fmt: skip
LITERAL = {"downstream_expert.spknorm.update": "literal"}
ASCENT = {"downstream_expert.spknorm.adversary": "ascent"}
SMALL = {
    "runner.gradient_accumulate_steps": 1, "downstream_expert.datarc.train_batch_size": 4,
    "downstream_expert.speaker_corpus.batch_size": 4,
}  # fmt: skip
TODAY = {"downstream_expert.spknorm.speaker_pretrain_steps": 0}  # it had none
STRATEGY = "downstream_expert.spknorm.strategy"
CASES: dict[str, dict[str, Any]] = {
    **{f"demo, {one}, defaults": {STRATEGY: one} for one in ("none", "SNP", "TAP")},
    **{
        f"demo, {one}, literal ascent": {STRATEGY: one, **LITERAL, **ASCENT}
        for one in ("SNP", "TAP")
    },
    "95 M weights, TAP, literal ascent": {STRATEGY: "TAP", **LITERAL, **ASCENT, **SMALL},
}
_SKIPPED = 3


def main() -> int:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=CASES, default=[*CASES], metavar="CASE")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--commit", default="3532b1f")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = folder / "tree"
        old.mkdir()
        command = ["git", "archive", asked.commit]
        packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(old)], input=packed, check=True)
        for case in asked.only * asked.turns:
            for tree, path in (("old", old), ("new", ROOT)):
                found = _run(path, folder, case, today=tree == "new")
                run = {"case": case, "tree": tree, "commit": _commit(tree, asked.commit), **found}
                print(json.dumps(run), flush=True)
                _add(asked.out, run)
    for case, found in json.loads(asked.out.read_text())["cases"].items():
        print(
            f"{case}: step {found['old_s']:.3f} s before, {found['new_s']:.3f} s now "
            f"({found['new_s'] / found['old_s']:.2f}); peak {found['old_mb']:.0f} MB before, "
            f"{found['new_mb']:.0f} MB now ({found['new_mb'] / found['old_mb']:.2f}); "
            f"{found['turns']} turns"
        )
    return 0


def _run(tree: Path, folder: Path, case: str, *, today: bool) -> dict[str, Any]:
    """Do a run in a process of its own; return its step's median, spread and peak of memory."""
    whole = case.startswith("95 M")
    sections = {**DEMO, **QUIET, **CASES[case], **(TODAY if today else {})}
    sections["runner.total_steps"] = 8 if whole else 20
    changes = ",,".join(f"config.{key}={value}" for key, value in sections.items())
    place = tempfile.mkdtemp(dir=folder)
    run = ["-m", "train", "-d", "emotion_spknorm", "-f", "-p", place, "-o", changes]
    upstream = ["-u", "spknorm_demo_hubert"]
    if whole:
        from speed.world import BASE, make_hubert

        upstream = ["-u", "hubert_local", "-k", str(make_hubert(folder / "base.pt", BASE))]
    done = subprocess.run(
        [sys.executable, __file__, "--inside", str(tree), *run, *upstream, "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "SPKNORM_CACHE": str(folder / "cache")},
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    told = json.loads(done.stdout.splitlines()[-1])
    ends: list[float] = told.pop("ends")
    steps = [after - before for before, after in itertools.pairwise(ends)][_SKIPPED:]
    peak = int(done.stderr.splitlines()[-1])
    return {"median": statistics.median(steps), "least": min(steps), "most": max(steps),
            "steps": len(steps), "peak_mb": peak / 1e3, **told}  # fmt: skip


def _inside(tree: Path, arguments: list[str]) -> None:
    """Run a tree's run_downstream.py; print the processor time at the end of each step.

    Beside it stands what was resident when all was imported, and before the first step.
    """
    import resource

    sys.path.insert(0, str(tree))
    from spknorm.runner import iteration

    own, ends = iteration.Iteration.__call__, list[float]()
    told: dict[str, Any] = {"ends": ends, "imported_mb": _resident_mb()}

    def timed(self: Any, *batches: Any) -> None:
        told.setdefault("begun_mb", _resident_mb())
        own(self, *batches)
        ends.append(time.process_time())

    iteration.Iteration.__call__ = timed  # type: ignore[method-assign, assignment]
    sys.argv = ["run_downstream.py", *arguments]
    try:
        runpy.run_path(str(tree / "run_downstream.py"), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    print(json.dumps(told))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _commit(tree: str, old: str) -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    head = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return old if tree == "old" else head


def _add(path: Path, run: dict[str, Any]) -> None:
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    runs = [*content.get("runs", []), run]
    content |= {
        "command": "python benchmarks/old_and_new.py --out FILE",
        "date": str(date.today()),
        "unit": "processor seconds of a step, one thread",
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "cases": _cases(runs),
        "runs": runs,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _cases(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return each case's medians of both trees, over the turns of the commits measured last."""
    last = {run["tree"]: run["commit"] for run in runs}
    found = {}
    for case in dict.fromkeys(run["case"] for run in runs):
        of = {
            tree: [r for r in runs if (r["case"], r["tree"], r["commit"]) == (case, tree, commit)]
            for tree, commit in last.items()
        }
        if all(of.get(tree) for tree in ("old", "new")):
            found[case] = {
                f"{tree}_{unit}": statistics.median(run[key] for run in of[tree])
                for tree in ("old", "new")
                for unit, key in (("s", "median"), ("mb", "peak_mb"))
            } | {"turns": min(len(of["old"]), len(of["new"]))}
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        _inside(Path(sys.argv[2]), sys.argv[3:])
        sys.exit(0)
    sys.exit(main())
