"""Whether one lambda means the same on two upstreams and at two learning rates, by reading.

    python benchmarks/strength_across_upstreams.py --larger LARGER.pt --out DATE-strength.json

LARGER.pt: benchmarks/pretrain_demo_hubert.py --layers 6 --width 192. Each upstream is fine-tuned at
each rate with the library's heads and update, from the last hidden state, on one corpus (rho .8,
session 1 left out). The control, lambda 0, ends when the running mean of its emotion loss has come
down to --loss; every reading then does as many steps. Its drop is the control's leakage (a fresh
linear probe for 80 speakers on the mean over time) less its own. A strength that is free of scale
drops alike in all four places: the largest drop over the smallest is printed, one JSON line a
reading. Finished models are kept in --folder.
"""

import argparse
import functools
import json
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from spknorm.controlled import pool
from spknorm.controlled.folds import leakage
from spknorm.controlled.upstream import load_upstream
from spknorm.demo import population
from spknorm.files import write_json
from spknorm.method.model import Heads
from spknorm.method.updates import Groups, Update
from spknorm.runs.result import versions
from spknorm.schema import (
    GroupConfig,
    GroupsConfig,
    MethodConfig,
    OptimizerConfig,
    UpstreamConfig,
)
from spknorm.upstreams.fast import PackedEncoder

RATES = (1e-3, 1e-4)
READINGS: dict[str, dict[str, Any]] = {
    "relative, preconditioned": {
        "update": "relative", "ascent_direction": "preconditioned", "speaker_lambda": 2.0,
    },
    "relative, confusion": {
        "update": "relative", "ascent_direction": "preconditioned", "speaker_lambda": 2.0,
        "adversary": "confusion",
    },
    "relative, raw": {"update": "relative", "ascent_direction": "raw", "speaker_lambda": 2.0},
    "reversal": {"update": "reversal", "speaker_lambda": 0.3},
    "literal": {"update": "literal", "speaker_lambda": 0.03},
}  # fmt: skip
HEAD_OVER_UPSTREAM, SPEAKER_LR, SPEAKER_PRETRAIN_STEPS = 3.0, 1e-2, 600
RHO, FOLD, BATCH, LONGEST = 0.8, 0, 16, 600


class Corpus:
    """Front ends of one corpus under one upstream, and whose they are."""

    def __init__(self, checkpoint: Path | None, seed: int) -> None:
        self.encode = _encoder(checkpoint)[1]
        emotional, emotion, neutral = _spoken(seed)
        with torch.no_grad():
            self.emotional = [_front(self.encode, wave) for wave in emotional]
            self.neutral = [_front(self.encode, wave) for wave in neutral]
        self.emotion = torch.from_numpy(emotion)
        speaker, self.is_train = pool.speaker_split()
        self.speaker = torch.from_numpy(speaker)
        self.known = np.flatnonzero(self.is_train)


