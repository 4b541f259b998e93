"""Made-up leakage audits, for fake_results.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np

NUM_SPEAKERS = 1211
_LEAKAGE = {"raw": 0.607, "none": 0.52, "SNP": 0.47, "TAP": 0.44, "leace": 0.06, "znorm": 0.33}


def write(path: Path, value: Any) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


def write_probes(
    path: Path, rng: np.random.Generator, upstream: str, family: str, strength: float
) -> None:
    """Write the probe.json of one run: of the raw upstream, and of what was made of it."""
    rows = []
    for stage in ("raw", family):
        base = _LEAKAGE[stage] * (1 if stage == "raw" else max(0.25, 1 - 0.12 * (strength - 1)))
        for corpus, label, scale, least in (
            ("speaker", "speaker", 1.0, 0.0008),
            ("emotion", "speaker", 1.25, 0.1),
            ("emotion", "emotion", 0.0, 0.25),
        ):
            for probe, gain in (("linear", 0.0), ("mlp", 0.04), ("knn", -0.08), ("eer", 0.0)):
                for layer in ("last", "weighted"):
                    if label == "emotion":
                        value = 0.66 + gain / 2 + (0.02 if layer == "weighted" else 0.0)
                    elif probe == "eer":
                        value = 0.5 - 0.35 * base
                    else:
                        value = base * scale + gain + (0.06 if layer == "weighted" else 0.0)
                    if probe == "eer" and label == "emotion":
                        continue
                    value = float(np.clip(value + rng.normal(0, 0.006), 0.02, 0.98))
                    controls = [(None, value)]
                    if probe == "linear":
                        controls += [("shuffled", least * 1.1), ("chance", least)]
                    for control, accuracy in controls:
                        rows.append(
                            {
                                "upstream": upstream,
                                "stage": stage if stage in ("raw", "SNP", "TAP") else "none",
                                "corpus": corpus,
                                "label": label,
                                "probe": probe,
                                "layer": layer,
                                "control": control,
                                "accuracy": accuracy,
                                "low": max(0.0, accuracy - 0.02),
                                "high": min(1.0, accuracy + 0.02),
                                "n": 2400,
                                "num_classes": NUM_SPEAKERS if corpus == "speaker" else 10,
                                "seed": 0,
                            }
                        )
    write(path, {"schema": "spknorm.probe/1", "rows": rows})
