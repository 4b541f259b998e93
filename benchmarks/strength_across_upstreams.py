"""Whether one lambda means the same on two upstreams and at two learning rates, by reading.

    python benchmarks/strength_across_upstreams.py --larger LARGER.pt --out DATE-strength.json

LARGER.pt: benchmarks/pretrain_demo_hubert.py --layers 6 --width 192. Each upstream is fine-tuned at
each rate with the library's heads and update, from the last hidden state, on one corpus (rho .8,
session 1 left out); a step has --batch utterances of each corpus, by default config.yaml's. The
control, lambda 0, ends when the running mean of its emotion loss has come down to --loss; every
reading then does as many steps, or under --until_equal as many as bring its own loss down to that.
Its drop is the control's leakage (a fresh linear probe for 80 speakers on the mean over time) less
its own. A strength that is free of scale drops alike in all four places: the largest drop over the
smallest is printed, one JSON line a reading, of means over --seeds, with where it lies in 95 of 100
draws of the seeds with replacement. Finished models are kept in --folder. Trained are the uppermost
--share of the layers of each upstream, and the emotion head at --head_over_upstream times their
rate, more slowly than they, so that they have to move as far as the loss asks.
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
from numpy.typing import NDArray
from torch import Tensor, nn
from upper_layers import Upper

from spknorm import config, registry
from spknorm.controlled import pool
from spknorm.controlled.folds import leakage
from spknorm.controlled.upstream import load_upstream
from spknorm.demo import population
from spknorm.files import write_json
from spknorm.method.model import Heads
from spknorm.method.optim.ascent import leaves_behind
from spknorm.method.updates import Groups, Update
from spknorm.runs.result import versions
from spknorm.schema import GroupConfig, GroupsConfig, MethodConfig, OptimizerConfig, UpstreamConfig
from spknorm.upstreams.fast import PackedEncoder

RATES = (1e-3, 1e-4)
TASK = config.parse(config.load_yaml(registry.config_path("emotion_spknorm"))).downstream_expert
RELATIVE: dict[str, Any] = {"update": "relative", "relative_to": "step", "speaker_lambda": 2.0}
CONFUSION = RELATIVE | {"ascent_direction": "raw", "adversary": "confusion"}
TO_LOSS = CONFUSION | {"relative_to": "loss"}
TO_LOSS["speaker_lambda"] = TASK.spknorm.speaker_lambda
READINGS: dict[str, dict[str, Any]] = {
    "relative, preconditioned": RELATIVE,
    "relative, raw": RELATIVE | {"ascent_direction": "raw"},
    "relative, confusion": RELATIVE | {"adversary": "confusion"},
    "relative, raw, confusion": CONFUSION,
    "relative to the loss": TO_LOSS,
    "relative to the loss, preconditioned": TO_LOSS | {"ascent_direction": "preconditioned"},
    "reversal": {"update": "reversal", "speaker_lambda": 0.3},
    "literal": {"update": "literal", "speaker_lambda": 0.03},
}
COMPARED = ("relative to the loss", "reversal", "literal")
PATHS = ("larger", "out", "folder")
SPEAKER_LR, SPEAKER_PRETRAIN_STEPS = 1e-2, 600
RHO, FOLD, LONGEST, DRAWS = 0.8, 0, 3000, 10_000


class Corpus:
    """What is below the trained part of one upstream, of one corpus, and whose it is."""

    def __init__(self, options: argparse.Namespace, checkpoint: Path | None, seed: int) -> None:
        *_, encode = _encoder(checkpoint, options.share)
        emotional, emotion, neutral = _spoken(seed, options.further)
        with torch.no_grad():
            self.emotional, self.neutral = (
                encode.front_ends([torch.from_numpy(wave).float() for wave in waves])
                for waves in (emotional, neutral)
            )
        self.emotion = torch.from_numpy(emotion)
        speaker, is_train = pool.speaker_split()
        further = np.repeat(np.arange(population.NUM_SPEAKERS), options.further)
        self.is_train = np.concatenate([is_train, np.zeros(len(further), dtype=bool)])
        speaker = np.concatenate([speaker, further])
        self.speaker = torch.from_numpy(speaker)
        self.known = torch.from_numpy(np.flatnonzero(self.is_train))


def train(
    corpus: Corpus,
    encoder: tuple[list[nn.Parameter], int, Any],
    *,
    rate: float,
    head_rate: float,
    method: MethodConfig,
    seed: int,
    batch: int,
    loss: float,
    steps: int,
) -> dict[str, Any]:
    """Fine-tune until the running emotion loss is down to `loss`, for `steps` at most; probe."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    weights, dim, encode = encoder
    heads = Heads(
        dim, num_emotions=4, num_speakers=80, strategy="TAP", projector_dim=64,
        speaker_head={"hidden": (64,), "batch_norm": True}, adversary=method.adversary,
    ).to(weights[0].device)  # fmt: skip
    assert heads.speaker_head is not None
    groups = Groups(
        upstream=weights,
        gate=[],
        emotion_head=[*heads.projector.parameters(), *heads.model.parameters()],
        speaker_head=list(heads.speaker_head.parameters()),
    )
    optimizer = OptimizerConfig(
        lr=head_rate,
        groups=GroupsConfig(upstream=GroupConfig(lr=rate), speaker_head=GroupConfig(lr=SPEAKER_LR)),
    )
    update = Update(groups, method=method, optimizer=optimizer, clipping=1.0)
    of_emotion = torch.Generator().manual_seed(seed + 1000)  # the same batches in every reading
    start = pooled(encode, corpus.neutral)

    def pretrain_pass(_: float) -> None:
        rows = corpus.known[torch.randint(len(corpus.known), (96,), generator=generator)]
        features = [start[row].unsqueeze(0) for row in rows]
        torch.autograd.backward(heads.speaker(features, corpus.speaker[rows], coefficient=0.0).loss)

    losses, last = [math.log(4)], dict[str, Tensor]()

    def emotion_pass() -> None:
        rows = torch.randint(len(corpus.emotional), (batch,), generator=of_emotion)
        features = encode.transform([corpus.emotional[row] for row in rows])
        found = heads.emotion(features, corpus.emotion[rows]).loss
        torch.autograd.backward(found)
        last["emotion"] = found.detach()
        losses.append(0.9 * losses[-1] + 0.1 * float(last["emotion"]))

    def speaker_pass(coefficient: float) -> None:
        rows = corpus.known[torch.randint(len(corpus.known), (batch,), generator=generator)]
        with torch.set_grad_enabled(coefficient > 0):
            features = encode.transform([corpus.neutral[row] for row in rows])
        found = heads.speaker(features, corpus.speaker[rows], coefficient=coefficient)
        torch.autograd.backward(found.loss)
        if method.goes_by_loss:
            last["excess"] = heads.excess_of(found.logits.detach())

    further = 0 if method.strategy == "none" else method.speaker_steps - 1
    for _ in range(0 if method.strategy == "none" else SPEAKER_PRETRAIN_STEPS):
        update.train_speaker_head(pretrain_pass)
    done, caught_up, behind = 0, 0, False
    while losses[-1] > loss and done < steps:
        step = update.step(
            emotion_pass,
            speaker_pass,
            1.0,
            losses=lambda: (last["emotion"], last["excess"]),
            head_passes=[speaker_pass] * (behind + further),
        )
        behind = leaves_behind(method, step.ascent)
        done, caught_up = done + 1, caught_up + behind
    seen = pooled(encode, corpus.neutral).cpu().numpy()
    speaker, known = corpus.speaker.cpu().numpy(), corpus.is_train
    return {
        "steps": done,
        "caught_up": caught_up,
        "emotion_loss": round(losses[-1], 4),
        "leakage": leakage(seen[known], speaker[known], seen[~known], speaker[~known]),
    }


