"""The first hour on a GPU: what docs/performance.md cannot say without one, each part by itself.

A part that breaks off is told in the result and does not keep the others from being measured.
HuBERT Large and Base of random weights; batches of 32 utterances; all but s3prl in bfloat16.
"""

import multiprocessing
import os
import re
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from speed import gpu_checks
from speed.finetune import batch_of
from speed.loops import our_loop, stock_loop, transformers_loop
from speed.measure import Figure, matrix_rate, median, now, summary
from speed.relay import Loop, OneByOne, Relay, Tick
from speed.world import BASE, LARGE, Corpus, make_corpus, make_hubert, useful_flops
from spknorm.config.device import reason_unusable
from spknorm.errors import is_out_of_memory

STRATEGIES = ("none", "SNP", "TAP")
SIZES = (32, 16, 8)
"""Utterances of a batch: the next of them where the memory of all contenders is short."""


def reason_unmeasurable() -> str | None:
    """Return why nothing can be measured here; None on a machine with a GPU."""
    if torch.cuda.is_available():
        return None
    return reason_unusable() or "there is no GPU"


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield all figures of a GPU, or say that there is none."""
    reason = reason_unmeasurable()
    if reason is not None:
        yield Figure("everything on a GPU", None, note=reason)
        return
    worlds = [_World.make(folder, name, quick=quick) for name in ("Large", "Base")]
    rate = matrix_rate(torch.bfloat16, device="cuda", size=64 if quick else 0)
    yield Figure("bfloat16 matrix rate", rate / 1e12, unit="TFLOP/s")
    for world in worlds:
        yield from _guarded(f"{world.name}, one batch", partial(_one_batch, world, rate))
        yield from _guarded(f"{world.name}, lengths that vary", partial(_varying, world))
        yield from _guarded(f"{world.name}, waits", partial(_waits, world))
        yield from _guarded(f"{world.name}, resumed", partial(_resumed, world))
    yield from _guarded("features and probe", partial(_features, worlds[-1]))
    if not quick:
        yield from _guarded("compiled", partial(_compiled, worlds[-1]))


def _guarded(name: str, part: Callable[[], Iterator[Figure]]) -> Iterator[Figure]:
    try:
        yield from part()
    except Exception as error:
        details = {"traceback": traceback.format_exc()}
        yield Figure(name, None, note=_what_broke(error), details=details)


def _what_broke(error: Exception) -> str:
    """Return the line that says what: of a loop's traceback the last that names an error.

    Below it CUDA's errors have advice on debugging.
    """
    told = str(error).strip().splitlines() or [type(error).__name__]
    named = [line for line in told if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return named[-1] if named else told[0]


class _World(NamedTuple):
    """An upstream and corpora of one size.

    Attributes:
        name: Large or Base.
        shape: Of the upstream.
        ckpt: Its file.
        fixed: Corpus of the batch that is given again and again.
        batch: Its places there.
        lengths: Seconds of its utterances.
        varied: A corpus of lengths that vary, whose batches are drawn.
        cache: Of front ends.
        rounds: Steps that are timed.
        quick: All in this process, to see that it runs.
    """

    name: str
    shape: dict[str, Any]
    ckpt: Path
    fixed: Corpus
    batch: list[int]
    lengths: list[float]
    varied: Corpus
    cache: Path
    rounds: int
    quick: bool

    @classmethod
    def make(cls, folder: Path, name: str, *, quick: bool) -> "_World":
        """Write what is measured into a folder, unless it is there."""
        shape, part = {"Large": LARGE, "Base": BASE}[name], 1
        if quick:
            shape, part = {**shape, "layers": 2, "dim": 64, "ffn": 128, "heads": 2}, 8
        lengths = [(3.0 + 3.0 * place / 31) / part for place in range(32 // part)]
        fixed, batch = batch_of(folder / "gpu", lengths)
        seconds = np.random.default_rng(0).uniform(2 / part, 10 / part, 40 if quick else 320)
        varied = make_corpus(folder / "gpu-varied", [float(length) for length in seconds])
        ckpt = make_hubert(folder / f"hubert-{name}-{shape['dim']}.pt", shape)
        return cls(
            name, shape, ckpt, fixed, batch, lengths, varied, folder / "cache",
            2 if quick else 5, quick,
        )  # fmt: skip

    @staticmethod
    def spread(values: list[Any], size: int) -> list[Any]:
        """Return `size` of some values, from the first to nearly the last of them."""
        return values[:: len(values) // size]

    def relay(self, *, rounds: int = 0, warmup: int = 3) -> Relay:
        """Return what lets loops take turns."""
        if self.quick:
            return OneByOne(rounds=1, warmup=1)
        return Relay(rounds=rounds or self.rounds, warmup=warmup)

    def apart(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function in a process of its own, whose settings of torch are its own, too."""
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic products ask for it
        try:
            if self.quick:
                return function(*arguments, **options)
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                return process.submit(function, *arguments, **options).result()
        finally:
            del os.environ["CUBLAS_WORKSPACE_CONFIG"]

    def ours(self, *, varied: bool = False, strategy: str = "none", **upstream: Any) -> Loop:
        """Return this project's loop in bfloat16, timed to the end of the GPU's work."""
        corpus = self.varied if varied else self.fixed
        return partial(
            synced,
            partial(
                our_loop, self.ckpt, corpus, batch=None if varied else self.batch,
                batch_size=len(self.batch), strategy=strategy, cache=self.cache, precision="bf16",
                device="cuda", upstream=upstream,
            ),
        )  # fmt: skip


