"""Fine-tuning: this project's steps against stock s3prl's and against transformers' Trainer."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from speed.loops import our_loop, stock_loop, task_loop, transformers_loop
from speed.measure import Figure, matrix_rate, median, summary
from speed.relay import Loop, Relay, Tick
from speed.world import BASE, LARGE, Corpus, make_corpus, make_hubert, useful_flops

LENGTHS = (2.2, 3.1, 4.7, 8.0)
"""Seconds of the four utterances of a batch; the speaker batch is as long."""


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figures of one training step on the CPU."""
    shape, lengths = size_of(quick=quick, short=short)
    ckpt = make_hubert(folder / f"hubert-{shape['layers']}.pt", shape)
    corpus, batch = batch_of(folder / f"finetune-{sum(lengths)}", lengths)

    def ours(strategy: str, cache: str = "off", **options: Any) -> Loop:
        return partial(
            our_loop, ckpt, corpus, batch=batch, strategy=strategy, cache=folder / "cache",
            upstream={"cache": cache}, **options,
        )  # fmt: skip

    def run(**loops: Loop) -> tuple[dict[str, float], dict[str, Any]]:
        times = Relay(rounds=2 if quick else 5).run(loops)
        return {name: median(values) for name, values in times.items()}, summary(times)

    stock = partial(stock_loop, ckpt, corpus, batch=batch)
    whole, whole_times = run(s3prl=stock, none=ours("none"), TAP=ours("TAP"), SNP=ours("SNP"))
    peers, peers_times = run(  # apart from those above, for want of memory
        none=ours("none"),
        TAP=ours("TAP"),
        task=partial(task_loop, ckpt, corpus, batch=batch),
        transformers=partial(transformers_loop, corpus, batch, shape=shape),
    )
    half, half_times = run(
        s3prl_float32=stock,
        none=ours("none", "auto", precision="bf16"),
        TAP=ours("TAP", "auto", precision="bf16"),
        none_uncached=ours("none", precision="bf16"),
        transformers=partial(transformers_loop, corpus, batch, shape=shape, precision="bf16"),
    )
    rates = {kind: matrix_rate(kind) for kind in (torch.float32, torch.bfloat16)}
    yield Figure(
        "TAP step, float32, over stock s3prl", 2 * whole["s3prl"] / whole["TAP"], 1.8,
        note="seconds of audio per second, twice as many in a TAP step; HuBERT Base, CPU, "
        f"{' + '.join(f'{length:g}' for length in lengths)} s",
        details={"float32": whole_times, "float32 peers": peers_times, "bfloat16": half_times},
    )  # fmt: skip
    yield Figure(
        "TAP step, float32, over the same task under s3prl's own Runner",
        peers["task"] / peers["TAP"],
        note="runner.engine s3prl: update reversal, both streams padded in one batch",
    )  # fmt: skip
    yield Figure(
        "emotion step, float32, over stock s3prl", whole["s3prl"] / whole["none"], 1.8,
        note="the same without an adversary",
    )  # fmt: skip
    yield Figure(
        "TAP step, bfloat16 and front end cached, over stock s3prl in float32",
        2 * half["s3prl_float32"] / half["TAP"], 3.5,
    )  # fmt: skip
    yield Figure(
        "emotion step, bfloat16 and front end cached, over stock s3prl in float32",
        half["s3prl_float32"] / half["none"], 3.5,
    )  # fmt: skip
    front_end, transformer = useful_flops(shape, lengths)
    for name, seconds, kind, flops in (
        ("float32", whole["none"], torch.float32, front_end + transformer),
        ("bfloat16, front end cached", half["none"], torch.bfloat16, transformer),
    ):
        yield Figure(
            f"useful FLOPs of the emotion step, {name}, over the matrix rate",
            flops / seconds / rates[kind], 0.7, unit="of the rate",
            note=f"{flops / seconds / 1e9:.0f} of {rates[kind] / 1e9:.0f} GFLOP/s",
        )  # fmt: skip
    yield Figure(
        "emotion step over transformers' Trainer, float32",
        peers["transformers"] / peers["none"], 1.5,
    )  # fmt: skip
    yield Figure(
        "emotion step over transformers' Trainer, bfloat16",
        half["transformers"] / half["none"], 1.5,
        note="front end cached here; without: "
        f"{half['transformers'] / half['none_uncached']:.2f}",
    )  # fmt: skip
    for strategy, target in (("TAP", 2.05), ("SNP", 1.5)):
        yield Figure(
            f"{strategy} iteration over the emotion-only step", whole[strategy] / whole["none"],
            target, at_least=False,
            note="as many seconds of speaker audio as of emotion audio, float32",
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


def measure_gpu(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figures of HuBERT Large on a GPU, or say that there is none."""
    names = (
        ("Large, bfloat16, one GPU, over stock s3prl in float32", 6.0, True, "times"),
        ("Large, useful FLOPs over the bfloat16 matrix rate", 0.45, True, "of the rate"),
        ("Large, peak GPU memory", 24.0, False, "GB"),
        ("Large, peak GPU memory with activations recomputed", 12.0, False, "GB"),
    )
    if not torch.cuda.is_available():
        for name, target, at_least, unit in names:
            yield Figure(name, None, target, at_least=at_least, unit=unit, note="there is no GPU")
        return
    lengths = [3.0 + 3.0 * place / 31 for place in range(32)]  # 4.5 s on average
    ckpt = make_hubert(folder / "hubert-large.pt", LARGE)
    corpus, batch = batch_of(folder / "gpu", lengths)

    def ours(**upstream: Any) -> Loop:
        return partial(
            our_loop, ckpt, corpus, batch=batch, batch_size=32, strategy="none",
            cache=folder / "cache", precision="bf16", device="cuda", upstream=upstream,
        )  # fmt: skip

    contenders = {
        "s3prl": partial(stock_loop, ckpt, corpus, batch=batch, batch_size=32, device="cuda"),
        "ours": ours(),
    }
    relay = Relay(rounds=2 if quick else 5)
    times = relay.run({name: partial(_synced, loop) for name, loop in contenders.items()})
    middle = {name: median(values) for name, values in times.items()}
    yield Figure(names[0][0], middle["s3prl"] / middle["ours"], 6.0, details=summary(times))
    flops = useful_flops(LARGE, lengths)[1]
    rate = matrix_rate(torch.bfloat16, device="cuda")
    yield Figure(names[1][0], flops / middle["ours"] / rate, 0.45, unit="of the rate")
    yield Figure(names[2][0], relay.peaks["ours"], 24.0, at_least=False, unit="GB")
    relay.run({"ours": partial(_synced, ours(checkpoint_activations=True))})
    yield Figure(names[3][0], relay.peaks["ours"], 12.0, at_least=False, unit="GB")


def _synced(loop: Loop, tick: Tick) -> None:
    """Let the GPU finish before a step's time is taken."""

    def tick_when_done() -> None:
        torch.cuda.synchronize()
        tick()

    loop(tick_when_done)


def size_of(*, quick: bool, short: bool) -> tuple[dict[str, Any], tuple[float, ...]]:
    """Return the upstream's shape and the seconds of a batch's utterances."""
    part = 8 if quick else 2 if short else 1
    return {**BASE, "layers": 2} if quick else BASE, tuple(length / part for length in LENGTHS)


def batch_of(folder: Path, lengths: tuple[float, ...] | list[float]) -> tuple[Corpus, list[int]]:
    """Return a corpus and one place of each length, none in the held-out session."""
    every = [length for length in lengths for _ in range(5)]
    batch = [5 * place + 1 for place in range(len(lengths))]  # Session2
    return make_corpus(folder, every), batch
