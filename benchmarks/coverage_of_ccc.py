"""Coverage of the 95 % interval of the concordance correlation, on simulated speakers.

Each speaker has 60 utterances whose ratings are normal; predictions are .7 times the rating, plus
what is the speaker's own (normal, `offset_sd`) and noise. The truth is the CCC over 6000 speakers.
Prints one JSON line:

    python benchmarks/coverage_of_ccc.py --datasets 300
"""

import argparse
import json
from typing import Any

import numpy as np

from spknorm.statistics import interval
from spknorm.statistics.agreement import concordance, sums_of

NUM_UTTERANCES = 60
NOISE = 0.6


def simulate(
    *, num_speakers: int, offset_sd: float, num_datasets: int, seed: int = 0
) -> dict[str, float]:
    """Return the true CCC, the share of intervals that hold it, and their median width."""
    generator = np.random.default_rng(seed)

    def speaker() -> Any:
        rated = generator.normal(size=(NUM_UTTERANCES, 1))
        spread = NOISE * np.exp(generator.normal(0, 0.2))
        noise = generator.normal(0, spread, rated.shape)
        return sums_of(rated, 0.7 * rated + generator.normal(0, offset_sd) + noise)[0]

    truth = float(concordance(np.sum([speaker() for _ in range(6000)], axis=0)))
    found = [
        interval({str(name): speaker() for name in range(num_speakers)}, "ccc", num_resamples=500)
        for _ in range(num_datasets)
    ]
    held = np.mean([one.low <= truth <= one.high for one in found])
    width = float(np.median([one.high - one.low for one in found]))
    return {"ccc": round(truth, 3), "coverage": round(float(held), 3), "width": round(width, 3)}


def main() -> None:
    """Print one JSON line for four, ten and 24 speakers that are alike or differ much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rates = {
        f"{num_speakers} speakers, offsets {offset_sd}": simulate(
            num_speakers=num_speakers,
            offset_sd=offset_sd,
            num_datasets=args.datasets,
            seed=args.seed,
        )
        for num_speakers in (4, 10, 24)
        for offset_sd in (0.2, 0.6)
    }
    print(json.dumps({"datasets": args.datasets, "seed": args.seed, "rates": rates}))


if __name__ == "__main__":
    main()
