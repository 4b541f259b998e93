"""The C library's allocator, told to keep what a training step frees for the next step."""

import ctypes
import logging
import sys

logger = logging.getLogger(__name__)

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let freed memory stay with this process; return whether the C library does that.

    glibc maps every large block afresh and gives it back when it is freed, so that the kernel has
    to clear each activation's and gradient's pages again in every step (mallopt(3)). Holds for the
    whole process, until it ends. What was freed before goes back first: little of it would fit a
    step. Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL("libc.so.6")
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):
        logger.debug("The C library has no mallopt: freed memory goes back to the system.")
        return False
    trim(0)
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
