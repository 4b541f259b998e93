"""Whether the budget that a dry run prints is what a run takes, for the files of configs/.

    python benchmarks/budgets.py --out benchmarks/results/DATE-budgets.json

Of each file a run or some are made on the CPU, each in a process of its own: their optimiser,
rates, clipping, copies, checkpoints and stages as shipped, on a random upstream and the demo's
corpora, ten steps, one micro-batch of each corpus, with nothing kept of the upstream or learnt
before step 1. Disk is what checkpoints take when a run is complete, memory the largest resident
set, time the processor's from the start of training to its end; beside them stands what
`spknorm.bench.sizes` says of the same settings. Time is told in operations: one rate for all rows
of a shape, that of the first of them, stands for the machine.

Tables of models (the controlled benchmark, the rivals) are made as shipped on fewer corpora, folds
and methods, what they take with their processes' start; tables of s3prl's tasks with fewer steps
and utterances, on corpora of a few tones.

The shape is the demo's own where the file names it, elsewhere a HuBERT of 6 layers x 384: files
that differ in the upstream alone are one row. Prints one JSON line each; rows that the file of
results holds are kept.
"""

import argparse
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speed.world import make_hubert

from spknorm import bench, config, controlled
from spknorm.bench import superb
from spknorm.bench.budget import ASSUMED_RATE, Budget
from spknorm.bench.sizes import (
    checkpoint_bytes,
    kept_checkpoints,
    memory_bytes,
    operations,
    shape_of,
)
from spknorm.bench.superb.plan import read_plan
from spknorm.controlled import rivals
from spknorm.controlled.rivals import RIVALS
from spknorm.files import write_json
from spknorm.registry import config_path
from spknorm.runs.result import versions

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SHAPE = {"layers": 6, "dim": 384, "ffn": 1536, "heads": 6, "dropout": 0.1, "large": False}
SPENT = "processor_seconds.json"


class Case(NamedTuple):
    """A run: its file, its variant, and the files whose settings are the same."""

    file: str
    variant: str | None
    same: tuple[str, ...] = ()


LIKE_LARGE = tuple(
    f"iemocap_{name}.yaml"
    for name in ("hubert_base", "wavlm_base_plus", "wavlm_large", "xls_r_300m", "data2vec_large")
)
CASES = (
    Case("iemocap_hubert_large.yaml", "none", LIKE_LARGE),
    Case("iemocap_hubert_large.yaml", "SNP", LIKE_LARGE),
    Case("iemocap_hubert_large.yaml", "TAP", LIKE_LARGE),
    Case("lambda_sweep.yaml", "TAP-as-printed-1e-3"),
    Case("lambda_sweep.yaml", "SNP-frozen"),
    Case("low_resource.yaml", "TAP"),
    Case("superb_er.yaml", "SNP-frozen"),
    Case("hubert_xlarge.yaml", None),
    Case("demo.yaml", "TAP"),
    Case("cross_demo.yaml", "TAP"),
)
_FEWER_STEPS = {
    "total_steps": 60,
    "eval_step": 60,
    "save_step": 60,
    "log_step": 60,
    "max_keep": 1,
    "eval_dataloaders": ["dev"],
}
_FEW = {"runner": _FEWER_STEPS, "optimizer": {"lr": 1e-2}}  # so that dev rises above 0
_FOUR = {
    "runner": {
        **_FEWER_STEPS,
        "total_steps": 4,
        "eval_step": 4,
        "save_step": 4,
        "log_step": 4,
        "gradient_accumulate_steps": 1,
    },
    "optimizer": {"lr": 1e-2},
    "downstream_expert": {"datarc": {"train_batch_size": 4}},
}
_ONE = {"rho": [0.9], "num_seeds": 1, "num_folds": 1}


class Models(NamedTuple):
    """A table of models or of tasks: its file, which part of it, and what is changed in it."""

    file: str
    variant: str
    changes: dict[str, Any]


