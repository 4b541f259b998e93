"""Coverage of the 95 % intervals of the concordance correlation, on simulated speakers.

Each speaker has 60 utterances whose ratings are normal; predictions are .7 times the rating, plus
what is the speaker's own (normal, `offset_sd`) and noise. The truth is the CCC over 6000 speakers.
With --among-speakers it is of the worst speaker, the worst quarter and the spread, whose truth is
the mean over 3000 data sets of that size; ratings are normal, or whole from 1 to 5. Prints one JSON
line:

    python benchmarks/coverage_of_ccc.py --datasets 300
    python benchmarks/coverage_of_ccc.py --datasets 1000 --among-speakers
"""

import argparse
import json
from typing import Any

import numpy as np

from spknorm.statistics import fairness, interval
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


def among_speakers(
    *, num_speakers: int, mean_utterances: int, whole: bool, num_datasets: int, seed: int = 0
) -> dict[str, float]:
    """Return, by measure, the share of intervals that hold the mean of data sets of that size."""
    generator = np.random.default_rng(seed)

    def speaker() -> Any:
        size = (int(generator.integers(mean_utterances // 2, 3 * mean_utterances // 2)), 1)
        rated = generator.normal(3, 1, size)
        if whole:
            rated = np.clip(np.rint(rated), 1, 5)
        spread = NOISE * np.exp(generator.normal(0, 0.2))
        own = generator.normal(0, 0.4) + generator.normal(0, spread, size)
        return sums_of(rated, 3 + 0.7 * (rated - 3) + own)[0]

    def dataset() -> dict[str, Any]:
        return {str(name): speaker() for name in range(num_speakers)}

    many = [fairness.measure(dataset(), "ccc") for _ in range(3000)]
    truth = {name: np.mean([one[name] for one in many]) for name in fairness.MEASURES_OF_CCC}
    held = dict.fromkeys(truth, 0)
    for index in range(num_datasets):
        around = fairness.intervals(dataset(), "ccc", num_resamples=400, seed=index)
        for name, one in around.items():
            held[name] += bool(one.low <= truth[name] <= one.high)
    return {name: round(count / num_datasets, 3) for name, count in held.items()}


def _all_among_speakers(num_datasets: int, seed: int) -> dict[str, dict[str, float]]:
    return {
        f"{num_speakers} speakers, {mean_utterances} utterances, {kind} ratings": among_speakers(
            num_speakers=num_speakers,
            mean_utterances=mean_utterances,
            whole=kind == "whole",
            num_datasets=num_datasets,
            seed=seed,
        )
        for num_speakers, mean_utterances in ((8, 60), (10, 100), (20, 100), (10, 553))
        for kind in ("normal", "whole")
    }


def main() -> None:
    """Print one JSON line for four, ten and 24 speakers that are alike or differ much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--among-speakers", action="store_true")
    args = parser.parse_args()
    if args.among_speakers:
        found = _all_among_speakers(args.datasets, args.seed)
        print(json.dumps({"datasets": args.datasets, "seed": args.seed, "rates": found}))
        return
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
