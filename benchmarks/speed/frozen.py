"""A frozen upstream: what is computed once against what stock s3prl computes in every step."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.loops import our_loop, our_runner, stock_loop, stock_runner
from speed.measure import Figure, alternate, median, now, summary
from speed.relay import Relay
from speed.world import BASE, Corpus, make_corpus, make_hubert

STEPS, BATCH, FOLDS = 200, 32, 5


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figures of emotion recognition on a frozen HuBERT Base, and of a probe."""
    shape = {**BASE, "layers": 2} if quick else BASE
    ckpt = make_hubert(folder / f"hubert-{shape['layers']}.pt", shape)
    generator = np.random.default_rng(0)
    part = 4 if short else 1
    batch = BATCH // part
    lengths = generator.uniform(1, 8, 40 if quick else 400 // part)
    if quick:
        lengths = lengths / 8
    corpus = make_corpus(folder / f"frozen-{len(lengths)}", [float(length) for length in lengths])
    cache = folder / "frozen-cache"
    shutil.rmtree(cache, ignore_errors=True)
    started = now()
    for fold in range(1, FOLDS + 1):
        our_runner(
            ckpt, corpus, strategy="none", cache=cache, batch_size=batch, trainable=False,
            fold=f"fold{fold}",
            runner={"total_steps": STEPS, "eval_step": STEPS, "eval_dataloaders": ["dev", "test"]},
        ).train()  # fmt: skip
    ours = now() - started
    every = 10 if quick else 100
    times = Relay(rounds=2 if quick else 5).run(
        {
            "s3prl": partial(stock_loop, ckpt, corpus, batch_size=batch, trainable=False),
            f"ours, {every} steps": partial(
                our_loop, ckpt, corpus, strategy="none", cache=cache, batch_size=batch,
                trainable=False, every=every,
            ),
        }
    )  # fmt: skip
    stock, step = median(times["s3prl"]), median(times[f"ours, {every} steps"]) / every
    yield Figure(
        "ER on a frozen upstream, five folds, over stock s3prl, end to end",
        stock * STEPS * FOLDS / ours, 100,
        note=f"{ours:.0f} s once, features, dev and test included, against "
        f"{FOLDS} x {STEPS} stock steps of {stock:.2f} s, without dev and test: scaled from "
        f"{len(times['s3prl'])} steps; {len(lengths)} utterances of 1 to 8 s, batches of {batch}",
        details={"ours_s": round(ours, 1), **summary(times)},
    )  # fmt: skip
    yield Figure(
        "the same per optimiser step, once features are there", stock / step, 500,
        note=f"{step * 1e3:.2f} ms per step",
    )  # fmt: skip
    yield from _losses(ckpt, corpus, folder)
    yield from _probe(ckpt, folder, quick=quick)


def _losses(ckpt: Path, corpus: Corpus, folder: Path) -> Iterator[Figure]:
    """Compare the loss of a batch, the head's weights being the same."""
    same = make_corpus(folder / "same-length", [2.0] * 40)
    for name, data, target in (
        ("of one length", same, 1e-4),
        ("of different lengths, which s3prl pads", corpus, None),
    ):
        stock = stock_runner(ckpt, data, batch_size=8, trainable=False)
        ours = our_runner(
            ckpt, data, strategy="none", cache=folder / "cache", batch_size=8, trainable=False
        )
        theirs = stock.downstream.model
        for part in ("projector", "model"):
            getattr(theirs, part).load_state_dict(getattr(ours.expert.heads, part).state_dict())
        batch = ours.expert.streams.emotion(0, 1)[0]
        labels = torch.tensor(batch.labels)
        wavs = [torch.from_numpy(wav) for wav in batch.wavs]
        with torch.no_grad():
            features = stock.featurizer.model(wavs, stock.upstream.model(wavs))
            expected = theirs("train", features, batch.labels, batch.ids, _Records())
            found = ours.expert.heads.emotion(ours.source(batch, corpus="emotion"), labels).loss
        yield Figure(
            f"difference of the losses, utterances {name}", abs(float(found - expected)), target,
            at_least=False, unit="nats",
            note=f"s3prl {float(expected):.6f}, ours {float(found):.6f}",
        )  # fmt: skip


def _probe(ckpt: Path, folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Time a speaker probe against one forward pass over its utterances."""
    from s3prl.upstream.hubert.expert import UpstreamExpert

    from spknorm.audio import load_audio
    from spknorm.corpora.doors import read_list
    from spknorm.features.reader import upstream_reader
    from spknorm.features.reading import Reading
    from spknorm.probe import Pooled, run_probe
    from spknorm.schema import UpstreamConfig

    generator = np.random.default_rng(1)
    lengths = generator.uniform(0.2, 0.5, 20) if quick else generator.uniform(1, 4, 40)
    corpus = make_corpus(folder / f"probe-{len(lengths)}", [float(n) for n in lengths], speakers=5)
    utterances = read_list(corpus.manifest)
    upstream = UpstreamExpert(str(ckpt)).eval()
    speakers = [str(utterance.speaker) for utterance in utterances]
    labels = np.unique(speakers, return_inverse=True)[1]
    cache = folder / "probe-cache"
    reading = Reading("hidden_states", None, normalize=False, rate=320, pooled=True)

    @torch.no_grad()
    def forward() -> None:
        for utterance in utterances:
            upstream([torch.from_numpy(load_audio(utterance.path))])

    def probe() -> Any:
        shutil.rmtree(cache, ignore_errors=True)
        where = UpstreamConfig(cache_dir=str(cache))
        reader = upstream_reader(upstream, reading, config=where)
        keys = reader.fill(utterances)
        assert keys is not None
        pooled = reader.read(utterances, keys)[:, -1]
        half = len(labels) // 2
        return run_probe(
            "linear", Pooled(pooled[:half], labels[:half]), Pooled(pooled[half:], labels[half:])
        )

    times = alternate({"forward": forward, "probe": probe}, rounds=2 if quick else 5)
    yield Figure(
        "a speaker probe over one forward pass of its utterances",
        median(times["probe"]) / median(times["forward"]), 1.15, at_least=False,
        note=f"{len(lengths)} utterances, nothing cached before, linear probe with its interval",
        details=summary(times),
    )  # fmt: skip


class _Records(dict[str, list[Any]]):
    """What s3prl's expert appends to."""

    def __missing__(self, key: str) -> list[Any]:
        self[key] = []
        return self[key]
