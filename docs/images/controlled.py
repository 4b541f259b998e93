"""Draw docs/images/controlled_*.png from dated results of the controlled benchmark.

python docs/images/controlled.py
"""

import json
from pathlib import Path

from spknorm.controlled.figures import draw_accuracy, draw_trade
from spknorm.controlled.plan import Variant
from spknorm.controlled.verdicts import VariantMeans

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "benchmarks" / "results"
FROZEN, TUNED = "2026-11-25-controlled.json", "2026-11-26-controlled.json"


def means_of(name):
    """Return the means that a result file tells."""
    cells = json.loads((RESULTS / name).read_text())["cells"]
    return [VariantMeans(**{**cell, "variant": Variant(**cell["variant"])}) for cell in cells]


def main():
    """Write the pictures, and print what each shows."""
    frozen = [one for one in means_of(FROZEN) if one.variant.features == "hubert"]
    frozen.sort(key=lambda one: one.rho)
    tuned = [one for one in means_of(TUNED) if one.rho == 0.9]
    figures = {
        "controlled_accuracy.png": draw_accuracy(frozen, num_seeds=frozen[0].num_seeds),
        "controlled_leakage.png": draw_trade(tuned, rho=0.9, num_seeds=tuned[0].num_seeds),
    }
    for name, figure in figures.items():
        (HERE / name).write_bytes(figure.png)
        print(f"{name}: {figure.alt}")


if __name__ == "__main__":
    main()