@torch.no_grad()
def pooled(encode: Any, fronts: list[Tensor]) -> Tensor:
    """Return the means over time (N, H) of the last hidden states."""
    means = []
    for place in range(0, len(fronts), 64):
        means += [one.mean(0) for one in encode.transform(fronts[place : place + 64])]
    return torch.stack(means)


@functools.lru_cache(maxsize=1)
def _spoken(seed: int, further: int) -> tuple[list[Any], Any, list[Any]]:
    """Return training utterances, their emotions, the speaker corpus and more of each speaker."""
    rows, places = pool.training_rows(seed, RHO, FOLD), pool.utterances_of(seed)
    emotional = [pool.as_read(population.speak_emotion(seed, *places[row])) for row in rows.row]
    more = [
        pool.as_read(population.speak_neutral(seed, speaker, population.UTTERANCES_PER_SPEAKER + n))
        for speaker in range(population.NUM_SPEAKERS)
        for n in range(further)
    ]
    return emotional, rows.emotion, [*pool.neutral_waves(seed), *more]


def _encoder(checkpoint: Path | None, share: float | None) -> tuple[list[nn.Parameter], int, Any]:
    """Return what is trained of an upstream, its width, and what runs it."""
    from s3prl.upstream.interfaces import Featurizer

    upstream = load_upstream(checkpoint)
    dim = upstream.model.encoder.embedding_dim
    if share:
        upper = Upper(upstream, math.ceil(round(share * len(upstream.model.encoder.layers), 1)))
        return [p for layer in upper.trained for p in layer.parameters()], dim, upper
    for parameter in upstream.model.feature_extractor.parameters():
        parameter.requires_grad_(False)
    featurizer = Featurizer(upstream, "last_hidden_state", upstream_device="cpu")
    weights = [p for p in upstream.parameters() if p.requires_grad]
    return weights, dim, PackedEncoder(upstream, featurizer, UpstreamConfig())


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--larger", type=Path, help="without it, the small upstream alone")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("result/strength"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--loss", type=float, default=0.35)
    parser.add_argument("--head_over_upstream", type=float, default=0.1, help="of learning rates")
    parser.add_argument("--share", type=float, default=0.67, help="of the layers; 0: all weights")
    parser.add_argument(
        "--until_equal", action="store_true", help="readings, too, end at --loss, not as control"
    )
    parser.add_argument("--batch", type=int, help="utterances of each corpus in a step")
    parser.set_defaults(batch=TASK.speaker_corpus.batch_size)
    parser.add_argument("--speaker_steps", type=int, default=1, help="of the head, per iteration")
    parser.add_argument("--catch_up", type=float, help="relative to the loss; 1: never")
    parser.set_defaults(catch_up=TASK.spknorm.speaker_catch_up)
    parser.add_argument("--further", type=int, default=4, help="utterances a speaker to probe")
    parser.add_argument("--readings", nargs="+", default=list(COMPARED), choices=list(READINGS))
    parser.add_argument("--lambda", type=float, dest="strength", help="of relative, to choose by")
    return parser


