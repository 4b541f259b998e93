"""How far long work is: a bar with the time left on a terminal, a line now and then elsewhere.

Beside `launcher.py`: of several processes the first alone shows it. Short work shows nothing.
"""

import sys
import time
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from spknorm.errors import ConfigError

T = TypeVar("T")

BAR_AFTER = 1.0
"""Seconds after which a bar appears: most work is over by then."""
LINE_EVERY = 30.0
"""Seconds between two lines, where there is no terminal."""


class Progress:
    """A piece of work, of which is known how much there is; used with `with`."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._bar: Any = None
        self._start = self._told = 0.0

    def __enter__(self) -> "Progress":
        self._start = self._told = time.monotonic()
        if _is_first() and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self._what,
                total=self._total,
                unit="",
                file=sys.stderr,
                leave=False,
                delay=BAR_AFTER,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1) -> None:
        """Say that so much more is done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = time.monotonic()
        if self._done and now - self._told >= LINE_EVERY and _is_first():
            self._told = now
            from tqdm import tqdm

            left = (now - self._start) / self._done * (self._total - self._done)
            share = f"{self._what}: {self._done} of {self._total}"
            text = f"{share}, about {_duration(left)} left" if left > 0 else share
            tqdm.write(text, file=sys.stderr)  # above a bar if there is one


def counted(what: str, items: Collection[T]) -> Iterator[T]:
    """Yield the items, and show how many of them are done."""
    with Progress(what, len(items)) as progress:
        for item in items:
            yield item
            progress.advance()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _is_first() -> bool:
    from spknorm.config.launcher import place

    try:
        return place().rank == 0
    except ConfigError:  # told where it matters
        return True
