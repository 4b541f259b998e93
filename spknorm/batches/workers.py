"""Processes that load data: what they hand over, and how a run learns that they cannot.

A batch travels through a pipe as it is, so that neither shared memory nor a temporary folder is
needed. A process that cannot hand one over says why and ends; one that does nothing any more is
noticed by what the system counts of it. Used by `Stream` and, under s3prl's Runner, by experts.
"""

import contextlib
import functools
import logging
import multiprocessing.queues
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from spknorm.config.launcher import end_with_parent
from spknorm.errors import USER_ERRORS, ConfigError, shortage

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

IDLE_SECONDS = 40
"""Without a batch, a byte read and a tick of computing in this time, a process hangs."""
STOP_SECONDS = 15
"""How long a run that was asked to end still waits for its step's batch."""
_CANNOT_DELIVER = 74
_WAY_OUT = (
    "Set `config.downstream_expert.datarc.num_workers` to 0 or to fewer, and go on with -a: what "
    "was saved last stands."
)
_USER_ERRORS = {kind.__name__: kind for kind in USER_ERRORS}


class Numbered(Protocol[T_co]):
    """Batches by number."""

    def __getitem__(self, number: int) -> T_co: ...


class _Failure(NamedTuple):
    """An error in a process, as text: not every exception can be handed over."""

    kind: str
    text: str
    details: str


class StopRequest:
    """The signal that asked the run to end, which a run that waits for a batch cannot wait for."""

    number = 0


def load(batches: Numbered[T_co], numbers: Sequence[int], *, num_workers: int) -> Iterator[T_co]:
    """Yield `batches[number]` for each of `numbers`, loaded by `num_workers` other processes.

    Raises:
        ConfigError: A process could not be started, died, hangs, or cannot hand over a batch.
        DataError: As the batch's own loading raises it, and so for every error of a user.
        SystemExit: A signal has asked the run to end while no batch came.
    """
    told, tells = multiprocessing.Pipe(duplex=False)
    loader = DataLoader(
        _Told(batches),
        sampler=numbers,
        batch_size=None,
        collate_fn=as_it_is,
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(0),  # else it draws from the global one
        worker_init_fn=functools.partial(_prepare, tells),
    )
    iterator, watch = _started(loader)
    try:
        for _ in numbers:
            watch.since = time.monotonic()
            batch = next(iterator)
            watch.since = None
            if isinstance(batch, _Failure):
                raise _error_of(batch)
            yield batch
    except (OSError, EOFError, RuntimeError) as error:
        if watch.ended:
            raise _hanging() from error
        if not is_dead_loader(error):
            raise
        raise ConfigError(explain(told)) from error
    finally:
        watch.over.set()
        # After an error the traceback holds them, and at exit Python waits for workers that it
        # has only sent a SIGTERM, which these leave to the run.
        with contextlib.suppress(Exception):
            for process in iterator._workers:
                os.kill(process.pid, signal.SIGCONT)  # one that is stopped never ends by itself
        iterator._shutdown_workers()


def _started(loader: DataLoader[Any]) -> tuple[Any, "_Watch"]:
    """Return an iterator whose processes run, and what watches them; else none of them is left."""
    iterator: Any = object.__new__(_MultiProcessingDataLoaderIter)  # held if it fails half-way
    try:
        type(iterator).__init__(iterator, loader)
        return iterator, _Watch(iterator)
    except (OSError, RuntimeError) as error:  # semaphores, pipes, processes and threads
        if not isinstance(error, OSError) and shortage(error) is None:
            raise
        iterator._shutdown = True  # there is nothing whole for torch to shut down
        end_processes()
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"No process for loading data could be started ({why}): /dev/shm "
            f"must have room, and the system must allow more processes and files. {_WAY_OUT}"
        ) from error


def end_processes() -> None:
    """End the loading processes, for which Python waits at exit; they heed no other signal."""
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def as_it_is(batch: T) -> T:
    """Keep a batch's arrays as they are: torch would put each into shared memory."""
    return batch


def is_dead_loader(error: BaseException) -> bool:
    """Return whether an error tells that a data-loading process died.

    torch raises a RuntimeError wherever the run happens to be when it learns of it, unless a batch
    was on its way: then the connection to the process breaks.
    """
    return isinstance(error, ConnectionError | EOFError) or "DataLoader worker" in str(error)