def _rows(options: argparse.Namespace, name: str, checkpoint: Path | None, seed: int) -> list[Any]:
    """Return the rows of one upstream and seed; run what is missing."""
    corpus: Corpus | None = None
    rows: list[dict[str, Any]] = []
    for rate in RATES:
        control: dict[str, Any] = {}
        for reading in ("lambda 0", *options.readings):
            settings = dict(READINGS.get(reading, {"update": "literal", "speaker_lambda": 0.0}))
            settings["speaker_steps"] = options.speaker_steps
            settings["speaker_catch_up"] = options.catch_up
            if options.strength is not None and settings["update"] == "relative":
                settings["speaker_lambda"] = options.strength
            strategy = "TAP" if control else "none"
            key = [name, rate, reading, settings["speaker_lambda"], seed, options.loss]
            key += [options.head_over_upstream, options.share, options.further, options.batch]
            if control:
                key += [f"catch{options.catch_up}"] * (settings.get("relative_to") == "loss")
                key += ["equal"] * options.until_equal
                key += [f"{options.speaker_steps}steps"] * (options.speaker_steps > 1)
            kept = options.folder / f"{'-'.join(map(str, key)).replace(' ', '')}.json"
            if not kept.exists():
                corpus = corpus or Corpus(options, checkpoint, seed)
                began = time.process_time()
                row = train(
                    corpus,
                    _encoder(checkpoint, options.share),
                    rate=rate,
                    head_rate=options.head_over_upstream * rate,
                    method=MethodConfig(**{**settings, "strategy": strategy}),
                    seed=seed,
                    batch=options.batch,
                    loss=options.loss if options.until_equal or not control else -math.inf,
                    steps=LONGEST if options.until_equal or not control else control["steps"],
                )
                row["seconds"] = round(time.process_time() - began, 1)
                write_json(kept, row)
            row = json.loads(kept.read_text())
            control = control or row
            row |= {"upstream": name, "rate": rate, "seed": seed, "reading": reading, **settings}
            row["drop"] = round(control["leakage"] - row["leakage"], 4)
            rows.append(row)
    return rows


def _interval(drops: NDArray[np.floating]) -> list[float | None]:
    """Return where the ratio lies in 95 of 100 draws of the seeds of drops (places, seeds).

    A draw in which some place rises has none and counts as infinite, which is None here.
    """
    draws = np.random.default_rng(0).integers(drops.shape[1], size=(DRAWS, drops.shape[1]))
    means = drops[:, draws].mean(axis=2)
    least = means.min(axis=0)
    ratios = np.where(least > 0, means.max(axis=0) / np.where(least > 0, least, 1.0), math.inf)
    ends = np.quantile(ratios, (0.025, 0.975), method="nearest")
    return [round(float(end), 2) if end < math.inf else None for end in ends]


def main() -> None:
    """Run what is missing, place by place, and write the table."""
    options = _arguments().parse_args()
    torch.set_num_threads(1)
    places: dict[str, Path | None] = {"3 x 64": None}
    if options.larger:
        places["6 x 192"] = options.larger
    pairs = [(seed, *place) for seed in options.seeds for place in places.items()]
    rows = [row for seed, name, path in pairs for row in _rows(options, name, path, seed)]
    table = []
    for reading in options.readings:
        drops: dict[tuple[str, float], list[float]] = {}
        for row in rows:
            if row["reading"] == reading:
                drops.setdefault((row["upstream"], row["rate"]), []).append(row["drop"])
        means = [round(float(np.mean(each)), 4) for each in drops.values()]
        ratio = round(max(means) / min(means), 2) if min(means) > 0 else None  # some place rises
        spread = [round(float(np.std(each, ddof=1)), 4) for each in drops.values() if each[1:]]
        table.append({"reading": reading, "drops": means, "deviations": spread, "ratio": ratio})
        table[-1]["interval"] = _interval(np.array([*drops.values()]))
        print(json.dumps(table[-1]))
    write_json(
        options.out,
        {
            "command": "python benchmarks/strength_across_upstreams.py --larger LARGER.pt",
            "options": {key: one for key, one in vars(options).items() if key not in PATHS},
            "what": "leakage of lambda 0 less that of the reading, as many steps, means over "
            "seeds; places: upstream by upstream, rate by rate, in the order of rows",
            "rates": RATES,
            "versions": versions(),
            "table": table,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