def train(
    corpus: Corpus,
    checkpoint: Path | None,
    *,
    rate: float,
    head_rate: float | None,
    method: MethodConfig,
    seed: int,
    loss: float,
    steps: int,
) -> dict[str, Any]:
    """Fine-tune until the running emotion loss is down to `loss`, for `steps` at most; probe."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    upstream, encode = _encoder(checkpoint)
    dim = upstream.model.encoder.embedding_dim
    heads = Heads(
        dim, num_emotions=4, num_speakers=80, strategy="TAP", projector_dim=64,
        speaker_head={"hidden": (64,), "batch_norm": True}, adversary=method.adversary,
    )  # fmt: skip
    assert heads.speaker_head is not None
    groups = Groups(
        upstream=[p for p in upstream.parameters() if p.requires_grad],
        gate=[],
        emotion_head=[*heads.projector.parameters(), *heads.model.parameters()],
        speaker_head=list(heads.speaker_head.parameters()),
    )
    optimizer = OptimizerConfig(
        lr=HEAD_OVER_UPSTREAM * rate if head_rate is None else head_rate,
        groups=GroupsConfig(upstream=GroupConfig(lr=rate), speaker_head=GroupConfig(lr=SPEAKER_LR)),
    )
    update = Update(groups, method=method, optimizer=optimizer, clipping=1.0)
    start = pooled(encode, corpus.neutral)

    def pretrain_pass(_: float) -> None:
        rows = torch.from_numpy(corpus.known)[
            torch.randint(len(corpus.known), (96,), generator=generator)
        ]
        features = [start[row].unsqueeze(0) for row in rows]
        torch.autograd.backward(heads.speaker(features, corpus.speaker[rows], coefficient=0.0).loss)

    losses = [math.log(4)]

    def emotion_pass() -> None:
        rows = torch.randint(len(corpus.emotional), (BATCH,), generator=generator)
        features = encode.transform([corpus.emotional[row] for row in rows])
        found = heads.emotion(features, corpus.emotion[rows]).loss
        torch.autograd.backward(found)
        losses.append(0.9 * losses[-1] + 0.1 * float(found.detach()))

    def speaker_pass(coefficient: float) -> None:
        rows = torch.from_numpy(corpus.known)[
            torch.randint(len(corpus.known), (BATCH,), generator=generator)
        ]
        with torch.set_grad_enabled(coefficient > 0):
            features = encode.transform([corpus.neutral[row] for row in rows])
        torch.autograd.backward(
            heads.speaker(features, corpus.speaker[rows], coefficient=coefficient).loss
        )

    for _ in range(SPEAKER_PRETRAIN_STEPS):
        update.train_speaker_head(pretrain_pass)
    done = 0
    while losses[-1] > loss and done < steps:
        update.step(emotion_pass, speaker_pass, 1.0)
        done += 1
    seen = pooled(encode, corpus.neutral).numpy()
    speaker, known = corpus.speaker.numpy(), corpus.is_train
    return {
        "steps": done,
        "emotion_loss": round(losses[-1], 4),
        "leakage": leakage(seen[known], speaker[known], seen[~known], speaker[~known]),
    }


@torch.no_grad()
def pooled(encode: PackedEncoder, fronts: list[Tensor]) -> Tensor:
    """Return the means over time (N, H) of the last hidden states."""
    means = []
    for place in range(0, len(fronts), 64):
        means += [one.mean(0) for one in encode.transform(fronts[place : place + 64])]
    return torch.stack(means)


@functools.lru_cache(maxsize=1)
def _spoken(seed: int) -> tuple[list[Any], Any, list[Any]]:
    """Return the training utterances, their emotions, and the speaker corpus."""
    rows, places = pool.training_rows(seed, RHO, FOLD), pool.utterances_of(seed)
    emotional = [pool.as_read(population.speak_emotion(seed, *places[row])) for row in rows.row]
    return emotional, rows.emotion, list(pool.neutral_waves(seed))


def _encoder(checkpoint: Path | None) -> tuple[Any, PackedEncoder]:
    from s3prl.upstream.interfaces import Featurizer

    upstream = load_upstream(checkpoint)
    for parameter in upstream.model.feature_extractor.parameters():
        parameter.requires_grad_(False)
    featurizer = Featurizer(upstream, "last_hidden_state", upstream_device="cpu")
    return upstream, PackedEncoder(upstream, featurizer, UpstreamConfig())


def _front(encode: PackedEncoder, wave: np.ndarray) -> Tensor:
    return encode.front_end(torch.from_numpy(wave).float())


def main() -> None:
    """Run what is missing, place by place, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--larger", type=Path, help="without it, the small upstream alone")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("result/strength"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loss", type=float, default=0.5)
    parser.add_argument("--head_rate", type=float, help="of the emotion head, whatever the rate")
    parser.add_argument("--readings", nargs="+", default=list(READINGS), choices=list(READINGS))
    parser.add_argument("--lambda", type=float, dest="strength", help="of relative, to choose by")
    options = parser.parse_args()
    torch.set_num_threads(1)
    places: dict[str, Path | None] = {"3 x 64": None}
    if options.larger:
        places["6 x 192"] = options.larger
    rows: list[dict[str, Any]] = []
    for name, checkpoint in places.items():
        corpus: Corpus | None = None
        for rate in RATES:
            control: dict[str, Any] = {}
            for reading in ("lambda 0", *options.readings):
                settings = dict(READINGS.get(reading, {"update": "literal", "speaker_lambda": 0.0}))
                if options.strength is not None and settings["update"] == "relative":
                    settings["speaker_lambda"] = options.strength
                key = f"{name}-{rate:g}-{reading}-{settings['speaker_lambda']:g}-{options.seed}"
                key += f"-{options.loss:g}-{options.head_rate or 'scaled'}"
                kept = options.folder / f"{key.replace(' ', '')}.json"
                if not kept.exists():
                    corpus = corpus or Corpus(checkpoint, options.seed)
                    began = time.process_time()
                    row = train(
                        corpus,
                        checkpoint,
                        rate=rate,
                        head_rate=options.head_rate,
                        method=MethodConfig(strategy="TAP", **settings),
                        seed=options.seed,
                        loss=-math.inf if control else options.loss,
                        steps=control["steps"] if control else LONGEST,
                    )
                    row["seconds"] = round(time.process_time() - began, 1)
                    write_json(kept, row)
                row = json.loads(kept.read_text())
                control = control or row
                row |= {"upstream": name, "rate": rate, "reading": reading, **settings}
                row["drop"] = round(control["leakage"] - row["leakage"], 4)
                rows.append(row)
    table = []
    for reading in options.readings:
        drops = [row["drop"] for row in rows if row["reading"] == reading]
        ratio = round(max(drops) / min(drops), 2) if min(drops) > 0 else None  # some place rises
        table.append({"reading": reading, "drops": drops, "ratio": ratio})
        print(json.dumps(table[-1]))
    write_json(
        options.out,
        {
            "command": f"python benchmarks/strength_across_upstreams.py --larger LARGER.pt "
            f"--seed {options.seed} --loss {options.loss:g}"
            + (f" --head_rate {options.head_rate:g}" if options.head_rate else ""),
            "what": "leakage of lambda 0 less that of the reading, same number of steps; places: "
            "upstream by upstream, rate by rate, in the order of rows",
            "rates": RATES,
            "versions": versions(),
            "table": table,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
