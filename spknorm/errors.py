"""The errors a user can cause, each with the exit status it ends a command with.

First in the flow: every other file may raise them; `cli` alone turns them into a message and
a status.
"""

import difflib
import errno
import re
from collections.abc import Iterable, Sequence


class ConfigError(ValueError):
    """A setting or option is unknown, of the wrong type, out of range or in conflict."""

    exit_code = 2


class MissingError(FileNotFoundError):
    """A file, folder, corpus or checkpoint that was asked for is not there."""

    exit_code = 2


class DataError(ValueError):
    """Audio, a manifest or a corpus that cannot be used as it is."""

    exit_code = 3


class NonFiniteError(ArithmeticError):
    """Loss or gradients stayed non-finite too often in a row; the weights were left untouched."""

    exit_code = 4


class CheckpointError(RuntimeError):
    """No usable checkpoint: truncated, altered, or made for something else."""

    exit_code = 5


_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory"
    r"|CU(BLAS|SOLVER|DNN)_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
    r"|CUDNN_STATUS_INTERNAL_ERROR_(DEVICE|HOST)_ALLOCATION_FAILED"
    r"|CU(BLAS|DNN)_STATUS_NOT_INITIALIZED|cusolverDnCreate"  # a library that got none to begin
    r"|NVML_SUCCESS == .*CachingAllocator"  # torch may not ask who fills the GPU: MIG, containers
)
"""What torch says of memory that the CPU, CUDA itself and NVIDIA's libraries did not get."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TOO_FEW = {
    errno.EMFILE: "open no more files: raise its limit (ulimit -n 1024)",
    errno.ENFILE: "open no more files, nor may others: close some programs",
    errno.EAGAIN: "start no more processes or threads: raise its limit (ulimit -u), or set "
    "num_workers to 0 and OMP_NUM_THREADS to 1",
}
USER_ERRORS = (ConfigError, MissingError, DataError, NonFiniteError, CheckpointError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return True
    raised = isinstance(error, RuntimeError) and not isinstance(error, USER_ERRORS)
    return raised and _OUT_OF_MEMORY.search(str(error)) is not None


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means no space, no quota or the largest file size."""
    return isinstance(error, OSError) and error.errno in _FULL


def shortage(error: BaseException) -> str | None:
    """Return what this process may have no more of, files or processes or threads, and what to do.

    None where the error says nothing of the kind. No file is to be blamed for it.
    """
    number = error.errno if isinstance(error, OSError) else None
    why = error.strerror if isinstance(error, OSError) else str(error)
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        number = errno.EAGAIN
    return None if number not in _TOO_FEW else f"This process may {_TOO_FEW[number]} ({why})."


def did_you_mean(key: object, known: Iterable[str], *, most: int = 1, before: str = "") -> str:
    """Return ` Did you mean `x` or `y`?` for the known names that are nearest, nothing if none is.

    They are at most so many; `before` stands before each.
    """
    near = difflib.get_close_matches(str(key), list(known), n=most)
    return f" Did you mean {' or '.join(f'`{before}{name}`' for name in near)}?" if near else ""


def first_of(names: Sequence[str], most: int, *, between: str = ", ") -> str:
    """Return the first of some names, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more
