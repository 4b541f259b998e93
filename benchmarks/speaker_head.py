"""How fast the speaker head learns 1251 planted speakers: earlier defaults against the task's.

    python benchmarks/speaker_head.py --out benchmarks/results/DATE-speaker-head.json

Features as the head reads them, one mean over time per utterance: 1251 speakers, 1024 dimensions,
120 utterances each (100 to train on, 10 held out, 10 to test). A speaker is a Gaussian around a
mean that differs from the common one in 128 directions; within a speaker the variances fall as 1/i
along 1024 random directions; all is small beside a common offset. The distance of the means is set
so that an oracle, which knows all of this, names the speakers of 96 % of the utterances. The
converged probe is linear discriminant analysis, fitted in closed form on all training utterances.

before   what the task had: Adam at 1e-4, 32 utterances a step, no BatchNorm, no pre-training
after    what config.yaml says now: pre-training, then steps of the run with nothing to ascend

Settings were chosen on seed 0; the seeds here are others. Prints one JSON line.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm import config, registry
from spknorm.batches import Order
from spknorm.files import write_json
from spknorm.method.model import SpeakerHead
from spknorm.runner import pretraining
from spknorm.runs.result import versions

NUM_SPEAKERS, DIM, EACH, DIRECTIONS, ORACLE = 1251, 1024, 120, 128, 0.96
SPREAD, OFFSET = 0.1, 0.3
TEST, HELD_OUT = 10, 10


class Part(NamedTuple):
    """Features (N, H) and speakers (N,)."""

    features: Tensor
    labels: Tensor


class Planted(NamedTuple):
    """Three parts of the planted utterances, and what the oracle says of the test part."""

    train: Part
    held_out: Part
    test: Part
    oracle: float


def plant(seed: int, *, num_speakers: int = NUM_SPEAKERS) -> Planted:
    """Return planted features; see the top of this file."""
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal
    rotation, _ = np.linalg.qr(normal((DIM, DIM)).astype(np.float32))
    deviations = 1.0 / np.sqrt(np.arange(DIM) + 10.0)
    deviations *= SPREAD / np.sqrt((deviations**2).mean())
    means = normal((num_speakers, DIRECTIONS)).astype(np.float32)
    where = generator.choice(DIM, DIRECTIONS, replace=False)
    labels = np.repeat(np.arange(num_speakers), EACH)
    whitened = normal((len(labels), DIM), dtype=np.float32)
    part = np.tile(np.arange(EACH), num_speakers)
    tested = part < TEST
    noise, truth = whitened[np.ix_(tested, where)], labels[tested]
    low, high = 0.0, 4.0
    for _ in range(12):
        scale = (low + high) / 2
        found = nearest(scale * means[truth] + noise, scale * means)
        accuracy = float((found == truth).mean())
        low, high = (scale, high) if accuracy < ORACLE else (low, scale)
    whitened[:, where] += scale * means[labels]
    features = (whitened * deviations.astype(np.float32)) @ rotation.T
    features += OFFSET * normal(DIM).astype(np.float32)
    held = (part >= TEST) & (part < TEST + HELD_OUT)
    train, held_out, test = (
        Part(torch.from_numpy(features[mask]), torch.from_numpy(labels[mask]))
        for mask in (~tested & ~held, held, tested)
    )
    return Planted(train, held_out, test, accuracy)


def nearest(points: Any, means: Any) -> Any:
    """Return which mean (K, D) is nearest to each point (N, D)."""
    return (points @ means.T - 0.5 * (means**2).sum(axis=1)).argmax(axis=1)


def converged_probe(data: Planted) -> float:
    """Return the test accuracy of linear discriminant analysis fitted on the training part."""
    x, y = data.train.features, data.train.labels
    num_speakers = int(y.max()) + 1
    means = torch.zeros(num_speakers, DIM).index_add_(0, y, x) / torch.bincount(y)[:, None]
    within = x - means[y]
    factor = torch.linalg.cholesky(within.T @ within / (len(x) - num_speakers))

    def white(points: Tensor) -> Any:
        centred = (points - means.mean(dim=0)).T
        return torch.linalg.solve_triangular(factor, centred, upper=False).T.numpy()

    found = nearest(white(data.test.features), white(means))
    return float((found == data.test.labels.numpy()).mean())


class Head:
    """A speaker head that takes steps as a run's does while nothing ascends."""

    def __init__(self, data: Planted, *, rate: float, seed: int, **options: Any):
        torch.manual_seed(seed)
        self.data, self.rate, self.seed = data, rate, seed
        self.model = SpeakerHead(DIM, int(data.train.labels.max()) + 1, **options)
        self.curve: list[dict[str, float]] = []
        self.updates = 0
        self.seconds = 0.0

    def note(self) -> None:
        """Add a point to the curve."""
        loss, accuracy = pretraining.examine(
            self.model, self.data.test.features, self.data.test.labels.tolist()
        )
        self.curve.append(
            {
                "updates": self.updates,
                "accuracy": round(accuracy, 4),
                "loss": round(loss, 3),
                "seconds": round(self.seconds, 1),
            }
        )

    def pretrain(self, steps: int) -> None:
        """Take the head's start."""
        begun = time.process_time()
        pretraining.pretrain(
            self.model, self.data.train.features, self.data.train.labels.tolist(),
            steps=steps, seed=self.seed,
        )  # fmt: skip
        self.seconds += time.process_time() - begun
        self.updates += steps
        self.note()

    def run(self, points: list[int], *, batch_size: int, balanced: bool) -> None:
        """Take steps of a run, noting the curve at each of `points` (counted from here)."""
        x, y = self.data.train
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.rate)
        order = Order(
            len(y), batch_size=batch_size, seed=self.seed, drop_last=True,
            classes=y.tolist() if balanced else None,
        )  # fmt: skip
        self.model.train()
        for step in range(max(points)):
            begun = time.process_time()
            optimizer.zero_grad()
            rows = order[step]
            torch.autograd.backward(functional.cross_entropy(self.model.classify(x[rows]), y[rows]))
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            self.seconds += time.process_time() - begun
            self.updates += 1
            if step + 1 in points:
                self.note()