TABLES = (
    Models(
        "controlled.yaml",
        "frozen",
        {**_ONE, "num_seeds": 2, "controls": [], "shuffled": [], "control_rho": [], "tuned": []},
    ),
    Models(
        "controlled.yaml",
        "tuned",
        {
            **_ONE, "num_seeds": 2, "methods": ["none"], "controls": [], "shuffled": [],
            "control_rho": [],
            "tuned": ["TAP"], "tuned_shuffled": [], "tuned_starts": ["none"], "baseline_rho": [],
            "tuned_num_seeds": 2, "tuned_first_seed": 100,
        },
    ),
    Models(
        "rivals.yaml",
        "every sixth",
        {**_ONE, "select_seeds": [0], "select_folds": 1, "rivals": [*RIVALS][::6]},
    ),
    Models("superb_table_demo.yaml", "raw", _FEW),
    Models("superb_table.yaml", "raw", _FOUR),
)  # fmt: skip
SMALL: dict[str, Any] = {
    "runner": {
        "total_steps": 10, "eval_step": 10, "log_step": 1, "save_step": 10, "evaluate_ratio": 0.02,
        "eval_dataloaders": ["dev"], "gradient_accumulate_steps": 1,
    },
    "upstream": {"cache": "off"},
    "downstream_expert": {
        "datarc": {"corpus": "demo", "num_workers": 0, "protocol": "si5"},
        "speaker_corpus": {"corpus": "demo"},
        "spknorm": {"speaker_pretrain_steps": 0},
    },
}  # fmt: skip


def timed(arguments: list[str]) -> int:
    """Run as `spknorm run-downstream` does, and write what its training took beside its result."""
    from spknorm.cli import run_downstream
    from spknorm.runner.engine import SpknormRunner

    from s3prl.downstream.runner import Runner  # isort: skip  # on today's libraries by now

    for kind in (SpknormRunner, Runner):
        time_training(kind)
    return run_downstream(arguments)


def time_training(kind: Any) -> None:
    """Have a runner write what its training takes; s3prl's own is evaluated apart from that."""
    train, evaluate, apart = kind.train, kind.evaluate, [0.0]

    def evaluated(runner: Any, *args: Any, **options: Any) -> Any:
        start = time.process_time()
        found = evaluate(runner, *args, **options)
        apart[0] += time.process_time() - start
        return found

    def trained(runner: Any) -> None:
        start = time.process_time()
        train(runner)
        write_json(Path(runner.args.expdir) / SPENT, time.process_time() - start - apart[0])

    kind.train = trained
    if kind.__module__.startswith("s3prl."):
        kind.evaluate = evaluated


def tabulated(path: Path, out: Path) -> int:
    """Complete a table of models, and write what it and its processes took."""
    kind = rivals if config.load_yaml(path)["kind"] == "rivals" else controlled
    out.mkdir(parents=True)
    kind.complete(kind.read_plan(path), out, progress=lambda done, total: None, workers=1)
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    write_json(out / SPENT, sum(one.ru_utime + one.ru_stime for one in spent))
    return 0


def measure_models(case: Models, folder: Path) -> dict[str, Any]:
    """Make a part of a table of models; return what was told and what was measured."""
    content = config.load_yaml(CONFIGS / case.file) | case.changes
    given, out = (folder / f"{Path(case.file).stem}-{case.variant}{end}" for end in (".yaml", ""))
    given.write_text(json.dumps(content))  # JSON is YAML
    shutil.rmtree(out, ignore_errors=True)
    kind = rivals if content["kind"] == "rivals" else controlled
    memory = run_child([sys.executable, __file__, "--models", str(given), str(out)])
    seconds = json.loads((out / SPENT).read_text())
    disk = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e9
    told = kind.needs(kind.read_plan(given))
    assert told.hours is not None
    return {**row_of(case, told, disk, memory, seconds), "told_seconds": round(told.hours * 3600)}


