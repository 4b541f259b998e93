"""Whether the budget that a dry run prints is what a run takes, for the files of configs/.

    python benchmarks/budgets.py --out benchmarks/results/DATE-budgets.json

Of each file a run or some are made on the CPU, each in a process of its own: their optimiser,
rates, clipping, copies, checkpoints and stages as shipped, on a random upstream and the demo's
corpora, two steps, one micro-batch of each corpus, with nothing kept of the upstream or learnt
before step 1. Disk is what checkpoints take when a run is complete, memory the largest resident
set, time the processor's from the start of training to its end; beside them stands what
`spknorm.bench.sizes` says of the same settings. Time is told in operations: one rate for all rows
of a shape, that of the first of them, stands for the machine.

The shape is the demo's own where the file names it, elsewhere a HuBERT of 6 layers x 384: files
that differ in the upstream alone are one row. Prints one JSON line each; rows that the file of
results holds are kept.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speed.world import make_hubert

from spknorm import bench, config
from spknorm.bench.sizes import (
    checkpoint_bytes,
    kept_checkpoints,
    memory_bytes,
    operations,
    shape_of,
)
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
SMALL: dict[str, Any] = {
    "runner": {
        "total_steps": 2, "eval_step": 2, "log_step": 1, "save_step": 2, "evaluate_ratio": 0.02,
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

    train = SpknormRunner.train

    def measured(trainer: Any) -> None:
        start = time.process_time()
        train(trainer)
        write_json(trainer.expdir / SPENT, time.process_time() - start)

    SpknormRunner.train = measured  # type: ignore[method-assign, assignment]
    return run_downstream(arguments)


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
    with subprocess.Popen(command) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
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
        "memory_gb": round(used.ru_maxrss / 1e6, 3),
        "told_gflop": round(operations(shape, parsed, frozen=frozen) / 1e9, 1),
        "seconds": round(json.loads((expdir / SPENT).read_text()), 2),
    }


def main() -> int:
    """Measure run by run, write after each."""
    if sys.argv[1:2] == ["--timed"]:
        return timed(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("result/budgets"))
    parser.add_argument("--files", nargs="+", choices=sorted({case.file for case in CASES}))
    options = parser.parse_args()
    options.folder = options.folder.absolute()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    if options.out.exists():
        rows = json.loads(options.out.read_text())["rows"]
    done = {(row["file"], row["variant"]) for row in rows}
    rate = {str(row["shape"]): row["told_gflop"] / row["told_seconds"] for row in rows}
    for case in CASES:
        left_out = options.files and case.file not in options.files
        if left_out or (case.file, case.variant) in done:
            continue
        row = measure(case, options.folder)
        shape = str(row["shape"])
        rate.setdefault(shape, row["told_gflop"] / row["seconds"])
        rows.append({**row, "told_seconds": round(row["told_gflop"] / rate[shape], 2)})
        print(json.dumps(rows[-1]), flush=True)
        what = "disk, memory and time that the budget tells and that one small run took"
        command = "python benchmarks/budgets.py"
        write_json(
            options.out, {"command": command, "what": what, "versions": versions(), "rows": rows}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