def measure(seed: int, *, num_speakers: int, before: list[int], after: list[int]) -> dict[str, Any]:
    """Return both curves on one draw of the speakers."""
    settings = config.parse(config.load_yaml(registry.config_path("emotion_spknorm")))
    expert, corpus = settings.downstream_expert, settings.downstream_expert.speaker_corpus
    options = config.to_mapping(expert.modelrc.speaker_head)
    assert settings.optimizer.groups is not None
    rate = settings.optimizer.groups.speaker_head.lr or settings.optimizer.lr
    data = plant(seed, num_speakers=num_speakers)
    probe = converged_probe(data)
    old = Head(data, rate=1e-4, seed=seed, hidden=(256,))
    old.run(before, batch_size=32, balanced=False)
    new = Head(data, rate=rate, seed=seed, **options)
    new.pretrain(expert.spknorm.speaker_pretrain_steps)
    new.run(after, batch_size=corpus.batch_size, balanced=corpus.balanced)
    return {
        "seed": seed,
        "oracle": round(data.oracle, 4),
        "converged_probe": round(probe, 4),
        "log_num_speakers": round(math.log(num_speakers), 3),
        "before": old.curve,
        "after": new.curve,
        "share_of_probe_before": round(old.curve[-1]["accuracy"] / probe, 3),
        "share_of_probe_pretrained": round(new.curve[0]["accuracy"] / probe, 3),
        "share_of_probe_after": round(new.curve[-1]["accuracy"] / probe, 3),
    }


def main() -> None:
    """Measure seed by seed, write after each, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--quick", action="store_true", help="40 speakers, few steps: does it run?")
    options = parser.parse_args()
    torch.set_num_threads(1)
    before, after = [500, 1000, 2000, 4000], [100, 500, 1000]
    if options.quick:
        before, after = [50], [50]
    settings = config.load_yaml(registry.config_path("emotion_spknorm"))
    expert = settings["downstream_expert"]
    result: dict[str, Any] = {
        "command": "python benchmarks/speaker_head.py --seeds " + " ".join(map(str, options.seeds)),
        "what": "test accuracy of the speaker head on planted speakers against its updates; "
        "seconds are of one processor thread",
        "settings": {
            "speaker_head": expert["modelrc"]["speaker_head"],
            "lr": settings["optimizer"]["groups"]["speaker_head"]["lr"],
            "speaker_corpus": expert["speaker_corpus"],
            "speaker_pretrain_steps": expert["spknorm"]["speaker_pretrain_steps"],
            "pretraining": {"batch_size": pretraining.BATCH_SIZE, "lr": pretraining.RATE},
        },
        "versions": versions(),
        "runs": [],
    }
    for seed in options.seeds:
        num_speakers = 40 if options.quick else NUM_SPEAKERS
        result["runs"].append(measure(seed, num_speakers=num_speakers, before=before, after=after))
        if options.out is not None:
            write_json(options.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
