"""What is measured on a GPU, at Large's and Base's size, and how loops run there; for `gpu.py`."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from speed.finetune import batch_of
from speed.loops import our_loop
from speed.relay import Leg, Loop, OneByOne, Relay, Tick
from speed.world import BASE, LARGE, Corpus, make_corpus, make_hubert


class World(NamedTuple):
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
    def make(cls, folder: Path, name: str, *, quick: bool) -> "World":
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
            2 if quick else 10, quick,
        )  # fmt: skip

    @staticmethod
    def spread(values: list[Any], size: int) -> list[Any]:
        """Return `size` of some values, from the first to nearly the last of them."""
        return values[:: len(values) // size]

    def relay(self) -> Relay:
        """Return what lets loops take turns."""
        return OneByOne() if self.quick else Relay(at_once=True)

    def leg(self, *names: str, warmup: int = 3) -> Leg:
        """Return steps that are timed, those of the warm-up with them."""
        return Leg(names, 2 if self.quick else warmup + self.rounds)

    def timed(self, seconds: dict[str, list[float]]) -> dict[str, list[float]]:
        """Leave the warm-up out."""
        return {
            name: values[-1:] if self.quick else values[-self.rounds :]
            for name, values in seconds.items()
        }

    def apart(self, *calls: Callable[[], Any]) -> list[Any]:
        """Call functions at the same time, each in a process of its own."""
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic products ask for it
        try:
            if self.quick:
                return [call() for call in calls]
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(len(calls), context, max_tasks_per_child=1) as processes:
                return [done.result() for done in [processes.submit(call) for call in calls]]
        finally:
            del os.environ["CUBLAS_WORKSPACE_CONFIG"]

    def ours(
        self, strategy: str, *, varied: bool = False, cache: str = "fixed", **upstream: Any
    ) -> Loop:
        """Return this project's loop in bfloat16, timed to the end of the GPU's work."""
        corpus = self.varied if varied else self.fixed
        return partial(
            synced,
            partial(
                our_loop, self.ckpt, corpus, batch=None if varied else self.batch,
                batch_size=len(self.batch), strategy=strategy, cache=self.cache / cache,
                precision="bf16", device="cuda", upstream=upstream,
            ),
        )  # fmt: skip


def synced(loop: Loop, tick: Tick) -> None:
    """Let the GPU finish before a step's time is taken."""

    def tick_when_done() -> None:
        torch.cuda.synchronize()
        tick()

    loop(tick_when_done)
