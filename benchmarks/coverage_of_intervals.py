"""Coverage of the 95 % interval and false positives of the paired test, on simulated speakers.

Every data set has ten speakers whose accuracy varies about a common one (normal effects on the
logit, per speaker and per speaker and emotion) and a random number of utterances each. Prints one
JSON line:

    python benchmarks/coverage_of_intervals.py --datasets 1000
"""

import argparse
import json
from typing import Any, NamedTuple

import numpy as np

from spknorm.statistics import compare, interval, pool_speakers
from spknorm.statistics.metrics import measure

Array = np.ndarray[Any, Any]
Confusions = dict[str, Array]

NUM_CLASSES = 4
EMOTION_SHARES = (0.31, 0.30, 0.20, 0.19)


class Rates(NamedTuple):
    """Shares of the simulated data sets."""

    coverage: float
    coverage_over_utterances: float
    coverage_of_percentiles: float
    false_positives: float


def simulate(
    *,
    num_datasets: int = 1000,
    num_speakers: int = 10,
    mean_utterances: int = 100,
    speaker_sd: float = 0.5,
    emotion_sd: float = 0.3,
    variant_sd: float = 0.3,
    logit: float = 0.9,
    metric: str = "ua",
    num_resamples: int = 500,
    seed: int = 0,
) -> Rates:
    """Return the rates over `num_datasets` data sets; standard deviations are on the logit.

    `variant_sd` is how much two variants differ on a speaker; they are equal on average.
    """
    generator = np.random.default_rng(seed)
    hits = dict.fromkeys(Rates._fields, 0)
    effects_sd = np.sqrt(speaker_sd**2 + emotion_sd**2 + variant_sd**2)
    truth = _sigmoid(logit + effects_sd * generator.standard_normal(400_000)).mean()
    for index in range(num_datasets):
        shared = speaker_sd * generator.standard_normal((num_speakers, 1))
        shared = shared + emotion_sd * generator.standard_normal((num_speakers, NUM_CLASSES))
        sizes = generator.integers(mean_utterances // 2, 3 * mean_utterances // 2, num_speakers)
        totals = np.stack([generator.multinomial(size, EMOTION_SHARES) for size in sizes])
        sides = []
        for _ in range(2):
            own = variant_sd * generator.standard_normal((num_speakers, 1))
            sides.append(_confusions(logit + shared + own, totals, generator))
        options = {"num_resamples": num_resamples, "seed": index}
        found = interval(sides[0], metric, **options)
        hits["coverage"] += found.low <= truth <= found.high
        reach = 1.96 * np.sqrt(found.value * (1 - found.value) / totals.sum())
        hits["coverage_over_utterances"] += abs(found.value - truth) <= reach
        hits["coverage_of_percentiles"] += _percentiles_cover(sides[0], metric, truth, generator)
        both = compare({"fold1": sides[0]}, {"fold1": sides[1]}, metric, **options)
        hits["false_positives"] += both.p_bootstrap < 0.05
    return Rates(**{name: float(count / num_datasets) for name, count in hits.items()})


def _percentiles_cover(
    by_speaker: Confusions, metric: str, truth: float, generator: np.random.Generator
) -> bool:
    """Whether the plain percentile bootstrap, kept for comparison, holds the truth."""
    counts = np.stack(list(by_speaker.values()))
    even = np.full(len(counts), 1 / len(counts))
    weights = generator.multinomial(len(counts), even, size=500).astype(float)
    low, high = np.quantile(measure(np.tensordot(weights, counts, axes=1), metric), [0.025, 0.975])
    return bool(low <= truth <= high)


def _confusions(logits: Array, totals: Array, generator: np.random.Generator) -> Confusions:
    """(G, C) logits and counts -> confusion matrices by speaker; every error is the next class."""
    right = generator.binomial(totals, _sigmoid(logits))
    matrices = np.zeros((*totals.shape, NUM_CLASSES))
    classes = np.arange(NUM_CLASSES)
    matrices[:, classes, classes] = right
    matrices[:, classes, (classes + 1) % NUM_CLASSES] = totals - right
    return pool_speakers([{f"speaker{i}": matrix for i, matrix in enumerate(matrices)}])


def _sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


def main() -> None:
    """Print the rates of every setting as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings: dict[str, dict[str, Any]] = {
        "default, ua": {},
        "default, wa": {"metric": "wa"},
        "strong speaker effects": {"speaker_sd": 1.0},
        "weak speaker effects": {"speaker_sd": 0.3, "emotion_sd": 0.1},
        "size of IEMOCAP": {"mean_utterances": 553},
        "8 speakers": {"num_speakers": 8},
        "high accuracy": {"logit": 2.0},
    }
    common: dict[str, Any] = {"num_datasets": arguments.datasets, "seed": arguments.seed}
    rates = {name: simulate(**common, **one)._asdict() for name, one in settings.items()}
    print(json.dumps({"datasets": arguments.datasets, "seed": arguments.seed, "rates": rates}))


if __name__ == "__main__":
    main()
