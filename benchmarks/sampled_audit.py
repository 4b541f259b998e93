"""How often the interval of an audit's sample holds the score of the whole.

    python benchmarks/sampled_audit.py --first 8 --seeds 8 --out benchmarks/results/DATE-WHAT.json

Planted as in large_audit.py, but small enough that the whole is probed, too: each speaker has a
place of its own, each utterance noise around it; a tenth is held out. For each seed the world and
the draw are new, the sample is the audit's own size, and what it says is extrapolated as an audit
does. Prints one JSON line per seed and probe, and how often the whole's score lay within the
sample's interval, beside how often it lay within that of the sample's own score. Rows that the file
of results holds are kept.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from large_audit import question_about
from scipy.stats import beta

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


def probed(probe: str, features: np.ndarray[Any, Any], asked: Question, **options: Any) -> Any:
    """Return what a probe of a question finds."""
    train, test = ([int(u.id) for u in part] for part in (asked.train, asked.test))
    return run_probe(
        probe,
        Pooled(features[train], asked.classes),
        Pooled(features[test], asked.truth, asked.clusters),
        **options,
    )


def row_of(
    probe: str, features: np.ndarray[Any, Any], whole: Question, seed: int
) -> dict[str, Any]:
    """Return the scores of the whole and of its sample, with the sample's intervals."""
    drawn = sample(whole, MOST_UTTERANCES, seed=seed)
    ours = probed(probe, features, drawn, whole=drawn.to_learn)
    alone = probed(probe, features, drawn)
    everything = probed(probe, features, whole)
    values = {
        "estimate": ours.score,
        "low": ours.low,
        "high": ours.high,
        "on_sample": alone.score,
        "on_sample_low": alone.low,
        "on_sample_high": alone.high,
        "whole": everything.score,
    }
    return {
        "probe": probe,
        "seed": seed,
        **{name: round(value, 4) for name, value in values.items()},
        "holds_whole": bool(ours.low <= everything.score <= ours.high),
        "sample_alone_holds_whole": bool(alone.low <= everything.score <= alone.high),
    }


def coverage(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how often each probe's intervals held the whole's score, and how wide they were."""
    found = []
    for probe, speakers in sorted({(row["probe"], row["speakers"]) for row in rows}):
        own = [row for row in rows if (row["probe"], row["speakers"]) == (probe, speakers)]
        line: dict[str, Any] = {"probe": probe, "speakers": speakers, "of": len(own)}
        for name in ("holds_whole", "sample_alone_holds_whole"):
            count = sum(row[name] for row in own)
            low = beta.ppf(0.025, count, len(own) - count + 1) if count else 0.0
            high = beta.ppf(0.975, count + 1, len(own) - count) if count < len(own) else 1.0
            line[name] = count
            line[f"{name}_95"] = [round(float(low), 3), round(float(high), 3)]
        line["half_width"] = round(float(np.mean([r["high"] - r["low"] for r in own])) / 2, 4)
        found.append(line)
    return found


def main() -> int:
    """Plant and probe seed by seed, write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--speakers", type=int, default=60)
    parser.add_argument("--noise", type=float, nargs="+", default=[3.0, 6.0])
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--probes", default="linear,eer")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    about = {key: getattr(args, key) for key in ("utterances", "width", "speakers")}
    rows: list[dict[str, Any]] = []
    if args.out is not None and args.out.exists():
        rows = json.loads(args.out.read_text())["rows"]
    for seed in range(args.first, args.first + args.seeds):
        for noise in args.noise:
            features = planted(seed, args.utterances, args.width, args.speakers, noise)
            whole = question_about(args.utterances, args.speakers)
            for probe in args.probes.split(","):
                rows.append({**about, "noise": noise, **row_of(probe, features, whole, seed)})
                sys.stdout.write(json.dumps(rows[-1]) + "\n")
                sys.stdout.flush()
        if args.out is not None:
            content = {"benchmark": "sampled_audit", "most": MOST_UTTERANCES}
            counted = {"coverage": coverage(rows), "versions": versions(), "rows": rows}
            write_json(args.out, content | counted)
    sys.stdout.write(json.dumps(coverage(rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
