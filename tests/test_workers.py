import errno
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch

from spknorm.batches import workers
from spknorm.batches.workers import is_dead_loader, load
from spknorm.errors import ConfigError, DataError, MissingError

WAY_OUT = (
    "Set `config.downstream_expert.datarc.num_workers` to 0 or to fewer, and go on with -a: what "
    "was saved last stands."
)


class Batches:
    """Batches that a function makes, in a worker."""

    def __init__(self, make):
        self._make = make

    def __getitem__(self, number):
        return self._make(number)


def arrays(number):
    return [np.full(200_000, number, dtype=np.float32)]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(workers, "IDLE_SECONDS", 3)
    monkeypatch.setattr(workers, "STOP_SECONDS", 1)


@pytest.mark.parametrize("folder", ["/nonexistent", "/proc"])
@pytest.mark.parametrize("strategy", ["file_system", "file_descriptor"])
@pytest.mark.fault("data loading")
def test_batches_need_neither_a_temporary_folder_nor_shared_memory(folder, strategy, monkeypatch):
    monkeypatch.setenv("TMPDIR", folder)
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy(strategy)
    try:
        found = list(load(Batches(arrays), range(3, 7), num_workers=2))
    finally:
        torch.multiprocessing.set_sharing_strategy(before)
    assert [batch[0][0] for batch in found] == [3, 4, 5, 6]
    assert all(isinstance(batch[0], np.ndarray) for batch in found)


class Unpicklable:
    def __init__(self, error):
        self._error = error

    def __reduce__(self):
        raise self._error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (MemoryError(), "MemoryError: "),
        (RuntimeError("unable to open shared memory object"), "unable to open shared memory"),
    ],
)
@pytest.mark.fault("data loading")
def test_a_batch_that_cannot_be_handed_over_is_told_with_its_cause(error, words):
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        list(load(Batches(lambda n: Unpicklable(error) if n == 2 else n), range(5), num_workers=2))
    assert str(caught.value).startswith("A data-loading process could not hand over a batch (")
    assert words in str(caught.value)
    assert str(caught.value).endswith(WAY_OUT)
    assert time.monotonic() - started < 60


def test_a_user_s_error_in_a_process_keeps_its_kind_and_its_text():
    for kind in (DataError, MissingError):

        def fail(number, kind=kind):
            raise kind("a.wav: empty")

        with pytest.raises(kind) as caught:
            list(load(Batches(fail), range(2), num_workers=1))
        assert str(caught.value) == "a.wav: empty"


@pytest.mark.fault("data loading")
def test_an_exception_that_cannot_be_handed_over_is_told_all_the_same():
    class LocalError(Exception):
        def __init__(self, one, two):
            super().__init__(one, two)

    def fail(number):
        raise LocalError(1, 2)

    with pytest.raises(RuntimeError, match=r"(?s)A data-loading process failed: .*LocalError"):
        list(load(Batches(fail), range(2), num_workers=1))


@pytest.mark.fault("data loading")
def test_a_process_without_memory_is_told():
    def fail(number):
        raise MemoryError

    with pytest.raises(ConfigError) as caught:
        list(load(Batches(fail), range(2), num_workers=1))
    assert str(caught.value) == f"A data-loading process has no memory left. {WAY_OUT}"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
@pytest.mark.fault("data loading")
def test_a_process_that_dies_is_told(number):
    def die(k):
        if k == 2:
            os.kill(os.getpid(), number)
        return k

    with pytest.raises(ConfigError) as caught:
        list(load(Batches(die), range(5), num_workers=1))
    assert str(caught.value) == (
        f"A data-loading process died; the system kills one where memory runs out. {WAY_OUT}"
    )


