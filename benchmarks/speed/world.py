"""What the figures are measured on: random upstreams of the real shapes, corpora of noise.

Noise costs what speech costs. Every corpus is written twice over: as s3prl's fold JSON for its own
`emotion` task and as a manifest for this project's.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch

CONV = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
BASE = {"layers": 12, "dim": 768, "ffn": 3072, "heads": 12, "dropout": 0.1, "large": False}
LARGE = {"layers": 24, "dim": 1024, "ffn": 4096, "heads": 16, "dropout": 0.0, "large": True}
XLARGE = {"layers": 48, "dim": 1280, "ffn": 5120, "heads": 16, "dropout": 0.0, "large": True}
"""Shapes of HuBERT as released: dropout only in Base, layer norms first in the larger two."""

EMOTIONS = ("neu", "hap", "ang", "sad")


class Corpus(NamedTuple):
    """A corpus on disk.

    Attributes:
        root: Folder of the audio.
        meta_data: Folder with s3prl's SessionN/{train,test}_meta_data.json.
        manifest: The same as CSV, with speaker and session.
        seconds: Length of each utterance.
    """

    root: Path
    meta_data: Path
    manifest: Path
    seconds: list[float]


def make_hubert(path: Path, shape: dict[str, Any]) -> Path:
    """Write a random HuBERT of a shape in s3prl's converted format, unless it is there."""
    if path.exists():
        return path
    from s3prl.upstream.hubert.hubert_model import (
        HubertConfig,
        HubertModel,
        HubertPretrainingConfig,
    )

    large = shape["large"]
    model_cfg = {
        "label_rate": 50.0,
        "encoder_layers": shape["layers"],
        "encoder_embed_dim": shape["dim"],
        "encoder_ffn_embed_dim": shape["ffn"],
        "encoder_attention_heads": shape["heads"],
        "dropout": shape["dropout"],
        "attention_dropout": shape["dropout"],
        "dropout_input": shape["dropout"],
        "dropout_features": shape["dropout"],
        "encoder_layerdrop": 0.05,
        "layer_norm_first": large,
        "extractor_mode": "layer_norm" if large else "default",
        "conv_bias": False,
        "final_dim": 256,
        "conv_feature_layers": CONV,
    }
    task_cfg = {"label_rate": 50.0, "normalize": large}
    symbols = [[str(unit) for unit in range(504)]]
    torch.manual_seed(0)
    model = HubertModel(HubertConfig(**model_cfg), HubertPretrainingConfig(**task_cfg), symbols)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "task_cfg": task_cfg,
            "model_cfg": model_cfg,
            "model_weight": model.state_dict(),
            "dictionaries_symbols": symbols,
        },
        path,
    )
    return path


def useful_flops(
    shape: dict[str, Any], seconds: Sequence[float], *, training: bool = True
) -> tuple[float, float]:
    """Return floating-point operations of the front end and of the transformer, without padding.

    A product of (m, k) and (k, n) counts 2 m k n; the transformer counts three times when it is
    trained (forward, and backward to inputs and weights), the frozen front end once. What is not
    a matrix product or a convolution counts nothing.
    """
    front_end = transformer = 0.0
    dim, ffn = shape["dim"], shape["ffn"]
    for length in seconds:
        frames = int(length * 16000)
        channels = 1
        for width, kernel, stride in [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]:
            frames = (frames - kernel) // stride + 1
            front_end += 2 * frames * channels * kernel * width
            channels = width
        layer = 2 * frames * (4 * dim * dim + 2 * dim * ffn) + 4 * frames * frames * dim
        transformer += 2 * frames * (512 * dim + dim * (dim // 16) * 128) + shape["layers"] * layer
    return front_end, transformer * (3 if training else 1)


def make_corpus(
    folder: Path,
    seconds: Sequence[float],
    *,
    seed: int = 0,
    speakers: int = 10,
    kind: str = "wav",
) -> Corpus:
    """Write utterances of noise of the given lengths, dealt out to five sessions in turn.

    `kind` is the audio files' extension.
    """
    generator = np.random.default_rng(seed)
    rows: list[dict[str, str]] = []
    for number, length in enumerate(seconds):
        session = f"Session{number % 5 + 1}"
        file = folder / session / f"u{number:05d}.{kind}"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, 0.1 * generator.standard_normal(int(length * 16000)), 16000)
        speaker = number % 5 * (speakers // 5) + number // 20 % (speakers // 5)
        rows.append(
            {
                "id": file.stem,
                "path": str(file.relative_to(folder)),
                "emotion": EMOTIONS[number // 5 % 4],
                "speaker": f"speaker{speaker}",
                "session": session,
            }
        )
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    _write_folds(folder, rows)
    return Corpus(folder, folder / "meta_data", folder / "manifest.csv", list(seconds))


def _write_folds(folder: Path, rows: list[dict[str, str]]) -> None:
    labels = {emotion: index for index, emotion in enumerate(EMOTIONS)}
    for held_out in range(1, 6):
        name = f"Session{held_out}"
        for part in ("train", "test"):
            chosen = [row for row in rows if (row["session"] == name) == (part == "test")]
            file = folder / "meta_data" / name / f"{part}_meta_data.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            meta = [
                {"path": r["path"], "label": r["emotion"], "speaker": r["speaker"]} for r in chosen
            ]
            file.write_text(json.dumps({"labels": labels, "meta_data": meta}))
