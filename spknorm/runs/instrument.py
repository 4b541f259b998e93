"""What a run measures as it goes: losses, hits, and how much say the adversary has.

`passes.py` fills a step's tally, `iteration.py` has the instrument, `runs.adversary` judges it.
"""

import math
import mmap
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from spknorm.config.memory import or_else
from spknorm.method.optim.ascent import Ascent
from spknorm.method.optim.lists import length
from spknorm.runs.adversary import gain
from spknorm.runs.state import Counters
from spknorm.statistics.targets import Target

MEASURED_EVERY = 10
"""Steps from one comparison of the ascent with the emotion step to the next, at most; there is at
least one between two lines of metrics.jsonl."""
_MUCH = 64 << 20
"""Bytes of a copy from which on it does not stay in memory."""
_SHARES = ("ascents_clipped", "ascents_paused", "ascents_skipped")


class Tally:
    """Sums over micro-batches; it is one vector, so that processes and steps just add up.

    Args:
        num_counts: How many numbers the target counts; see spknorm.statistics.targets.
        values: An earlier vector to go on from.
    """

    FIELDS = (
        "emotion_batches",
        "emotion_loss",
        "speaker_batches",
        "speaker_loss",
        "speaker_utterances",
        "speaker_hits",
        "bad",
        "steps",
        "left_behind",
        "ascents_clipped",
        "ascents_paused",
        "ascents_skipped",
        "shares",
        "ascent_share",
        "angles",
        "ascent_angle",
    )
    """Of micro-batches; from `steps` on, of whole steps: counts, and sums of what was measured."""

    def __init__(self, num_counts: int, values: Sequence[float] = ()) -> None:
        size = len(self.FIELDS) + num_counts
        self.values = np.array(values if len(values) == size else [0.0] * size)

    def add(self, name: str, value: float) -> None:
        """Add to one of `FIELDS`."""
        self.values[self.FIELDS.index(name)] += value

    def add_counts(self, counts: npt.NDArray[np.float64]) -> None:
        """Add what the target counted of some emotion predictions."""
        self.values[len(self.FIELDS) :] += counts

    def __getitem__(self, name: str) -> float:
        """Return one of `FIELDS`."""
        return float(self.values[self.FIELDS.index(name)])

    def mean(self, of: str, over: str) -> float | None:
        """Return a sum over a count; None if nothing was counted."""
        return self[of] / self[over] if self[over] else None

    @property
    def counts(self) -> npt.NDArray[np.float64]:
        """What the target counted."""
        return self.values[len(self.FIELDS) :]


class Start:
    """The shared part as it was built, before any checkpoint: what its drift is measured from.

    It is the upstream as it comes, or the gate as the seed made it, so a resumed run finds it again
    and no checkpoint holds it. A copy lies in the main memory or, where that would be much, in a
    file without a name that is mapped into it, of which the system keeps what it has room for.
    """

    def __init__(self) -> None:
        self._shared: list[nn.Parameter] = []
        self._values: list[Tensor] = []
        self._files: list[mmap.mmap] = []
        self._norm = 0.0

    def keep(self, shared: Iterable[nn.Parameter]) -> None:
        """Copy what equation (3) will move, not moved yet."""
        moved = list(shared)
        file = _mapped_file(sum(one.numel() * one.element_size() for one in moved))
        place, values = 0, []
        for one in moved:
            kept = torch.empty_like(one, device="cpu", requires_grad=False)
            if file is not None:
                kept = torch.frombuffer(file, dtype=one.dtype, count=one.numel(), offset=place)
            values.append(kept.view(one.shape).copy_(one.detach()))
            place += one.numel() * one.element_size()
        self._shared += moved
        self._values += values
        self._norm = float(length(self._values))
        self._files += [] if file is None else [file]
        self._let_go()

    @torch.no_grad()
    def drift(self) -> float | None:
        """Return the norm of the change since then over the norm then; None without a norm."""
        if not self._norm > 0:
            return None
        return or_else(lambda: self._moved("there"), lambda: self._moved("here")) / self._norm

    def _moved(self, place: Literal["there", "here"]) -> float:
        """Return the norm of the change, taken where the weights are or in the main memory."""
        moved = []
        for weights, before in zip(self._shared, self._values, strict=True):
            now = weights if place == "there" else weights.cpu()
            moved.append(torch.linalg.vector_norm(now - before.to(now.device)))
            self._let_go()
        return float(length(moved))

    def _let_go(self) -> None:
        """Leave mapped files to the disk; they are read again where needed."""
        for file in self._files:
            file.madvise(mmap.MADV_DONTNEED)


