"""Whether the budget that a dry run prints is what a run takes, for files of configs/ as shipped.

    python benchmarks/budgets.py --out benchmarks/results/DATE-budgets.json

Of each file one run under TAP is made on the CPU, in a process of its own: its optimiser, rates,
clipping, copies and checkpoints on a random upstream of the shape that it is for, but on the
demo's corpora, for one step, one micro-batch of each corpus, from an untrained speaker head. Disk
is what its checkpoints take when it is complete, memory the largest resident set, beside what
`spknorm.bench.budget` says of the same settings. X-Large needs more than a small machine has: its
recipe runs on the shape of Large. Prints one JSON line per file.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speed.world import BASE, LARGE, make_hubert

from spknorm import bench, config
from spknorm.bench.budget import checkpoint_bytes, kept_checkpoints, memory_bytes, shape_of
from spknorm.files import write_json
from spknorm.registry import config_path
from spknorm.runs.result import versions

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class Case(NamedTuple):
    """A file of configs/ and the shape that it is measured on; None: the demo's upstream."""

    file: str
    shape: dict[str, Any] | None


CASES = (
    Case("demo.yaml", None),
    Case("iemocap_hubert_base.yaml", BASE),
    Case("hubert_xlarge.yaml", LARGE),
)
SMALL: dict[str, Any] = {
    "runner": {
        "total_steps": 1, "eval_step": 1, "log_step": 1, "save_step": 1, "evaluate_ratio": 0.02,
        "eval_dataloaders": ["dev"], "gradient_accumulate_steps": 1,
    },
    "downstream_expert": {
        "datarc": {"corpus": "demo", "num_workers": 0},
        "speaker_corpus": {"corpus": "demo"},
        "spknorm": {"speaker_pretrain_steps": 0},
    },
}  # fmt: skip


def settings_of(file: str) -> dict[str, Any]:
    """Return the settings of the file's run under TAP, small."""
    content = config.load_yaml(CONFIGS / file)
    if "upstreams" in content or "extends" in content:
        cells = bench.expand(CONFIGS / file)
        content = next(dict(cell.changes) for cell in cells if cell.variant == "TAP")
    settings = config.merge(config.load_yaml(config_path("emotion_spknorm")), content)
    settings = config.merge(settings, SMALL)
    speakers = settings["downstream_expert"]["speaker_corpus"]
    if speakers["micro_batch_size"] is not None:  # one piece
        speakers["batch_size"] = speakers["micro_batch_size"]
    return settings


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Train the small run; return what was told and what was measured."""
    settings = settings_of(case.file)
    upstream, ckpt, options = "spknorm_demo_hubert", None, []
    if case.shape is not None:
        upstream, ckpt = "hubert_local", folder / f"hubert-{case.shape['layers']}.pt"
        make_hubert(ckpt, case.shape)
        options = ["-k", str(ckpt)]
    shape = shape_of(upstream, None if ckpt is None else str(ckpt))
    assert shape is not None
    parsed = config.parse(settings)
    expdir = folder / Path(case.file).stem
    shutil.rmtree(expdir, ignore_errors=True)
    given = folder / f"{expdir.name}.yaml"
    given.write_text(json.dumps(settings))  # JSON is YAML
    command = [
        sys.executable, "-m", "spknorm", "run-downstream", "-d", "emotion_spknorm", "-u", upstream,
        *options, "-c", str(given), "-p", str(expdir), "--device", "cpu",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    kept = kept_checkpoints(parsed)
    disk = sum(path.stat().st_size for path in expdir.glob("*.ckpt")) / 1e9
    row = {
        "file": case.file,
        "layers": shape.layers,
        "width": shape.width,
        "told_disk_gb": checkpoint_bytes(shape, parsed, frozen=False) * kept / 1e9,
        "disk_gb": disk,
        "told_memory_gb": memory_bytes(shape, parsed, frozen=False) / 1e9,
        "memory_gb": used.ru_maxrss / 1e6,
        "processor_seconds": used.ru_utime + used.ru_stime,
    }
    return {key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()}


def main() -> None:
    """Measure file by file, write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("result/budgets"))
    parser.add_argument("--files", nargs="+", choices=[case.file for case in CASES])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in CASES:
        if options.files and case.file not in options.files:
            continue
        rows.append(measure(case, options.folder))
        print(json.dumps(rows[-1]), flush=True)
        write_json(
            options.out,
            {
                "command": "python benchmarks/budgets.py",
                "what": "disk and memory that the budget tells and that one small run took",
                "versions": versions(),
                "rows": rows,
            },
        )


if __name__ == "__main__":
    main()
