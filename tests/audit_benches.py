"""Small corpora and benchmarks for tests of the audit."""

import csv

import numpy as np
import soundfile
from trained_folders import make_trained

from spknorm.probe import classifiers

EMOTIONS = ("neu", "hap", "ang", "sad")


def quicken(patch):
    """Let the probes learn little: which there are, and what is kept of them, is as ever."""
    patch.setattr(classifiers, "_PENALTIES", (10.0,))
    patch.setattr(classifiers, "_MAX_ITERATIONS", 3)
    patch.setattr(classifiers, "_MAX_EPOCHS", 2)


def _voice(path, pitch, seed):
    time = np.arange(1600) / 16000
    noise = np.random.default_rng(seed).normal(0, 0.02, 1600)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * time) + noise, 16000)


def make_audit_corpora(root, each=10):
    """Write two manifests: ten speakers with emotions in five sessions, four with a channel.

    Of the ten there are `each` utterances, of the four ten.
    """
    with (root / "emotion.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "path", "emotion", "speaker", "session"])
        for speaker in range(10):
            for number in range(each):
                name = f"e{speaker}_{number}"
                _voice(root / f"{name}.wav", 100 + 20 * speaker, speaker * 10 + number)
                session = f"Session{speaker // 2 + 1}"
                emotion = EMOTIONS[number % 4]
                rows.writerow([name, f"{name}.wav", emotion, f"speaker{speaker}", session])
    with (root / "speaker.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "path", "speaker", "channel"])
        for speaker in range(4):
            for number in range(10):
                name = f"s{speaker}_{number}"
                _voice(root / f"{name}.wav", 150 + 60 * speaker, 1000 + speaker * 10 + number)
                rows.writerow([name, f"{name}.wav", f"voice{speaker}", f"channel{speaker % 2}"])
    return root


def make_bench(folder, corpora, source, *stages, **options):
    """Write a run per stage, such as `SNP` or `none-frozen`, into folders of that name."""
    for name in stages:
        strategy, _, frozen = name.partition("-")
        make_trained(
            folder / name,
            source,
            strategy=strategy,
            frozen=bool(frozen),
            **options,
            datarc={"corpus": "manifest", "manifest": str(corpora / "emotion.csv")},
            speaker_corpus={"corpus": "manifest", "manifest": str(corpora / "speaker.csv")},
        )
    return folder