def _one_batch(world: _World, rate: float) -> Iterator[Figure]:
    """Compare steps on a batch: s3prl in float32, transformers' Trainer, and this project."""
    large = world.name == "Large"
    size, times, peaks = _in_turns(world)
    middle = {name: median(values) for name, values in times.items()}
    note = f"{size} utterances of {world.lengths[0]:g} to {world.lengths[-1]:g} s, front end cached"
    yield Figure(
        f"{world.name}, bfloat16, over stock s3prl in float32",
        middle["s3prl"] / middle["none"], 6.0 if large else None, note=note,
        details=summary(times),
    )  # fmt: skip
    yield Figure(
        f"{world.name}, bfloat16, over transformers' Trainer in bfloat16",
        middle["transformers"] / middle["none"], 1.5, note=note,
    )  # fmt: skip
    flops = useful_flops(world.shape, world.spread(world.lengths, size))[1]
    yield Figure(
        f"{world.name}, useful FLOPs over the bfloat16 matrix rate",
        flops / middle["none"] / rate, 0.45 if large else None, unit="of the rate", note=note,
    )  # fmt: skip
    for name, target in (
        ("none", 24.0 if large else None),
        ("s3prl", None),
        ("transformers", None),
    ):
        yield Figure(
            f"{world.name}, peak GPU memory, {name}", peaks[name], target, at_least=False, unit="GB"
        )
    relay = world.relay()
    again = relay.run({"none": world.ours(checkpoint_activations=True)})
    yield Figure(
        f"{world.name}, peak GPU memory with activations recomputed", relay.peaks["none"],
        12.0 if large else None,
        at_least=False, unit="GB",
    )  # fmt: skip
    yield Figure(
        f"{world.name}, activations recomputed, over the plain step",
        median(again["none"]) / middle["none"], at_least=False, details=summary(again),
    )  # fmt: skip


def _in_turns(world: _World) -> tuple[int, dict[str, list[float]], dict[str, float]]:
    """Return batch size, times and peaks of the contenders, in batches that fit them all."""
    sizes = [size for size in SIZES if size <= len(world.batch)] or [len(world.batch)]
    for size in sizes:
        fewer = world._replace(batch=world.spread(world.batch, size))
        common: dict[str, Any] = {"batch": fewer.batch, "device": "cuda"}
        relay = world.relay()
        try:
            times = relay.run(
                {
                    "s3prl": partial(
                        synced,
                        partial(stock_loop, world.ckpt, world.fixed, batch_size=size, **common),
                    ),
                    "transformers": partial(
                        synced,
                        partial(
                            _trainer_loop, world.fixed, shape=world.shape, precision="bf16",
                            **common,
                        ),
                    ),
                    "none": fewer.ours(),
                }
            )  # fmt: skip
        except RuntimeError as error:
            if not is_out_of_memory(error) or size == sizes[-1]:
                raise
        else:
            return size, times, relay.peaks
    raise AssertionError("the last size returns or raises")


