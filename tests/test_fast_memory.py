"""Freed memory stays with the process, counted by what the kernel has to clear."""

import subprocess
import sys

import pytest
import tiny_runs

from spknorm.upstreams.fast import memory

_FORKS = """
import os
import sys
import torch
from spknorm.upstreams.fast import keep_freed_memory
for code in sys.argv[1:]:
    if not (child := os.fork()):
        exec(code)
        print(flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""

_COUNT = """
import resource
import torch
from spknorm.upstreams.fast import keep_freed_memory
def step():  # 16 blocks of 8 MB
    blocks = [torch.ones(2 * 2**20) for _ in range(16)]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def count():
    step()
    before = faults()
    for _ in range(10):
        step()
    print(faults() - before)
count()
assert keep_freed_memory()
for _ in range(3):
    count()
"""


@pytest.fixture(scope="module")
def printed():
    """What each piece of code printed, in a process of its own that has torch imported already."""
    if not sys.platform.startswith("linux"):
        pytest.skip("glibc's allocator")
    command = [sys.executable, "-c", _FORKS, _COUNT, _TRIM]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.split("\n\n")


def test_kept_memory_is_not_cleared_again_by_the_kernel(printed):
    given_back, *kept = map(int, printed[0].split())  # page faults
    one_step = 16 * 8 * 2**20 // 4096  # pages
    assert given_back > one_step / 2
    # A kernel that is short of memory may take pages away meanwhile.
    assert min(kept) < one_step / 10


_TRIM = """
from pathlib import Path
import torch
from spknorm.upstreams.fast import keep_freed_memory
def resident():  # pages
    return int(Path("/proc/self/statm").read_text().split()[1])
blocks = [torch.ones(2**14) for _ in range(1024)]  # of 64 kB, which glibc does not map
del blocks[:-1]  # below the last, so that they do not go back by themselves
before = resident()
assert keep_freed_memory()
print(before - resident())
"""


def test_what_was_freed_before_a_run_keeps_memory_goes_back(printed):
    assert int(printed[1]) * 4096 > 48 * 2**20  # of 64


def test_without_glibc_nothing_is_done_and_nothing_breaks(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", missing)
    assert not memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()


@pytest.mark.parametrize(
    ("trainable", "asked", "calls"), [(True, True, 1), (True, False, 0), (False, True, 0)]
)
def test_a_run_keeps_freed_memory_where_it_trains_an_upstream_unless_told_not_to(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, trainable, asked, calls
):
    called = []
    monkeypatch.setattr("spknorm.runner.engine.keep_freed_memory", lambda: called.append(1))
    mapping = tiny_runs.settings_of(tiny_corpora, strategy="none", total_steps=1, eval_step=1)
    mapping["upstream"]["keep_freed_memory"] = asked
    tiny_runs.train(tiny_hubert, mapping, tmp_path, upstream_trainable=trainable)
    assert len(called) == calls