def _mapped_file(size: int) -> mmap.mmap | None:
    """Return so many bytes of a file that goes with the process; None where memory is to be had."""
    if size <= _MUCH:
        return None
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return mmap.mmap(file.fileno(), size)
    except (OSError, AttributeError):  # no room there, or a system without it
        return None


class Instrument:
    """Sums of a run and of its steps since the last line of metrics.jsonl.

    `counters` are of the run, also if it is gone on with; `num_speakers` is 0 without a speaker
    head.
    """

    def __init__(
        self, counters: Counters, start: Start, *, target: Target, num_speakers: int
    ) -> None:
        self._counters, self._start = counters, start
        self._target, self._adversarial = target, num_speakers > 0
        self.log_num_speakers = math.log(max(1, num_speakers))
        self.window = Tally(target.size, counters.window)
        self.totals = Tally(target.size, counters.totals)

    def add(self, tally: Tally | None, ascent: Ascent, *, paused: bool, skipped: bool) -> None:
        """Count one step, without a tally if it was taken back.

        `paused` where the ceiling held the ascent back; `skipped` where it was due, and the step
        was taken back or there was nothing to climb.
        """
        tally = tally or Tally(self._target.size)
        for name, value in (
            ("steps", 1.0),
            ("ascents_clipped", ascent.clipped),
            ("ascents_paused", paused),
            ("ascents_skipped", skipped),
        ):
            tally.add(name, value if self._adversarial else 0.0)
        for name, over, measured in (
            ("ascent_share", "shares", ascent.share),
            ("ascent_angle", "angles", ascent.angle),
        ):
            if measured is not None:
                tally.add(over, 1)
                tally.add(name, measured)
        self.window.values += tally.values
        self.totals.values += tally.values

    def read(self) -> dict[str, float | None]:
        """Return the means since the last call, as metrics.jsonl has them."""
        window, self.window = self.window, Tally(self._target.size)
        scores = self._target.score(window.counts) if window.counts.any() else None
        loss = window.mean("speaker_loss", "speaker_batches")
        return {
            "emotion_loss": window.mean("emotion_loss", "emotion_batches"),
            **self._target.logged(scores),
            "speaker_loss": loss,
            "speaker_accuracy": window.mean("speaker_hits", "speaker_utterances"),
            "speaker_gain": gain(loss, self.log_num_speakers),
            "held_out_loss": self._counters.held_out_loss,
            "held_out_accuracy": self._counters.held_out_accuracy,
            "log_num_speakers": self.log_num_speakers if self._adversarial else None,
            "speaker_batches": window.mean("speaker_batches", "steps"),
            **_ascents(window),
            "drift": self._start.drift(),
        }

    def adversary(self) -> dict[str, float | None]:
        """Return what the adversary did in the whole run, by the names of `runs.result.Adversary`.

        The drift is that of the present weights.
        """
        best = self._counters.held_out_lowest
        if best is None:
            best = self._counters.best_speaker_loss
        return {
            **_ascents(self.totals),
            "speaker_gain": gain(best, self.log_num_speakers),
            "speaker_accuracy": self.totals.mean("speaker_hits", "speaker_utterances"),
            "drift": self._start.drift(),
        }


def _ascents(tally: Tally) -> dict[str, float | None]:
    """Return means over the steps that were compared, and shares of all steps."""
    return {
        "ascent_share": tally.mean("ascent_share", "shares"),
        "ascent_angle": tally.mean("ascent_angle", "angles"),
        **{name: tally.mean(name, "steps") for name in _SHARES},
    }
