"""Training loops that know nothing of each other take turns, one step each: A B C A B C ...

Every loop runs in a process of its own, as it does for its users: with its own threads (OpenMP lets
threads sleep where one process has several teams of them) and its own allocator.
"""

import contextlib
import itertools
import logging
import multiprocessing
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from speed.measure import ROUNDS, clock_name, now, use_clock

Tick = Callable[[], None]
Loop = Callable[[Tick], Any]

_GO, _STOP = "go", "stop"


class Relay:
    """Lets loops take turns; only the one that holds the baton runs.

    A loop calls its `tick` where a step begins; the time between two ticks is that loop's step.

    Args:
        rounds: Steps to keep of each loop.
        warmup: First steps of each loop to leave out: its memory still grows in them.

    Attributes:
        peaks: GB of GPU memory that each loop took at most, by its name.
    """

    def __init__(self, *, rounds: int = ROUNDS, warmup: int = 3) -> None:
        self._steps, self._warmup = rounds + warmup, warmup
        self.peaks: dict[str, float] = {}

    def run(self, loops: Mapping[str, Loop]) -> dict[str, list[float]]:
        """Run every loop, each called with its `tick`; return the seconds of its steps by name.

        Args:
            loops: Functions that can be pickled.

        Raises:
            RuntimeError: A loop failed, or ended before its steps were seen.
        """
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        runners = {name: _Runner(name, loop) for name, loop in loops.items()}
        try:
            for step in range(-1, self._steps):  # -1: everything before the first step
                for name, runner in runners.items():
                    passed = runner.pass_baton()
                    if step >= self._warmup:
                        seconds[name].append(passed)
            self.peaks = {name: runner.stop() for name, runner in runners.items()}
        finally:
            for runner in runners.values():
                runner.end()
        return seconds


class OneByOne(Relay):
    """Runs loops one after another in this process: to see that they run, not how fast.

    Peaks are of all loops so far.
    """

    def run(self, loops: Mapping[str, Loop]) -> dict[str, list[float]]:
        """Run each loop as `Relay.run` does, but by itself."""
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for name, loop in loops.items():
            ticks: list[float] = []

            def tick(ticks: list[float] = ticks) -> None:
                ticks.append(now())
                if len(ticks) > self._steps:
                    raise _StopError

            with contextlib.suppress(_StopError):
                pickle.loads(pickle.dumps(loop))(tick)  # as a process of its own gets it
            if len(ticks) <= self._steps:
                raise RuntimeError(f"The loop `{name}` ended before its steps were seen.")
            steps = [later - earlier for earlier, later in itertools.pairwise(ticks)]
            seconds[name] = steps[self._warmup :]
            self.peaks[name] = _peak()
        return seconds


class _Runner:
    """One loop in its process, as the parent sees it."""

    def __init__(self, name: str, loop: Loop) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_contend, args=(loop, theirs, clock_name()))
        self._process.start()
        theirs.close()

    def pass_baton(self) -> float:
        """Let the loop run to its next tick; return the seconds since its last one."""
        return self._ask(_GO)

    def stop(self) -> float:
        """Break the loop off; return its peak of GPU memory in GB."""
        return self._ask(_STOP)

    def end(self) -> None:
        """Make sure that the process is gone."""
        self._connection.close()
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()

    def _ask(self, what: str) -> float:
        try:
            self._connection.send(what)
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(timeout=10)
            answer = f"its process ended with {self._process.exitcode}"
        if isinstance(answer, str):
            raise RuntimeError(f"The loop `{self._name}` broke off: {answer}")
        return float(answer)


class _StopError(Exception):
    """The loop's steps were seen."""


def _contend(loop: Loop, connection: Connection, clock: str) -> None:
    """Run one loop, from tick to tick, as it is told to."""
    use_clock(clock)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    started = 0.0

    def wait() -> None:
        if connection.recv() == _STOP:
            raise _StopError

    def tick() -> None:
        nonlocal started
        connection.send(now() - started)
        wait()
        started = now()

    with contextlib.suppress(EOFError, OSError):  # the parent has given up
        wait()
        try:
            loop(tick)
            connection.send("it ended before its steps were seen")
        except _StopError:
            connection.send(_peak())
        except Exception:
            connection.send(traceback.format_exc())


def _peak() -> float:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    return float(torch.cuda.max_memory_allocated() / 1e9)
