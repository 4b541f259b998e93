"""Peak memory of an audit's probes on as many features as VoxCeleb1 has of HuBERT Large.

    python benchmarks/large_audit.py --folder /tmp/planted                     # a sample
    python benchmarks/large_audit.py --folder /tmp/planted --whole --probes linear,knn,eer

Planted: (utterances, layers, width) in float16, memory-mapped; each speaker has a place of its own,
more so in middle layers, and each utterance noise around it. A tenth is held out. Probes run as in
an audit, on the sample that an audit draws or on all. Prints one JSON line.
"""

import argparse
import json
import mmap
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from spknorm.corpora.records import Utterance
from spknorm.probe import Pooled, run_probe
from spknorm.probe.arrays import Layers, let_go
from spknorm.probe.audit.questions import MOST_UTTERANCES, Question, sample

ROWS = 256
"""That are read at a time: with each the system may map 256 kB and more."""


def planted(path: Path, shape: tuple[int, int, int], speakers: int, noise: float) -> np.ndarray:
    """Return the features, made once."""
    done = path.with_suffix(".made")
    if not done.exists():
        generator = np.random.default_rng(0)
        num, layers, width = shape
        path.parent.mkdir(parents=True, exist_ok=True)
        features = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        places = generator.standard_normal((speakers, layers, width)).astype(np.float32)
        places *= (1 - np.abs(np.linspace(-0.5, 0.5, layers)))[None, :, None]
        pool = generator.standard_normal(1 << 25, np.float32) * noise
        starts = generator.integers(len(pool) - layers * width, size=num)
        for first in range(0, num, 1000):
            rows = range(first, min(first + 1000, num))
            block = [pool[starts[row] :][: layers * width].reshape(layers, width) for row in rows]
            features[rows.start : rows.stop] = np.stack(block) + places[np.array(rows) % speakers]
            features.flush()
            let_go(features)
        done.touch()
    found: np.ndarray[Any, Any] = np.load(path, mmap_mode="r")
    return found


def mapped(features: np.ndarray, rows: list[int]) -> Layers:
    """Return some rows of the mapped file, of which a layer at a time is read and given back."""
    chosen, shape = np.array(rows), features.shape[1:]
    file: Any = features.base
    file.madvise(mmap.MADV_RANDOM)  # read what is asked for, and not what follows it

    def read(layer: int) -> np.ndarray:
        found = np.empty((len(chosen), shape[1]), np.float32)
        for first in range(0, len(chosen), ROWS):
            block = slice(first, first + ROWS)
            found[block] = features[chosen[block], layer]
            let_go(features)
        return found

    return Layers(read, (len(chosen), *shape))


def question_about(num: int, num_speakers: int) -> Question:
    """Return the question who speaks: a tenth of each speaker's utterances is named."""
    speaker = np.arange(num) % num_speakers
    test = (np.arange(num) // num_speakers) % 10 == 9
    everyone = np.array([Utterance(id=str(row), path=Path(str(row))) for row in range(num)])
    parts = tuple(everyone[~test]), tuple(everyone[test])
    return Question("speaker", "speaker", *parts, speaker[~test], speaker[test], speaker[test])


def main() -> int:
    """Plant, probe, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="kept: 7.7 GB by default")
    parser.add_argument("--utterances", type=int, default=150_000)
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--speakers", type=int, default=1251)
    parser.add_argument("--noise", type=float, default=8.0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--probes", default="linear,mlp,knn,eer,weighted")
    args = parser.parse_args()
    shape = (args.utterances, args.layers, args.width)
    name = f"planted-{'x'.join(map(str, shape))}-{args.speakers}-{args.noise:g}.npy"
    features = planted(args.folder / name, shape, args.speakers, args.noise)
    question = question_about(shape[0], args.speakers)
    question = sample(question, None if args.whole else MOST_UTTERANCES, seed=0)
    parts = [mapped(features, [int(u.id) for u in p]) for p in (question.train, question.test)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scores = {}
    for probe in args.probes.split(","):
        start = time.monotonic()
        own = parts if probe == "weighted" else [part.layer(-1) for part in parts]
        found = run_probe(
            probe,
            Pooled(own[0], question.classes),
            Pooled(own[1], question.truth, question.clusters),
            whole=question.to_learn,
        )
        scores[probe] = {
            "score": round(found.score, 4),
            "on_sample": None if found.on_sample is None else round(found.on_sample, 4),
            "low": None if found.low is None else round(found.low, 4),
            "high": None if found.high is None else round(found.high, 4),
            "seconds": round(time.monotonic() - start),
            "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }
    line = {
        "benchmark": "large_audit",
        "planted": shape,
        "speakers": args.speakers,
        "whole": args.whole,
        "train": len(question.train),
        "test": len(question.test),
        "held_out": question.held_out,
        "before_gb": round(before / 1e6, 2),
        "probes": scores,
        "cpus": os.cpu_count(),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
