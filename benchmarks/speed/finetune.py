"""Fine-tuning: this project's steps against stock s3prl's and against transformers' Trainer."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from speed.loops import (
    PRODUCTS_FLOPS,
    our_loop,
    products_loop,
    stock_loop,
    task_loop,
    transformers_loop,
)
from speed.measure import Figure, median, summary
from speed.relay import Loop, Relay
from speed.world import BASE, Corpus, make_corpus, make_hubert, useful_flops

LENGTHS = (2.2, 3.1, 4.7, 8.0)
"""Seconds of the four utterances of a batch; the speaker batch is as long."""


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figures of one training step in float32 on the CPU."""
    world = _World(folder, quick=quick, short=short)
    times = world.run(
        s3prl=world.stock, none=world.ours("none"), TAP=world.ours("TAP"), SNP=world.ours("SNP"),
        products=partial(products_loop, torch.float32),
    )  # fmt: skip
    peers = world.run(  # apart from those above, for want of memory
        none=world.ours("none"), TAP=world.ours("TAP"),
        task=partial(task_loop, world.ckpt, world.corpus, batch=world.batch),
        transformers=world.transformers(),
    )  # fmt: skip
    yield Figure(
        "TAP step, float32, over stock s3prl", 2 * times["s3prl"] / times["TAP"], 1.8,
        note="seconds of audio per second, twice as many in a TAP step; HuBERT Base, CPU, "
        f"{' + '.join(f'{length:g}' for length in world.lengths)} s",
        details={"with stock": times.every, "with peers": peers.every},
    )  # fmt: skip
    yield Figure(
        "TAP step, float32, over the same task under s3prl's own Runner",
        peers["task"] / peers["TAP"],
        note="runner.engine s3prl: update reversal, both streams padded in one batch",
    )  # fmt: skip
    yield Figure(
        "emotion step, float32, over stock s3prl", times["s3prl"] / times["none"], 1.8,
        note="the same without an adversary",
    )  # fmt: skip
    yield world.useful("float32", times, flops=sum(world.flops))
    yield Figure(
        "emotion step over transformers' Trainer, float32",
        peers["transformers"] / peers["none"], 1.5,
    )  # fmt: skip
    for strategy, target in (("TAP", 2.05), ("SNP", 1.5)):
        yield Figure(
            f"{strategy} iteration over the emotion-only step", times[strategy] / times["none"],
            target, at_least=False,
            note="as many seconds of speaker audio as of emotion audio, float32",
        )  # fmt: skip


