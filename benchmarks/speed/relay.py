"""Training loops that know nothing of each other take turns, one step each: A B C A B C ...

Every loop runs in a process of its own, as it does for its users: with its own threads (OpenMP lets
threads sleep where one process has several teams of them) and its own allocator.
"""

import contextlib
import logging
import multiprocessing
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from speed.measure import ROUNDS, clock_name, now, use_clock

Tick = Callable[[], None]
Loop = Callable[[Tick], Any]
Watch = Callable[[], contextlib.AbstractContextManager[Any]]

_STOP = "stop"


class Leg(NamedTuple):
    """Steps that some of the loops do in turns.

    Attributes:
        names: Of the loops. After the last leg that names it a loop is stopped and its memory free.
        steps: Of each.
        watch: Is entered before each step and left after it; what entering it gave is kept in place
            of the step's seconds.
    """

    names: Sequence[str]
    steps: int
    watch: Watch | None = None


class Relay:
    """Lets loops take turns; only the one that holds the baton runs.

    A loop calls its `tick` where a step begins; the time between two ticks is that loop's step.

    Args:
        rounds: Steps to keep of each loop.
        warmup: First steps of each loop to leave out: its memory still grows in them.
        at_once: What loops do before their first steps is done at the same time.

    Attributes:
        set_up: Seconds that each loop took to its first step, by its name.
        peaks: GB of GPU memory that each loop took at most.
    """

    def __init__(self, *, rounds: int = ROUNDS, warmup: int = 3, at_once: bool = False) -> None:
        self._steps, self._warmup, self._at_once = rounds + warmup, warmup, at_once
        self.set_up: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    def run(self, loops: Mapping[str, Loop]) -> dict[str, list[float]]:
        """Run every loop, each called with its `tick`; return the seconds of its steps by name.

        Args:
            loops: Functions that can be pickled.

        Raises:
            RuntimeError: A loop failed, or ended before its steps were seen.
        """
        [found] = self.run_legs(loops, [Leg(tuple(loops), self._steps)])
        return {name: values[self._warmup :] for name, values in found.items()}

    def run_legs(
        self, loops: Mapping[str, Loop], legs: Sequence[Leg]
    ) -> list[dict[str, list[Any]]]:
        """Run loops leg by leg; return of each leg what its steps gave, by loop, with all warm-up.

        Raises:
            RuntimeError: A loop failed, or ended before its steps were seen.
        """
        runners = {name: _Runner(name, loop) for name, loop in loops.items()}
        try:
            if self._at_once:
                for runner in runners.values():
                    runner.send(None)
            for name, runner in runners.items():  # everything before the first step
                if not self._at_once:
                    runner.send(None)
                self.set_up[name] = float(runner.receive())
            found: list[dict[str, list[Any]]] = []
            for place, leg in enumerate(legs):
                values: dict[str, list[Any]] = {name: [] for name in leg.names}
                for _ in range(leg.steps):
                    for name in leg.names:
                        runners[name].send(leg.watch)
                        values[name].append(runners[name].receive())
                found.append(values)
                later = {name for after in legs[place + 1 :] for name in after.names}
                for name in set(leg.names) - later:
                    runners[name].send(_STOP)
                    self.peaks[name] = float(runners[name].receive())
                    runners[name].end()
        finally:
            for runner in runners.values():
                runner.end()
        return found


class OneByOne(Relay):
    """Runs loops one after another in this process: to see that they run, not how fast.

    Peaks are of all loops so far.
    """

    def run_legs(
        self, loops: Mapping[str, Loop], legs: Sequence[Leg]
    ) -> list[dict[str, list[Any]]]:
        """Run each loop through its legs as `Relay.run_legs` does, but by itself."""
        found: list[dict[str, list[Any]]] = [{name: [] for name in leg.names} for leg in legs]
        for name, loop in loops.items():
            steps = [
                (leg.watch, values[name])
                for leg, values in zip(legs, found, strict=True)
                if name in leg.names
                for _ in range(leg.steps)
            ]
            try:
                pickle.loads(pickle.dumps(loop))(
                    self._through(name, steps)
                )  # as a process of its own gets it
            except _StopError:
                self.peaks[name] = _peak()
            else:
                raise RuntimeError(f"The loop `{name}` ended before its steps were seen.")
        return found

    def _through(self, name: str, steps: Sequence[tuple[Watch | None, list[Any]]]) -> Tick:
        """Return a tick that puts what each step gives into its list, and stops after the last."""
        left, step = iter(steps), _Step()
        going_on: list[list[Any]] = []

        def tick() -> None:
            given = step.end()
            if going_on:
                going_on.pop().append(given)
            else:
                self.set_up[name] = given
            following = next(left, None)
            if following is None:
                raise _StopError
            going_on.append(following[1])
            step.begin(following[0])

        return tick


class _Step:
    """One step of a loop: its time, or what a watch found in it."""

    def __init__(self) -> None:
        self._watching = contextlib.ExitStack()
        self._found: Any = None
        self._watched, self._started = False, now()

    def begin(self, watch: Watch | None) -> None:
        self._watched = watch is not None
        if watch is not None:
            self._found = self._watching.enter_context(watch())
        self._started = now()

    def end(self) -> Any:
        taken = now() - self._started
        self._watching.close()
        return self._found if self._watched else taken


class _Runner:
    """One loop in its process, as the parent sees it."""

    def __init__(self, name: str, loop: Loop) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_contend, args=(loop, theirs, clock_name()))
        self._process.start()
        theirs.close()

    def send(self, what: Watch | str | None) -> None:
        """Let the loop run to its next tick, under a watch or not, or stop."""
        with contextlib.suppress(OSError):  # what became of it is received
            self._connection.send(what)

    def receive(self) -> Any:
        """Return what came of that: of a step seconds or findings, of a stop GB of GPU memory."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(timeout=10)
            answer = f"its process ended with {self._process.exitcode}"
        if isinstance(answer, str):
            raise RuntimeError(f"The loop `{self._name}` broke off: {answer}")
        return answer

    def end(self) -> None:
        """Make sure that the process is gone."""
        self._connection.close()
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()


class _StopError(Exception):
    """The loop's steps were seen."""


def _contend(loop: Loop, connection: Connection, clock: str) -> None:
    """Run one loop, from tick to tick, as it is told to."""
    use_clock(clock)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    step = _Step()

    def wait() -> None:
        told = connection.recv()
        if told == _STOP:
            raise _StopError
        step.begin(told)

    def tick() -> None:
        connection.send(step.end())
        wait()

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
