"""Whether the streams of a program are in order: no memory is read before it is written, nor
written before it has been read.

pretended.c logs who is told what: copies and kernels with their stream, events recorded and waited
for, waits of the host. `Watch` adds which memory each of torch's operations reads and writes.
`unordered` goes through that with a clock per stream: two uses of the same memory, one of them
writing, are in order if the second's clock has seen the first.

Legend: a clock is a dict from streams (and the host) to how many of their doings it has seen.
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import steps
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST = "host"
Clock = dict[str, int]


class Watch(TorchDispatchMode):
    """While entered, writes down what the device and the host are told.

    Args:
        path: Of the log.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def __enter__(self) -> "Watch":
        """Begin."""
        steps.library.pretended_log(str(self._path).encode())
        return super().__enter__()

    def __exit__(self, *arguments: Any) -> None:
        """End."""
        super().__exit__(*arguments)
        steps.library.pretended_log(None)

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """Do an operation between two lines of the log."""
        options = options or {}
        if function.is_view or torch.cuda.is_current_stream_capturing():  # nothing is done yet
            return function(*arguments, **options)
        given = _memory((arguments, options))
        steps.library.pretended_note(b"begins")
        made = function(*arguments, **options)
        written = _memory(made)
        if function._schema.name.endswith("_") or function._schema.is_mutable:
            written |= _memory(arguments[:1]) | _memory(options.get("out"))
        uses = [("reads", *one) for one in sorted(given - written)]
        uses += [("writes", *one) for one in sorted(written)]
        line = ["ends", str(function), *itertools.chain(*uses)]
        steps.library.pretended_note(" ".join(map(str, line)).encode())
        return made


def _memory(values: Any) -> set[tuple[int, int]]:
    """Return where tensors lie: first byte and length."""
    found = set()
    for one in tree_leaves(values):
        if isinstance(one, torch.Tensor) and one.untyped_storage().nbytes():
            storage = one.untyped_storage()
            found.add((storage.data_ptr(), storage.nbytes()))
    return found


class Use(NamedTuple):
    """That a stream, or the host, used some memory."""

    who: str
    what: str
    writes: bool
    start: int
    stop: int
    last: int  # by the stream's own count


@dataclasses.dataclass
class Found:
    """What a log comes to.

    Attributes:
        unordered: Pairs of uses that are not in order, in words.
        across: How many pairs of different streams were compared and are in order.
        copies: How many copies from page-locked memory each stream made.
    """

    unordered: list[str]
    across: int
    copies: dict[str, int]


def examined(path: Path) -> Found:
    """Return what a log comes to."""
    return _Examination(path.read_text().splitlines()).found


class _Examination:
    def __init__(self, lines: Iterable[str]) -> None:
        self._clocks: defaultdict[str, Clock] = defaultdict(dict)
        self._events: dict[str, Clock] = {}
        self._uses: defaultdict[str, list[Use]] = defaultdict(list)
        self._locked: list[tuple[int, int]] = []
        self._begun: dict[str, Clock] | None = None
        self.found = Found([], 0, defaultdict(int))
        for line in lines:
            name, *words = line.split()
            getattr(self, f"_{name}")(*words)
        self.found.copies = dict(self.found.copies)

    def _told(self, stream: str) -> Clock:
        """The host tells a stream something: it comes after what the host has seen."""
        clock = self._clocks[stream]
        _join(clock, self._clocks[HOST])
        clock[stream] = clock.get(stream, 0) + 1
        if self._begun is not None:
            self._begun.setdefault(stream, dict(clock))
        return clock

    def _kernel(self, stream: str) -> None:
        self._told(stream)

    def _copy(self, stream: str, to: str, start: str, size: str) -> None:
        clock = self._told(stream)
        self._use(stream, "the copy", False, int(start, 16), int(size), clock)
        self._use(stream, "the copy", True, int(to, 16), int(size), clock)
        self.found.copies[stream] += self._is_pinned(int(start, 16))

    def _records(self, stream: str, event: str) -> None:
        self._events[event] = dict(self._told(stream))

    def _waits(self, stream: str, event: str) -> None:
        _join(self._told(stream), self._events.get(event, {}))

    def _over(self, event: str) -> None:
        _join(self._clocks[HOST], self._events.get(event, {}))

    def _waited(self, stream: str) -> None:
        for name in [*self._clocks] if stream == "all" else [stream]:
            _join(self._clocks[HOST], self._clocks[name])

    def _freed(self, start: str, size: str) -> None:
        self._waited("all")  # as cudaFree does
        first, end = int(start, 16), int(start, 16) + int(size)
        for who, uses in self._uses.items():
            self._uses[who] = [use for use in uses if use.stop <= first or end <= use.start]

    def _pinned(self, start: str, size: str) -> None:
        self._locked.append((int(start, 16), int(start, 16) + int(size)))

    def _begins(self) -> None:
        self._begun = {}

    def _ends(self, what: str, *uses: str) -> None:
        streams, self._begun = self._begun or {}, None
        host = self._clocks[HOST]
        host[HOST] = host.get(HOST, 0) + 1
        for kind, start, size in zip(*[iter(uses)] * 3, strict=True):
            for who, clock in (streams or {HOST: host}).items():
                self._use(who, what, kind == "writes", int(start), int(size), clock)

    def _is_pinned(self, place: int) -> bool:
        return any(start <= place < stop for start, stop in self._locked)

    def _use(self, who: str, what: str, writes: bool, start: int, size: int, clock: Clock) -> None:
        if who == HOST and not self._is_pinned(start):
            return  # no stream has to do with it
        now = Use(who, what, writes, start, start + size, self._clocks[who][who])
        for other, uses in self._uses.items():
            for before in uses if other != who else ():
                apart = before.stop <= now.start or now.stop <= before.start
                if apart or not (before.writes or now.writes):
                    continue
                if clock.get(other, 0) >= before.last:
                    self.found.across += 1
                else:
                    self.found.unordered.append(f"{_said(before)}, then {_said(now)}")
        self._uses[who].append(now)


def _said(use: Use) -> str:
    return f"{use.what} {'writes' if use.writes else 'reads'}"


def _join(clock: Clock, other: Clock) -> None:
    for name, count in other.items():
        clock[name] = max(clock.get(name, 0), count)