def explain(told: Connection | None = None) -> str:
    """Return what to tell of a process that died: its own words, or the likeliest reason."""
    if told is not None and told.poll():
        return f"A data-loading process could not hand over a batch ({told.recv()}). {_WAY_OUT}"
    return "A data-loading process died; the system kills one where memory runs out. " + _WAY_OUT


def prepare(_: int = 0) -> None:
    """Leave signals to the run, end with it, and where a batch cannot be handed over.

    `worker_init_fn` of a DataLoader.
    """
    # Clusters signal every process of a job; a worker that died would break off the last step.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_give_up)  # type: ignore[attr-defined]  # Python's hook
    end_with_parent(_CANNOT_DELIVER)


def _prepare(tells: Connection, _: int) -> None:
    """Prepare, with a pipe on which the process says why it gives up."""
    global _tells
    _tells = tells
    prepare()


_tells: Connection | None = None


def _give_up(error: Exception, _: Any) -> None:
    # Python prints a traceback and drops the batch, for which the run would wait for ever.
    if _tells is not None:
        with contextlib.suppress(OSError):
            _tells.send(f"{type(error).__name__}: {error}"[:1000])
    os._exit(_CANNOT_DELIVER)


class _Told(Dataset[Any]):
    """Batches as torch's DataLoader wants them, errors as what can be handed over."""

    def __init__(self, batches: Numbered[Any]) -> None:
        self._batches = batches

    def __getitem__(self, number: int) -> Any:
        try:
            return self._batches[number]
        except Exception as error:
            short = shortage(error)
            if short is not None:
                return _Failure(ConfigError.__name__, f"{short} {_WAY_OUT}", "")
            return _Failure(type(error).__name__, str(error), traceback.format_exc())


def _error_of(failure: _Failure) -> Exception:
    if failure.kind in _USER_ERRORS:
        return _USER_ERRORS[failure.kind](failure.text)
    if failure.kind == "MemoryError":
        return ConfigError(f"A data-loading process has no memory left. {_WAY_OUT}")
    return RuntimeError(f"A data-loading process failed: {failure.details}")


class _Watch(threading.Thread):
    """Ends processes that do nothing any more, or go on although the run was asked to end.

    A run that reads the rest of a batch waits for ever, and for signals, too: only the end of the
    process breaks it off.
    """

    def __init__(self, iterator: Any) -> None:
        super().__init__(name="data-loading watch", daemon=True)
        self._iterator = iterator
        self.since: float | None = None
        """When the present wait for a batch began, by the clock of `time.monotonic`."""
        self.ended = False
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        """Look every second; `over` ends it."""
        before, still, asked = None, 0.0, 0.0
        while not self.over.wait(1):
            since, now = self.since, time.monotonic()
            if since is None:
                continue
            moved = (since, _counters(self._iterator))
            if moved != before:
                before, still = moved, now
            asked = asked or (now if StopRequest.number else 0.0)
            waited = now - max(asked, since) if asked else 0.0
            if now - still >= IDLE_SECONDS or waited >= STOP_SECONDS:
                self.ended = True
                for process in self._iterator._workers:
                    with contextlib.suppress(OSError):
                        os.kill(process.pid, signal.SIGKILL)
                return


def _hanging() -> BaseException:
    """Return what ends a run whose data-loading processes do nothing any more."""
    if StopRequest.number:
        logger.warning("No batch came for the last step: it is left out.")
        return SystemExit(128 + StopRequest.number)
    return ConfigError(
        f"The data-loading processes have done nothing for {IDLE_SECONDS} s and no batch "
        f"has come: they hang or were stopped. {_WAY_OUT}"
    )


def _counters(iterator: Any) -> list[tuple[str, ...]]:
    """What the system has counted of each process: bytes read, time computed, waits for a disk."""
    found: list[tuple[str, ...]] = []
    for process in iterator._workers:
        try:
            folder = Path(f"/proc/{process.pid}")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            read = (folder / "io").read_text().split()[1]
        except (OSError, IndexError):
            continue
        waits = str(time.monotonic()) if fields[0] == "D" else ""  # for a disk: it is alive
        found.append((read, fields[11], fields[12], waits))
    return found
