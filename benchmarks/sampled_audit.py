"""How often the interval of an audit's sample holds the score of the whole.

    python benchmarks/sampled_audit.py --seeds 10 --out benchmarks/results/DATE-sampled-audit.json

Planted as in large_audit.py, but small enough that the whole is probed, too: each speaker has a
place of its own, each utterance noise around it; a tenth is held out. For each seed the world and
the draw are new, the sample is the audit's own size. Beside it stands a probe that learns on the
sample's utterances and names all that are held out: what is left between that and the sample is the
draw of those named, between it and the whole that a probe learns less from fewer. Prints one JSON
line per seed and probe.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from large_audit import question_about

from spknorm.files import write_json
from spknorm.probe import Pooled, run_probe
from spknorm.probe.audit.questions import MOST_UTTERANCES, Question, sample
from spknorm.runs.result import versions


def planted(seed: int, num: int, width: int, speakers: int, noise: float) -> np.ndarray[Any, Any]:
    """Return features (utterances, width): a speaker's place and noise around it."""
    generator = np.random.default_rng(seed)
    places = generator.standard_normal((speakers, width), np.float32)
    features = generator.standard_normal((num, width), np.float32) * np.float32(noise)
    features += places[np.arange(num) % speakers]
    return features


def probed(probe: str, features: np.ndarray[Any, Any], learnt: Question, named: Question) -> Any:
    """Return the score of a probe that learns on one question's and names another's utterances."""
    train, test = ([int(u.id) for u in part] for part in (learnt.train, named.test))
    return run_probe(
        probe,
        Pooled(features[train], learnt.classes),
        Pooled(features[test], named.truth, named.clusters),
    )


def row_of(
    probe: str, features: np.ndarray[Any, Any], whole: Question, seed: int
) -> dict[str, Any]:
    """Return the scores of the whole and of its sample, with the sample's interval."""
    drawn = sample(whole, MOST_UTTERANCES, seed=seed)
    ours = probed(probe, features, drawn, drawn)
    all_named = probed(probe, features, drawn, whole)
    everything = probed(probe, features, whole, whole)
    low, high = ours.low, ours.high
    return {
        "probe": probe,
        "seed": seed,
        "sample": round(ours.score, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "sample_on_all": round(all_named.score, 4),
        "whole": round(everything.score, 4),
        "holds_on_all": bool(low <= all_named.score <= high),
        "holds_whole": bool(low <= everything.score <= high),
    }


def main() -> int:
    """Plant and probe seed by seed, write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--speakers", type=int, default=60)
    parser.add_argument("--noise", type=float, nargs="+", default=[3.0, 6.0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--probes", default="linear,eer")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        for noise in args.noise:
            features = planted(seed, args.utterances, args.width, args.speakers, noise)
            whole = question_about(args.utterances, args.speakers)
            for probe in args.probes.split(","):
                rows.append({"noise": noise, **row_of(probe, features, whole, seed)})
                sys.stdout.write(json.dumps(rows[-1]) + "\n")
                sys.stdout.flush()
        if args.out is not None:
            given = {key: value for key, value in vars(args).items() if key != "out"}
            content = {"benchmark": "sampled_audit", "args": given, "most": MOST_UTTERANCES}
            write_json(args.out, {**content, "versions": versions(), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