def measure_bfloat16(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figures of one training step in bfloat16, the front end cached, on the CPU."""
    world = _World(folder, quick=quick, short=short)
    times = world.run(
        s3prl_float32=world.stock,
        none=world.ours("none", "auto", precision="bf16"),
        TAP=world.ours("TAP", "auto", precision="bf16"),
        none_uncached=world.ours("none", precision="bf16"),
        transformers=world.transformers(precision="bf16"),
        products=partial(products_loop, torch.bfloat16),
    )
    yield Figure(
        "TAP step, bfloat16 and front end cached, over stock s3prl in float32",
        2 * times["s3prl_float32"] / times["TAP"], 3.5, details=times.every,
    )  # fmt: skip
    yield Figure(
        "emotion step, bfloat16 and front end cached, over stock s3prl in float32",
        times["s3prl_float32"] / times["none"], 3.5,
    )  # fmt: skip
    yield world.useful("bfloat16, front end cached", times, flops=world.flops[1])
    yield Figure(
        "emotion step over transformers' Trainer, bfloat16",
        times["transformers"] / times["none"], 1.5,
        note="front end cached here; without: "
        f"{times['transformers'] / times['none_uncached']:.2f}",
    )  # fmt: skip


class _Times(dict[str, float]):
    """Medians of seconds by contender; `every` has all of them."""

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        super().__init__({name: median(values) for name, values in seconds.items()})
        self.every = summary(seconds)


class _World:
    """HuBERT Base, a batch, and the loops that are run on them."""

    def __init__(self, folder: Path, *, quick: bool, short: bool) -> None:
        self._cache, self._rounds = folder / "cache", 2 if quick else 5
        self._shape, self.lengths = size_of(quick=quick, short=short)
        self.ckpt = make_hubert(folder / f"hubert-{self._shape['layers']}.pt", self._shape)
        self.corpus, self.batch = batch_of(folder / f"finetune-{sum(self.lengths)}", self.lengths)
        self.stock = partial(stock_loop, self.ckpt, self.corpus, batch=self.batch)
        self.flops = useful_flops(self._shape, self.lengths)

    def run(self, **loops: Loop) -> _Times:
        return _Times(Relay(rounds=self._rounds).run(loops))

    def ours(self, strategy: str, cache: str = "off", **options: Any) -> Loop:
        return partial(
            our_loop, self.ckpt, self.corpus, batch=self.batch, strategy=strategy,
            cache=self._cache, upstream={"cache": cache}, **options,
        )  # fmt: skip

    def transformers(self, **options: Any) -> Loop:
        return partial(transformers_loop, self.corpus, self.batch, shape=self._shape, **options)

    def useful(self, name: str, times: _Times, *, flops: float) -> Figure:
        done, possible = flops / times["none"], PRODUCTS_FLOPS / times["products"]
        return Figure(
            f"useful FLOPs of the emotion step, {name}, over the matrix rate", done / possible,
            0.7, unit="of the rate",
            note=f"{done / 1e9:.0f} of {possible / 1e9:.0f} GFLOP/s, measured in turn",
        )  # fmt: skip


def measure_options(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield what the options `packed` and `checkpoint_activations` cost or save on the CPU."""
    shape, lengths = size_of(quick=quick, short=short)
    ckpt = make_hubert(folder / f"hubert-{shape['layers']}.pt", shape)
    corpus, batch = batch_of(folder / f"finetune-{sum(lengths)}", lengths)

    def ours(**upstream: Any) -> Loop:
        return partial(
            our_loop, ckpt, corpus, batch=batch, strategy="none", cache=folder / "cache",
            upstream={"cache": "off", **upstream},
        )  # fmt: skip

    times = Relay(rounds=2 if quick else 5).run(
        {
            "plain": ours(),
            "padded": ours(packed=False),
            "activations recomputed": ours(checkpoint_activations=True),
        }
    )
    for name in ("padded", "activations recomputed"):
        yield Figure(
            f"emotion step, {name}, over the plain one",
            median(times[name]) / median(times["plain"]),
            note="an option's cost", details=summary(times) if name == "padded" else {},
        )  # fmt: skip


def measure_compiled(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield what torch.compile makes of a step of two layers, compilation left out."""
    shape = {**BASE, "layers": 2}
    ckpt = make_hubert(folder / "hubert-2.pt", shape)
    corpus, batch = batch_of(folder / "compiled", LENGTHS)

    def ours(**upstream: Any) -> Loop:
        return partial(
            our_loop, ckpt, corpus, batch=batch, strategy="none", cache=folder / "cache",
            upstream=upstream,
        )  # fmt: skip

    times = Relay(rounds=2 if quick else 5).run({"plain": ours(), "compiled": ours(compile=True)})
    yield Figure(
        "emotion step, upstream.compile, over the plain one (two layers)",
        median(times["compiled"]) / median(times["plain"]),
        note="an option, off by default",
        details=summary(times),
    )


def size_of(*, quick: bool, short: bool) -> tuple[dict[str, Any], tuple[float, ...]]:
    """Return the upstream's shape and the seconds of a batch's utterances."""
    part = 8 if quick else 2 if short else 1
    return {**BASE, "layers": 2} if quick else BASE, tuple(length / part for length in LENGTHS)


def batch_of(folder: Path, lengths: tuple[float, ...] | list[float]) -> tuple[Corpus, list[int]]:
    """Return a corpus and one place of each length, none in the held-out session."""
    every = [length for length in lengths for _ in range(5)]
    batch = [5 * place + 1 for place in range(len(lengths))]  # Session2
    return make_corpus(folder, every), batch