def measure_tasks(case: Models, folder: Path) -> dict[str, Any]:
    """Train each task of a table on its raw upstream; return what was told and was measured."""
    content = config.load_yaml(CONFIGS / case.file)
    raw = {"name": "raw", "upstream": "spknorm_demo_hubert"}
    if "demo" not in case.file:
        raw |= {"upstream": "hubert_local", "ckpt": str(folder / "hubert.pt")}
        make_hubert(folder / "hubert.pt", SHAPE)
    for task in content["tasks"]:
        task["config"] = config.merge(task.get("config", {}), case.changes)
    given, out = (folder / f"{Path(case.file).stem}{end}" for end in (".yaml", ""))
    given.write_text(json.dumps({**content, "upstreams": [raw]}))
    shutil.rmtree(out, ignore_errors=True)
    plan = read_plan(given, quick=False)
    variables, lists = superb._corpora(plan, out)
    environment = variables | roots_of_tones(folder / "tones", plan.corpora)
    memory, seconds, disk = 0.0, 0.0, 0.0
    for task in plan.tasks:
        expdir = out / task.name
        command = superb._command(plan, task, lists)[3:]
        source = superb._source(plan.upstreams[0], out)
        own = [sys.executable, __file__, "--timed", *command[1:], *source, "-p", str(expdir)]
        memory = max(memory, run_child([*own, "--device", "cpu"], environment))
        seconds += json.loads((expdir / SPENT).read_text())
        disk += sum(path.stat().st_size for path in expdir.glob("*.ckpt")) / 1e9
    shape = shape_of(raw["upstream"], raw.get("ckpt"))
    assert shape is not None
    told = superb.needs(plan)
    gflop = told.gpu_hours * 3600 * ASSUMED_RATE / 1e9
    about = {"shape": [shape.layers, shape.width], "told_gflop": round(gflop, 1)}
    return row_of(case, told, disk, memory, seconds) | about


def roots_of_tones(folder: Path, corpora: str) -> dict[str, str]:
    """Return the environment in which s3prl's tasks find corpora of tones as long as speech is."""
    if corpora == "demo":
        return {}
    sys.path.insert(0, str(CONFIGS.parent / "tests"))
    stock_trees: Any = importlib.import_module("stock_trees")
    write = stock_trees.write_tone
    stock_trees.write_tone = lambda path, seconds, pitch: write(path, 4.5, pitch)
    names = ("iemocap", "voxceleb1", "fluent_commands")
    if not folder.exists():
        for name in names:
            getattr(stock_trees, f"make_{name}")(folder / name)
    return {f"{name.upper()}_ROOT": str(folder / name) for name in names}


def row_of(
    case: Models, told: Budget, disk: float, memory: float, seconds: float
) -> dict[str, Any]:
    """Return what was told and measured, but the time that was told."""
    return {
        "file": case.file,
        "variant": case.variant,
        "told_disk_gb": round(told.disk_gb, 4),
        "disk_gb": round(disk, 4),
        "told_memory_gb": round(told.memory_gb, 3),
        "memory_gb": round(memory, 3),
        "seconds": round(seconds, 2),
    }


