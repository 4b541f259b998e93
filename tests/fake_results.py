"""Benchmark folders with made-up but schema-true result files, from seeded random numbers.

    make_bench(tmp_path)                          none, SNP and TAP under si5, with audits
    make_bench(tmp_path, protocols=("low_resource",), num_samples=(50, 100, 1000))

The numbers mean nothing. Classes, speakers and file names are those of IEMOCAP.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_probes import NUM_SPEAKERS, write, write_probes

CLASSES = ("neu", "hap", "ang", "sad")
_SKILL = {
    "none": 0.0,
    "SNP": 0.012,
    "TAP": 0.022,
    "leace": 0.006,
    "znorm": -0.012,
    "shuffled": -0.02,
}
VERSIONS = {"spknorm": "0.1.0", "torch": "2.11.0", "s3prl": "0.4.18", "python": "3.11.2"}


def make_bench(
    folder: Path,
    *,
    upstreams: Sequence[str] = ("hubert_large_ll60k",),
    methods: Sequence[tuple[str, float]] = (("none", 0.0), ("SNP", 1e-3), ("TAP", 1e-3)),
    erasures: Sequence[str] = (),
    shuffled: bool = False,
    protocols: Sequence[str] = ("si5",),
    seeds: Sequence[int] = (0,),
    num_samples: Sequence[int] = (50, 100, 300, 1000),
    draws: Sequence[int] = (0, 1),
    num_folds: int = 5,
    corpus: str = "iemocap",
    probes: bool = True,
    features: bool = True,
    pending: int = 0,
    failed: int = 0,
    summary: bool = True,
) -> Path:
    """Write a benchmark folder; the last `pending` + `failed` runs of the grid have no result."""
    cells = []
    settings = [(strategy, value, None, False) for strategy, value in methods]
    settings += [("none", 0.0, erasure, False) for erasure in erasures]
    settings += [("SNP", 1e-3, None, True)] if shuffled else []
    for upstream in upstreams:
        for strategy, value, erasure, wrong in settings:
            for protocol in protocols:
                low = protocol == "low_resource"
                for fold in range(1, 2 if protocol == "sd" else num_folds + 1):
                    for seed in seeds:
                        for n in num_samples if low else (None,):
                            for draw in draws if low else (None,):
                                cells.append(
                                    (
                                        upstream,
                                        strategy,
                                        value,
                                        erasure,
                                        wrong,
                                        protocol,
                                        f"fold{fold}",
                                        seed,
                                        n,
                                        draw,
                                    )
                                )
    order = (
        np.random.default_rng(5).permutation(len(cells)) if pending + failed else range(len(cells))
    )
    unfinished = {int(index) for index in list(order)[len(cells) - pending - failed :]}
    fails = set(sorted(unfinished)[:failed])
    listed: list[dict[str, Any]] = []
    for index, cell in enumerate(cells):
        name = _name(*cell)
        status = "failed" if index in fails else "pending" if index in unfinished else "complete"
        listed.append(
            {
                "name": name,
                "expdir": name,
                "status": status,
                "error": "CUDA out of memory" if status == "failed" else None,
            }
        )
        if status == "complete":
            write_run(folder / name, *cell, corpus=corpus, probes=probes)
    if features:
        for stage, strength in (("raw", 1.0), ("none", 0.75), ("TAP", 0.2)):
            write_features(folder / f"features_{stage}.npz", stage=stage, strength=strength)
    if summary:
        experiment = "iemocap_hubert_large"
        content = {"schema": "spknorm.summary/1", "experiment": experiment, "cells": listed}
        write(folder / "summary.json", content | {"runs": []})
    return folder


def _name(
    upstream: str,
    strategy: str,
    value: float,
    erasure: str | None,
    shuffled: bool,
    protocol: str,
    fold: str,
    seed: int,
    n: int | None,
    draw: int | None,
) -> str:
    """Name a run as the bench does."""
    variant = [erasure or strategy] + [f"lambda{value:g}"] * bool(value) + ["shuffled"] * shuffled
    point = [f"n{n}", f"draw{draw}"] if n else []
    return "-".join([upstream, *variant, protocol, *point, fold, f"seed{seed}"])


def write_run(
    folder: Path,
    upstream: str,
    strategy: str,
    speaker_lambda: float,
    erasure: str | None,
    shuffled: bool,
    protocol: str,
    fold: str,
    seed: int,
    num_samples: int | None,
    draw: int | None,
    *,
    corpus: str = "iemocap",
    probes: bool = True,
) -> None:
    """Write the result files of one run."""
    family = "shuffled" if shuffled else erasure or strategy
    key = [ord(letter) for letter in f"{upstream}{family}{speaker_lambda}{protocol}{fold}{seed}"]
    rng = np.random.default_rng([*key, num_samples or 0, draw or 0])
    strength = 0.0 if not speaker_lambda else 1 + math.log10(speaker_lambda / 1e-3)
    skill = 0.70 + (0.02 if "large" in upstream else 0) + _SKILL[family] * max(0.2, strength)
    skill -= 0.03 * max(0.0, strength - 1.4)
    if protocol == "sd":
        skill += 0.07
    if num_samples:
        skill -= 0.145 * math.exp(-(num_samples - 50) / 260)
    number = int(fold.removeprefix("fold"))
    sessions = range(1, 6) if protocol == "sd" else (number,)
    names = [f"Ses0{session}_{letter}" for session in sessions for letter in "FM"]
    by_speaker = {}
    for name in names:
        shift = np.random.default_rng([ord(letter) for letter in name]).normal(0, 0.045)
        by_speaker[name] = _confusion(rng, skill + shift, 120 if protocol == "sd" else 530)
    confusion = np.sum([np.array(matrix) for matrix in by_speaker.values()], axis=0)
    scores = _scores(confusion)
    has_speakers = strategy != "none"
    result = {
        "schema": "spknorm.result/1",
        "task": "emotion_spknorm",
        "upstream": upstream,
        "strategy": strategy,
        "update": "literal",
        "adversary": _adversary(speaker_lambda) if has_speakers else None,
        "speaker_lambda": speaker_lambda,
        "protocol": protocol,
        "fold": fold,
        "seed": seed,
        "draw": draw,
        "samples_per_label": num_samples,
        "frozen": False,
        "train_feature_extractor": False,
        "steps": 3000,
        "best_step": int(rng.integers(1, 7)) * 500,
        "seconds": round(float(rng.uniform(800, 1100)), 1),
        "num_speakers": NUM_SPEAKERS if has_speakers else 0,
        "dev": {"wa": 0.75, "ua": 0.74, "macro_f1": 0.74, "n": 600},
        "test": scores
        | {"classes": list(CLASSES), "confusion": confusion.tolist(), "by_speaker": by_speaker},
        "final": {"emotion_loss": 0.4, "log_num_speakers": math.log(NUM_SPEAKERS)},
        "versions": VERSIONS,
        "config": {
            "runner": {"total_steps": 3000},
            "downstream_expert": {
                "datarc": {"corpus": corpus, "test_fold": fold, "protocol": protocol},
                "speaker_corpus": {"corpus": "voxceleb1", "shuffle_labels": shuffled},
                "spknorm": {
                    "strategy": strategy,
                    "speaker_lambda": speaker_lambda,
                    "erasure": erasure or "none",
                    "update": "literal",
                    "ascent_clip": None,
                },
            },
        },
        "args": {
            "mode": "train",
            "downstream": "emotion_spknorm",
            "upstream": upstream,
            "config": "configs/iemocap_hubert_large.yaml",
            "override": f"config.downstream_expert.spknorm.strategy={strategy}",
            "expdir": f"result/{folder.name}",
            "seed": seed,
            "upstream_trainable": True,
            "device": "cuda",
        },
    }
    write(folder / "result.json", result)
    _write_history(folder / "metrics.jsonl", rng, scores, has_speakers, speaker_lambda)
    if probes and protocol == "si5" and seed == 0 and not shuffled:
        write_probes(folder / "probe.json", rng, upstream, family, strength)


def set_keys(folder: Path, where: str, **values: Any) -> list[Path]:
    """Set keys of result.json, `a__b` for one inside another, in the runs named like `where`."""
    found = [path for path in sorted(folder.rglob("result.json")) if where in path.parent.name]
    for path in found:
        content = json.loads(path.read_text())
        for key, value in values.items():
            *above, last = key.split("__")
            section = content
            for name in above:
                section = section.setdefault(name, {})
            section[last] = value
        write(path, content)
    return found


def _adversary(speaker_lambda: float) -> dict[str, Any]:
    """What a run says of its adversary; one of lambda 1e-6 or less did nothing."""
    idle = 0 < speaker_lambda <= 1e-6
    doubt = "The shared part moved by less than 1 % of what the emotion loss moved it."
    return {
        "ascent_share": min(1.0, 80 * speaker_lambda),
        "ascent_angle": 91.0,
        "speaker_gain": 0.4,
        "drift": 0.02,
        "without_effect": idle,
        "doubts": [doubt] if idle else [],
    }


def write_features(path: Path, *, stage: str, strength: float, per_speaker: int = 30) -> None:
    """Write pooled features whose speakers lie apart by `strength`, and emotions by one."""
    rng = np.random.default_rng(len(stage))
    speakers = [f"Ses0{session}_{letter}" for session in range(1, 6) for letter in "FM"]
    centres = rng.normal(size=(len(speakers), 32)) * 3 * strength
    directions = rng.normal(size=(len(CLASSES), 32)) * 1.4
    who = np.repeat(np.arange(len(speakers)), per_speaker)
    what = rng.integers(0, len(CLASSES), size=len(who))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        features=(centres[who] + directions[what] + rng.normal(size=(len(who), 32))).astype("f4"),
        speaker=np.array(speakers)[who],
        emotion=np.array(CLASSES)[what],
        stage=np.array(stage),
        upstream=np.array("hubert_large_ll60k"),
    )


def _confusion(rng: np.random.Generator, skill: float, n: int) -> list[list[int]]:
    shares = np.array([0.31, 0.30, 0.20, 0.19])
    slips = np.array(
        [[0, 0.5, 0.2, 0.3], [0.6, 0, 0.25, 0.15], [0.4, 0.5, 0, 0.1], [0.7, 0.2, 0.1, 0]]
    )
    matrix = []
    for row, count in enumerate(rng.multinomial(n, shares)):
        hit = np.clip(skill + rng.normal(0, 0.02) + (0.04, -0.07, 0.02, 0.03)[row], 0.05, 0.97)
        chances = slips[row] * (1 - hit)
        chances[row] = hit
        matrix.append(rng.multinomial(count, chances / chances.sum()).tolist())
    return matrix


def _scores(confusion: Any) -> dict[str, Any]:
    hits, rows, columns = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "wa": float(hits.sum() / confusion.sum()),
        "ua": float(np.mean(hits / np.maximum(rows, 1))),
        "macro_f1": float(np.mean(2 * hits / np.maximum(rows + columns, 1))),
        "n": int(confusion.sum()),
    }


def _write_history(
    path: Path, rng: np.random.Generator, scores: dict[str, Any], speakers: bool, value: float
) -> None:
    top, lines = math.log(NUM_SPEAKERS), []
    for step in range(100, 3001, 100):
        part = step / 3000
        line: dict[str, Any] = {
            "step": step,
            "split": "train",
            "emotion_loss": 1.386 * math.exp(-2.2 * part) + 0.1 + float(rng.normal(0, 0.03)),
            "lr": 1e-5,
        }
        if speakers:
            line["speaker_loss"] = min(top, 5 + 2 * part) + float(rng.normal(0, 0.08))
            line["speaker_accuracy"] = 0.02
            line["log_num_speakers"] = top
            line["speaker_lambda"] = value * (2 / (1 + math.exp(-10 * part)) - 1)
        lines.append(line)
        if step % 500 == 0:
            wa = scores["wa"] * (1 - math.exp(-4 * part)) + 0.02
            lines.append({"step": step, "split": "dev", "wa": wa, "ua": wa - 0.01})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
