"""Does training wait for audio? Every batch of a run on a line of time.

Emotion batches of whole wav files, speaker batches of random crops of 4 s of flac files of 60 s,
none of it loaded before; TAP on two layers of HuBERT Base, so that a step is as short as it gets.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from speed.loops import our_runner
from speed.measure import Figure
from speed.world import BASE, Corpus, make_corpus, make_hubert
from spknorm.batches import Batch, Stream

STEPS, WARMUP = 20, 3


class Wait(NamedTuple):
    """One batch: which corpus, and when the run began and ended waiting for it, in seconds."""

    corpus: str
    begun: float
    ended: float


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the part of a step that passes in waiting for batches."""
    ckpt = make_hubert(folder / "hubert-2.pt", {**BASE, "layers": 2})
    emotions = make_corpus(folder / "timeline", [2.2, 3.1, 4.7, 8.0] * 25)
    speakers = make_corpus(folder / "timeline-speakers", [60.0] * 20, kind="flac")
    for processes, target in ((1, 0.01), (0, None)):
        waits = follow(ckpt, emotions, speakers, processes=processes, cache=folder / "cache")
        steps = [waits[at : at + 2] for at in range(0, len(waits) - 1, 2)]  # emotion, speaker
        begun = [step[0].begun for step in steps]
        whole = [later - at for at, later in itertools.pairwise(begun)]
        waited = [sum(wait.ended - wait.begun for wait in step) for step in steps][: len(whole)]
        parts = sorted(w / s for w, s in zip(waited[WARMUP:], whole[WARMUP:], strict=True))
        name = f"{processes} reading process{'' if processes == 1 else 'es'} per corpus"
        yield Figure(
            f"waiting for batches, part of a training step, {name}",
            sum(waited[WARMUP:]) / sum(whole[WARMUP:]), target, at_least=False, unit="of the time",
            note=f"{len(parts)} steps of {sorted(whole[WARMUP:])[len(parts) // 2]:.2f} s; in the "
            f"slowest {parts[-1]:.4f}; the first {WARMUP} are left out",
            details={"line": [[w.corpus, *(round(t - begun[0], 4) for t in w[1:])] for w in waits]},
        )  # fmt: skip


def follow(
    ckpt: Path, emotions: Corpus, speakers: Corpus, *, processes: int, cache: Path
) -> list[Wait]:
    """Return when a run waited for its batches, emotion and speaker in turn."""
    runner = our_runner(
        ckpt, emotions, strategy="TAP", cache=cache, upstream={"cache": "off"},
        reading={"num_workers": processes, "pre_load": False},
        speakers={"manifest": str(speakers.manifest), "max_seconds": 4.0},
    )  # fmt: skip
    runner.source = source = _Watched(runner.source)
    try:
        runner.train()
    except _EnoughError:
        return source.waits
    raise AssertionError("the run ended before it was broken off")


class _EnoughError(Exception):
    """All steps were seen."""


class _Watched:
    """A source of features that notes when its batches are waited for."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.waits: list[Wait] = []

    def __call__(self, batch: Batch, *, corpus: str) -> Any:
        return self._source(batch, corpus=corpus)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def batches(
        self, stream: Stream, start: int, stop: int, *, corpus: str, num_workers: int
    ) -> Iterator[Batch]:
        batches = self._source.batches(stream, start, stop, corpus=corpus, num_workers=num_workers)
        if stop - start == 1:  # a held-out batch, which no step waits for
            yield from batches
            return
        while True:
            if len(self.waits) >= 2 * STEPS:
                raise _EnoughError
            begun = time.perf_counter()
            batch = next(batches)
            self.waits.append(Wait(corpus, begun, time.perf_counter()))
            yield batch