def run_child(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Run a process to its end; return the most memory that it or one below it had, in GB."""
    with subprocess.Popen(command, env=environment) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return used.ru_maxrss / 1e6


def settings_of(case: Case) -> tuple[dict[str, Any], bool]:
    """Return the settings of a case's run, small, and whether its upstream is frozen."""
    content, frozen = config.load_yaml(CONFIGS / case.file), False
    if case.variant is not None:
        cells = bench.expand(CONFIGS / case.file)
        cell = next(cell for cell in cells if cell.variant.startswith(case.variant))
        content, frozen = dict(cell.changes), cell.frozen
    settings = config.merge(config.load_yaml(config_path("emotion_spknorm")), content)
    settings = config.merge(settings, SMALL)
    speakers = settings["downstream_expert"]["speaker_corpus"]
    if speakers["micro_batch_size"] is not None:  # one piece
        speakers["batch_size"] = speakers["micro_batch_size"]
    for key in (
        "roots",
        "train_with",
        "test_on",
        "samples_per_label",
        "draw",
    ):  # of other protocols
        settings["downstream_expert"]["datarc"].pop(key, None)
    return settings, frozen


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Train the small run; return what was told and what was measured."""
    settings, frozen = settings_of(case)
    upstream, ckpt, options = "spknorm_demo_hubert", None, []
    if "demo" not in case.file:
        upstream, ckpt = "hubert_local", folder / "hubert.pt"
        make_hubert(ckpt, SHAPE)
        options = ["-k", str(ckpt)]
    shape = shape_of(upstream, None if ckpt is None else str(ckpt))
    assert shape is not None
    parsed = config.parse(settings)
    expdir = folder / f"{Path(case.file).stem}-{case.variant}"
    shutil.rmtree(expdir, ignore_errors=True)
    given = folder / f"{expdir.name}.yaml"
    given.write_text(json.dumps(settings))  # JSON is YAML
    command = [
        sys.executable, __file__, "--timed", "-m", "train", "-d", "emotion_spknorm", "-u", upstream,
        *options, "-c", str(given), "-p", str(expdir), "--device", "cpu",
        "--frozen" if frozen else "-f",
    ]  # fmt: skip
    memory = run_child(command)
    disk = sum(path.stat().st_size for path in expdir.glob("*.ckpt")) / 1e9
    told = checkpoint_bytes(shape, parsed, frozen=frozen) * kept_checkpoints(parsed) / 1e9
    return {
        "file": case.file,
        "variant": case.variant,
        "same_settings": case.same,
        "shape": [shape.layers, shape.width],
        "told_disk_gb": round(told, 4),
        "disk_gb": round(disk, 4),
        "told_memory_gb": round(memory_bytes(shape, parsed, frozen=frozen) / 1e9, 3),
        "memory_gb": round(memory, 3),
        "told_gflop": round(operations(shape, parsed, frozen=frozen) / 1e9, 1),
        "seconds": round(json.loads((expdir / SPENT).read_text()), 2),
    }


def main() -> int:
    """Measure run by run, write after each."""
    if sys.argv[1:2] == ["--timed"]:
        return timed(sys.argv[2:])
    if sys.argv[1:2] == ["--models"]:
        return tabulated(*map(Path, sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("result/budgets"))
    parser.add_argument(
        "--files", nargs="+", choices=sorted({case.file for case in (*CASES, *TABLES)})
    )
    options = parser.parse_args()
    options.folder = options.folder.absolute()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    if options.out.exists():
        rows = json.loads(options.out.read_text())["rows"]
    done = {(row["file"], row["variant"]) for row in rows}
    shaped = (row for row in rows if "told_gflop" in row)
    rate = {str(row["shape"]): row["told_gflop"] / row["told_seconds"] for row in shaped}
    for case in (*CASES, *TABLES):
        left_out = options.files and case.file not in options.files
        if left_out or (case.file, case.variant) in done:
            continue
        if isinstance(case, Case):
            row = measure(case, options.folder)
        else:
            of_tasks = case.file.startswith("superb")
            row = (measure_tasks if of_tasks else measure_models)(case, options.folder)
        if "told_gflop" in row:
            shape = str(row["shape"])
            rate.setdefault(shape, row["told_gflop"] / row["seconds"])
            row["told_seconds"] = round(row["told_gflop"] / rate[shape], 2)
        rows.append(row)
        print(json.dumps(rows[-1]), flush=True)
        what = "disk, memory and time that the budget tells and that one small run took"
        command = "python benchmarks/budgets.py"
        write_json(
            options.out, {"command": command, "what": what, "versions": versions(), "rows": rows}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
