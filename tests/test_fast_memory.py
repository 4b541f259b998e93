"""Freed memory stays with the process, counted by what the kernel has to clear."""

import subprocess
import sys

import pytest

from spknorm.fast import memory

_COUNT = """
import resource, sys
import torch
from spknorm.fast import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def step():  # 16 blocks of 8 MB
    blocks = [torch.ones(2 * 2**20) for _ in range(16)]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_kept_memory_is_not_cleared_again_by_the_kernel():
    def page_faults(how):
        done = subprocess.run(
            [sys.executable, "-c", _COUNT, how], check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    one_step = 16 * 8 * 2**20 // 4096  # pages
    assert page_faults("given back") > one_step / 2
    assert page_faults("kept") < one_step / 10


def test_without_glibc_nothing_is_done_and_nothing_breaks(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", missing)
    assert not memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