def _trainer_loop(corpus: Corpus, tick: Tick, *, batch: list[int], **options: Any) -> None:
    transformers_loop(corpus, batch, tick, **options)


def _varying(world: _World) -> Iterator[Figure]:
    """Compare the strategies on batches that are drawn, as a run draws them."""
    relay = world.relay(rounds=2 * world.rounds)
    times = relay.run({name: world.ours(varied=True, strategy=name) for name in STRATEGIES})
    middle = {name: median(values) for name, values in times.items()}
    seconds = sum(world.varied.seconds) / len(world.varied.seconds) * len(world.batch)
    for name in STRATEGIES:
        yield Figure(
            f"{world.name}, lengths that vary, {name}, seconds of emotion audio per second",
            seconds / middle[name], unit="s/s", details=summary({name: times[name]}),
        )  # fmt: skip
        yield Figure(
            f"{world.name}, lengths that vary, {name}, peak GPU memory", relay.peaks[name],
            unit="GB",
        )  # fmt: skip
    for name, target in (("SNP", 1.5), ("TAP", 2.05)):
        yield Figure(
            f"{world.name}, lengths that vary, {name} iteration over the emotion-only step",
            middle[name] / middle["none"], target, at_least=False,
        )  # fmt: skip


def _waits(world: _World) -> Iterator[Figure]:
    """Count in how many places of a step the host waits for the GPU, as torch itself warns."""
    for strategy in STRATEGIES:
        counts = world.apart(
            gpu_checks.waits, world.ckpt, world.varied, strategy=strategy, cache=world.cache,
            batch_size=len(world.batch), steps=4,
        )  # fmt: skip
        yield Figure(
            f"{world.name}, waits of a step, {strategy}", max(counts[1:]), 3, at_least=False,
            unit="", note=f"by torch.cuda.set_sync_debug_mode; steps after the first: {counts[1:]}",
        )  # fmt: skip


def _resumed(world: _World) -> Iterator[Figure]:
    """Compare the weights of a run with those of the same run in two parts."""
    for exact in (True, False):
        how = "with deterministic algorithms" if exact else "without them"
        differing, every = world.apart(
            gpu_checks.differing_after_resuming, world.ckpt, world.varied, cache=world.cache,
            batch_size=min(8, len(world.batch)), exact=exact,
        )  # fmt: skip
        yield Figure(
            f"{world.name}, tensors that differ in a resumed TAP run, {how}", differing,
            0 if exact else None, at_least=False, unit=f"of {every}",
        )  # fmt: skip


def _features(world: _World) -> Iterator[Figure]:
    """Time the features of a frozen upstream, and a probe on them."""
    seconds, rate, probe = world.apart(gpu_checks.features_and_probe, world.ckpt, world.varied)
    yield Figure(
        f"features of a frozen HuBERT {world.name}, seconds of audio per second", rate, unit="s/s",
        note=f"{len(world.varied.seconds)} utterances of {sum(world.varied.seconds):.0f} s in all, "
        f"none cached before, in {seconds:.2f} s, float32",
    )  # fmt: skip
    yield Figure("a linear speaker probe on them", probe, unit="s", note="on the CPU")


def _compiled(world: _World) -> Iterator[Figure]:
    """Time `upstream.compile` once its compilation is done."""
    relay = world.relay(rounds=2 * world.rounds, warmup=20)
    started = now()
    times = relay.run(
        {
            "plain": world.ours(varied=True, strategy="TAP"),
            "compiled": world.ours(varied=True, strategy="TAP", compile=True),
        }
    )
    yield Figure(
        f"{world.name}, TAP step, upstream.compile, over the plain one",
        median(times["compiled"]) / median(times["plain"]), at_least=False, details=summary(times),
        note=f"after 20 steps; all of it took {now() - started:.0f} s",
    )  # fmt: skip


def synced(loop: Loop, tick: Tick) -> None:
    """Let the GPU finish before a step's time is taken."""

    def tick_when_done() -> None:
        torch.cuda.synchronize()
        tick()

    loop(tick_when_done)
