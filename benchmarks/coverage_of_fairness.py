"""Coverage of the intervals of the worst speaker and of its kin, and how often their tests err.

Speakers are simulated as in coverage_of_intervals.py. What an interval should hold is the mean of
its number over many data sets of that size. Beside the two stages of spknorm.statistics.fairness:
the bootstrap that draws speakers alone. Prints one JSON line:

    python benchmarks/coverage_of_fairness.py --datasets 1000
"""

import argparse
import json

import numpy as np
from coverage_of_intervals import EMOTION_SHARES, NUM_CLASSES, Confusions, _confusions

from spknorm.statistics import fairness
from spknorm.statistics.resampling import p_value, quantile, standard_error

NUM_TRUTH = 3000
NUM_RESAMPLES = 400
SETTINGS = {
    "10 speakers, 100 utterances": (10, 100),
    "10 speakers, size of IEMOCAP": (10, 553),
    "20 speakers, 100 utterances": (20, 100),
    "8 speakers, 60 utterances": (8, 60),
}


def simulate(
    num_speakers: int, mean_utterances: int, *, num_datasets: int, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return, by measure, coverage and false positives of two stages and of one."""
    generator = np.random.default_rng(seed)

    def draw() -> list[Confusions]:
        return _dataset(generator, num_speakers, mean_utterances)

    many = [fairness.measure(draw()[0]) for _ in range(NUM_TRUTH)]
    truth = {name: np.mean([one[name] for one in many]) for name in fairness.MEASURES}
    keys = ("coverage", "coverage_of_one_stage", "false_positives", "false_positives_of_one_stage")
    hits = {name: dict.fromkeys(keys, 0.0) for name in fairness.MEASURES}
    for index in range(num_datasets):
        ours, theirs = draw()
        around = fairness.intervals(ours, num_resamples=NUM_RESAMPLES, seed=index)
        tests = fairness.compare(
            ours, theirs, fairness.MEASURES, num_resamples=NUM_RESAMPLES, seed=index
        )
        one_stage = _one_stage(ours, theirs, generator)
        for name in fairness.MEASURES:
            error, error_of_difference = one_stage[name]
            value, difference = around[name].value, tests[name].difference
            reach = quantile(0.975, num_speakers - 1) * error
            p = p_value(difference, error_of_difference, num_speakers - 1)
            hits[name]["coverage"] += around[name].low <= truth[name] <= around[name].high
            hits[name]["coverage_of_one_stage"] += abs(value - truth[name]) <= reach
            hits[name]["false_positives"] += tests[name].p_bootstrap < 0.05
            hits[name]["false_positives_of_one_stage"] += p < 0.05
    return {
        name: {key: count / num_datasets for key, count in found.items()}
        for name, found in hits.items()
    }


def _dataset(
    generator: np.random.Generator, num_speakers: int, mean_utterances: int
) -> list[Confusions]:
    """Confusions by speaker of two methods that are equal on average, on the same utterances."""
    shared = 0.9 + 0.5 * generator.standard_normal((num_speakers, 1))
    shared = shared + 0.3 * generator.standard_normal((num_speakers, NUM_CLASSES))
    sizes = generator.integers(mean_utterances // 2, 3 * mean_utterances // 2, num_speakers)
    totals = np.stack([generator.multinomial(size, EMOTION_SHARES) for size in sizes])
    return [
        _confusions(shared + 0.3 * generator.standard_normal((num_speakers, 1)), totals, generator)
        for _ in range(2)
    ]


def _one_stage(
    ours: Confusions, theirs: Confusions, generator: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Standard errors of each measure, and of its difference, with speakers drawn alone."""
    names = sorted(ours)
    drawn = generator.integers(len(names), size=(NUM_RESAMPLES, len(names)))
    sides = [
        [
            fairness.measure({str(place): side[names[one]] for place, one in enumerate(row)})
            for row in drawn
        ]
        for side in (ours, theirs)
    ]
    found = {}
    for name in fairness.MEASURES:
        new, old = (np.array([one[name] for one in side]) for side in sides)
        found[name] = standard_error(new, len(names)), standard_error(new - old, len(names))
    return found


def main() -> None:
    """Print the rates of every setting as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rates = {
        name: simulate(*sizes, num_datasets=arguments.datasets, seed=arguments.seed)
        for name, sizes in SETTINGS.items()
    }
    print(json.dumps({"datasets": arguments.datasets, "seed": arguments.seed, "rates": rates}))


if __name__ == "__main__":
    main()
