"""How far each reading and each adversary lowers leakage on the demo, against plain fine-tuning.

    python benchmarks/leakage_of_readings.py --out benchmarks/results/DATE-readings.json

Every run is an ordinary run_downstream, fine-tuned from the last hidden state, on fold, seed and
batches of its control (strategy none). Leakage is the accuracy of a fresh linear speaker probe on
what the heads see. Settings were chosen on seed 0, fold 1 (one pass over a coarse grid); the seeds
here are others. It can be stopped and started again: finished runs are kept in --folder.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy.stats import t as student

from spknorm.cli import run_downstream
from spknorm.files import write_json
from spknorm.probe import Pooled, run_probe
from spknorm.probe.audit.pooling import own_model, pool_features
from spknorm.probe.audit.questions import Asked, questions_for
from spknorm.probe.audit.runs import find_runs
from spknorm.runs.result import versions

METHOD = "config.downstream_expert.spknorm."
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"strategy": "none"},
    "TAP reversal": {"strategy": "TAP", "update": "reversal", "speaker_lambda": 0.3},
    "SNP reversal": {"strategy": "SNP", "update": "reversal", "speaker_lambda": 0.3},
    "TAP literal": {"strategy": "TAP", "update": "literal", "speaker_lambda": 0.03},
    "SNP literal": {"strategy": "SNP", "update": "literal", "speaker_lambda": 0.03},
    "TAP adaptive": {"strategy": "TAP", "update": "adaptive", "ascent_lr": 3e-4},
    "SNP adaptive": {"strategy": "SNP", "update": "adaptive", "ascent_lr": 1e-3},
    "TAP confusion": {
        "strategy": "TAP", "update": "reversal", "adversary": "confusion", "speaker_lambda": 1.0,
    },
    "TAP entropy": {
        "strategy": "TAP", "update": "reversal", "adversary": "entropy", "speaker_lambda": 1.0,
    },
    "SNP confusion": {
        "strategy": "SNP", "update": "reversal", "adversary": "confusion", "speaker_lambda": 1.0,
    },
    "SNP entropy": {
        "strategy": "SNP", "update": "reversal", "adversary": "entropy", "speaker_lambda": 1.0,
    },
}  # fmt: skip
COMMON = {
    "config.runner.total_steps": 60,
    "config.runner.eval_step": 30,
    "config.runner.save_step": 60,
    "config.runner.log_step": 10,
    "config.runner.clip": "group",
    "config.runner.gradient_accumulate_steps": 1,
    "config.optimizer.lr": 3e-3,
    "config.optimizer.groups": {"upstream": {"lr": 1e-3}, "speaker_head": {"lr": 1e-2}},
    "config.downstream_expert.datarc.corpus": "demo",
    "config.downstream_expert.datarc.train_turns": "improvised",
    "config.downstream_expert.datarc.test_turns": "scripted",
    "config.downstream_expert.datarc.train_batch_size": 32,
    "config.downstream_expert.datarc.eval_batch_size": 32,
    "config.downstream_expert.datarc.num_workers": 0,
    "config.downstream_expert.speaker_corpus.corpus": "demo",
    "config.downstream_expert.speaker_corpus.batch_size": 32,
    "config.downstream_expert.speaker_corpus.micro_batch_size": None,
    "config.downstream_expert.speaker_corpus.max_seconds": None,
    "config.downstream_expert.modelrc.projector_dim": 64,
    "config.downstream_expert.modelrc.speaker_head": {"hidden": [64], "batch_norm": True},
    METHOD + "schedule": "linear",
}
PROBED_SPEAKERS = 40


def run_once(folder: Path, variant: str, fold: str, seed: int) -> dict[str, Any]:
    """Train one model unless it is there, probe it, and return its row."""
    expdir = folder / f"{variant.replace(' ', '-')}-{fold}-{seed}"
    kept = expdir / "row.json"
    if kept.exists():
        row: dict[str, Any] = json.loads(kept.read_text())
        return row
    changes = {**COMMON, **{METHOD + key: value for key, value in VARIANTS[variant].items()}}
    override = ",,".join(f"{key}={value!r}" for key, value in changes.items())
    status = run_downstream(
        ["-d", "emotion_spknorm", "-u", "spknorm_demo_hubert", "-p", str(expdir), "-a",
         "-v", fold, "--seed", str(seed), "-o", override]
    )  # fmt: skip
    if status:
        raise SystemExit(status)
    result = json.loads((expdir / "result.json").read_text())
    row = {
        "variant": variant, "fold": fold, "seed": seed, "wa": result["test"]["wa"],
        "leakage": leakage(expdir), "speaker_loss": result["final"]["speaker_loss"],
    }  # fmt: skip
    write_json(kept, row)
    return row


def leakage(expdir: Path) -> float:
    """Return the accuracy of a fresh linear probe of the speaker, on the speaker corpus."""
    (run,) = find_runs([expdir], every_run=True)
    questions = [
        question
        for question in questions_for(run, Asked(max_speakers=PROBED_SPEAKERS))
        if (question.corpus, question.label) == ("speaker", "speaker")
    ]
    pooled = pool_features(run, own_model(run, "cpu"), questions, device="cpu")
    (question,) = questions
    train = Pooled(pooled.of(question, "train").layer(-1), question.classes)
    test = Pooled(pooled.of(question, "test").layer(-1), question.truth, question.clusters)
    return run_probe("linear", train, test).score


def compare(rows: Sequence[dict[str, Any]], variant: str) -> dict[str, Any] | None:
    """Return means and 95 % t-intervals of the differences to strategy none, paired by run."""
    control = {(r["fold"], r["seed"]): r for r in rows if r["variant"] == "none"}
    pairs = [
        (r, control[r["fold"], r["seed"]])
        for r in rows
        if r["variant"] == variant and (r["fold"], r["seed"]) in control
    ]
    if len(pairs) < 2:
        return None
    found: dict[str, Any] = {"variant": variant, "settings": VARIANTS[variant], "n": len(pairs)}
    for name in ("leakage", "wa"):
        found[name] = round(float(np.mean([a[name] for a, _ in pairs])), 4)
        differences = np.array([a[name] - b[name] for a, b in pairs])
        spread = float(differences.std(ddof=1)) / math.sqrt(len(pairs))
        half = float(student.ppf(0.975, len(pairs) - 1)) * spread
        mean = float(differences.mean())
        found[f"{name}_difference"] = [round(v, 4) for v in (mean, mean - half, mean + half)]
    return found


def main() -> None:
    """Run what is missing, seed by seed, and write the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("result/readings"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[201, 202, 203])
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run after this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun, rows = time.monotonic(), []
    for seed in options.seeds:
        for fold in (f"fold{number}" for number in range(1, 6)):
            for variant in VARIANTS:
                if time.monotonic() - begun > 60 * options.minutes:
                    break
                rows.append(run_once(options.folder, variant, fold, seed))
        table = [found for variant in VARIANTS if (found := compare(rows, variant))]
        write_json(
            options.out,
            {
                "command": f"python benchmarks/leakage_of_readings.py --seeds "
                f"{' '.join(map(str, options.seeds))}",
                "what": "differences to strategy none, fine-tuned alike: mean and 95 % t-interval "
                "over runs paired by fold and seed; folds share their speaker corpus",
                "common_settings": COMMON,
                "probed_speakers": PROBED_SPEAKERS,
                "versions": versions(),
                "table": table,
                "rows": rows,
            },
        )
    for line in table:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
