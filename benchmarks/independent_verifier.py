"""What an independent verifier hears of the demo's speakers, and of them after TAP.

    python benchmarks/independent_verifier.py --folder OUT --out RESULT.json --seeds 61 62 63 64

Each seed has a demo corpus of its own. Runs and audit are the product's: `spknorm bench` on
configs/demo.yaml with fold 1, fine-tuned with the adversary off, by TAP and by TAP with shuffled
speakers, then `spknorm audit --verifier`. What OUT holds is not run again.
"""

import argparse
import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import yaml
from scipy.stats import t as student

from spknorm.cli import main as spknorm
from spknorm.files import write_json
from spknorm.probe.audit import audit
from spknorm.runs.probes import ProbeRow
from spknorm.runs.result import versions

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
VARIANTS = [{"strategy": "none"}, {"strategy": "TAP"}, {"strategy": "TAP", "shuffled": True}]
_KEPT = ("variant", "corpus", "probe", "layer", "control", "accuracy", "low", "high", "n")


def audit_of(seed: int, folder: Path) -> list[ProbeRow]:
    """Train a corpus' runs unless they are there, and return what is found of the speaker."""
    content = yaml.safe_load(DEMO.read_text())
    del content["audit"]
    content |= {"name": f"verifier-{seed}", "seeds": [seed]}
    content["protocols"] = [{"protocol": "si5", "folds": ["fold1"]}]
    content["variants"] = VARIANTS
    content["config"]["downstream_expert"]["datarc"]["demo_seed"] = seed
    path = folder / f"{seed}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    if spknorm(["bench", str(path), "--out", str(folder / str(seed))]):
        raise SystemExit(1)
    rows = audit(folder / str(seed), verifier=True)
    return [row for row in rows if row.label == "speaker"]


def compare(found: Sequence[Sequence[ProbeRow]], base: str, other: str) -> list[dict[str, Any]]:
    """Return means and paired 95 % t-intervals over corpora, by corpus and probe."""
    table = []
    for corpus in ("speaker", "emotion"):
        for probe in ("linear", "eer", "verifier"):
            scores = np.array(
                [[_score(rows, name, corpus, probe) for name in (base, other)] for rows in found]
            )
            change = scores[:, 1] - scores[:, 0]
            half = float(student.ppf(0.975, len(change) - 1) * change.std(ddof=1))
            half /= len(change) ** 0.5
            mean = float(change.mean())
            table.append(
                {
                    "corpus": corpus,
                    "probe": probe,
                    base: round(float(scores[:, 0].mean()), 4),
                    other: round(float(scores[:, 1].mean()), 4),
                    "difference": [round(one, 4) for one in (mean, mean - half, mean + half)],
                }
            )
    return table


def _score(rows: Sequence[ProbeRow], variant: str, corpus: str, probe: str) -> float:
    (one,) = [
        row.accuracy
        for row in rows
        if (row.variant, row.corpus, row.probe) == (variant, corpus, probe)
        and (row.layer, row.control) == ("head", None)
    ]
    return one


def main() -> None:
    """Train, listen, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for runs")
    parser.add_argument("--out", type=Path, required=True, help="result file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[61, 62, 63, 64])
    options = parser.parse_args()
    found = {seed: audit_of(seed, options.folder) for seed in options.seeds}
    every = list(found.values())
    names = sorted({row.variant or row.stage for row in every[0] if row.stage == "TAP"})
    content = {
        "command": f"python benchmarks/independent_verifier.py --seeds "
        f"{' '.join(map(str, options.seeds))}",
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "what": "probes of the speaker on what the head sees; for eer and verifier equal error "
        "rates; differences to none: mean and paired 95 % t-interval over corpora",
        "versions": versions(),
        "against_none": (
            {name: compare(every, "none", name) for name in names} if len(every) > 1 else {}
        ),
        "rows": {
            str(seed): [{key: getattr(row, key) for key in _KEPT} for row in rows]
            for seed, rows in found.items()
        },
    }
    write_json(options.out, content)


if __name__ == "__main__":
    main()