@pytest.mark.fault("data loading")
def test_processes_end_with_a_run_that_is_killed(tmp_path):
    def run():
        iterator = load(Batches(arrays), range(1000), num_workers=2)
        next(iterator)
        children = multiprocessing.active_children()
        (tmp_path / "there").write_text(" ".join(str(child.pid) for child in children))
        time.sleep(1)  # both are handing over a batch that nobody reads
        os.kill(os.getpid(), signal.SIGKILL)

    killed = multiprocessing.get_context("fork").Process(target=run)
    killed.start()
    killed.join()
    children = [int(pid) for pid in (tmp_path / "there").read_text().split()]
    until = time.monotonic() + 30
    while (left := [pid for pid in children if _is_there(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(children) == 2 and left == []


def _is_there(pid):
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("how", ["stopped", "asleep"])
@pytest.mark.fault("data loading")
def test_a_process_that_does_nothing_any_more_is_told(how, impatient):
    def hang(k):
        if k == 2:
            os.kill(os.getpid(), signal.SIGSTOP) if how == "stopped" else time.sleep(20)
        return k

    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"have done nothing for 3 s and no batch has come"):
        list(load(Batches(hang), range(5), num_workers=1))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.fault("data loading")
def test_a_process_that_is_stopped_half_way_through_a_batch_is_told(asked, impatient, monkeypatch):
    """The run then reads, and no signal ends the reading."""
    send = Connection._send

    def half(self, buf, *more):
        if len(buf) > 100_000:
            send(self, buf[:50_000], *more)
            os.kill(os.getpid(), signal.SIGSTOP)
            buf = buf[50_000:]
        send(self, buf, *more)

    monkeypatch.setattr(Connection, "_send", half)
    if asked:
        monkeypatch.setattr(workers.StopRequest, "number", signal.SIGTERM)
        monkeypatch.setattr(workers, "IDLE_SECONDS", 60)
    started = time.monotonic()
    with pytest.raises(SystemExit if asked else ConfigError) as ended:
        list(load(Batches(lambda k: bytes(1_000_000)), range(3), num_workers=1))
    if asked:
        assert ended.value.code == 143
    else:
        assert "have done nothing for 3 s and no batch has come" in str(ended.value)
    assert time.monotonic() - started < 40


def test_a_slow_process_that_computes_is_waited_for(impatient):
    def slow(k):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(0.1)
            sum(range(1_000_000))  # two ticks or so
        return k

    assert list(load(Batches(slow), range(1), num_workers=1)) == [0]


@pytest.mark.fault("data loading")
def test_a_run_that_waits_for_a_batch_ends_when_it_is_asked_to(impatient, monkeypatch):
    monkeypatch.setattr(workers.StopRequest, "number", signal.SIGTERM)
    monkeypatch.setattr(workers, "IDLE_SECONDS", 60)
    with pytest.raises(SystemExit) as ended:
        list(load(Batches(lambda k: time.sleep(6)), range(1), num_workers=1))
    assert ended.value.code == 143


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EAGAIN, errno.EMFILE])
@pytest.mark.fault("data loading")
def test_processes_that_cannot_be_started_are_told(code, monkeypatch):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(
        torch.utils.data.dataloader._MultiProcessingDataLoaderIter, "__init__", refuse
    )
    with pytest.raises(ConfigError) as caught:
        list(load(Batches(arrays), range(2), num_workers=1))
    assert str(caught.value) == (
        f"No process for loading data could be started ({os.strerror(code)}): /dev/shm must have "
        f"room, and the system must allow more processes and files. {WAY_OUT}"
    )


@pytest.mark.parametrize(
    ("error", "dead"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), True),
        (EOFError(), True),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), True),
        (RuntimeError("shapes differ"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_the_ways_to_learn_that_a_data_loading_process_died(error, dead):
    assert is_dead_loader(error) is dead


@pytest.mark.fault("data loading")
@pytest.mark.parametrize("error", [errno.EMFILE, errno.EAGAIN])
def test_of_processes_that_cannot_all_be_started_none_is_left(error, monkeypatch):
    """One that is left ignores Python's signal, and Python waits for it at exit, for ever."""
    start = multiprocessing.process.BaseProcess.start
    before = set(multiprocessing.active_children())

    def refuse_the_second(self):
        if set(multiprocessing.active_children()) - before:
            raise OSError(error, os.strerror(error))
        start(self)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse_the_second)
    with pytest.raises(ConfigError) as caught:
        list(load(Batches(arrays), range(4), num_workers=2))
    assert str(caught.value).startswith(
        f"No process for loading data could be started ({os.strerror(error)}): /dev/shm must have"
    )
    assert set(multiprocessing.active_children()) <= before


def test_too_few_open_files_in_a_process_are_no_fault_of_a_recording():
    def refuse(_):
        raise OSError(errno.EMFILE, "Too many open files", "a.wav")

    with pytest.raises(ConfigError) as caught:
        list(load(Batches(refuse), range(2), num_workers=1))
    assert str(caught.value) == (
        "This process may open no more files: raise its limit (ulimit -n 1024) (Too many open "
        f"files). {WAY_OUT}"
    )
