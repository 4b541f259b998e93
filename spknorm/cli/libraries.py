"""Libraries that do not load: what is missing, and what to do, before torch ends the process.

Loading torch under a limit of address space may end in an ImportError, in an exception of C++ that
nothing catches, or well: so it is tried in a process of its own first. numpy's OpenBLAS sends the
process a SIGINT where it may not start its threads.
"""

import importlib.abc
import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from spknorm.errors import ConfigError

_AMPLE_BYTES = 16 << 30
"""Of address space: torch with CUDA's libraries takes about 3 GB of it before it computes."""
_TRIAL = "import mmap, torch; mmap.mmap(-1, 700 << 20)"
"""torch, and room for s3prl and scipy, whose OpenBLAS tries for ever where it has none."""
_TRIAL_SECONDS = 300
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POOLS = 3
"""Of as many threads each: numpy's OpenBLAS, scipy's, and OpenMP's, which torch computes with."""
_NATIVE = re.compile(r"\.so\b|shared object|static TLS|dlopen|\.dylib\b|GLIBC|library")
_MEMORY = re.compile(r"failed to map segment|[Cc]annot allocate memory|bad_alloc|MemoryError")
_OURS = Path(__file__).parents[1]


def prepare() -> None:
    """See that torch loads in a limited address space, and that there may be enough threads."""
    _limit_threads()
    if _limit_bytes() is not None and "torch" not in sys.modules:
        sys.meta_path.insert(0, _TorchFirst())


def limit() -> str:
    """Return a sentence on the address space that this process may have; nothing if enough."""
    allowed = _limit_bytes()
    if allowed is None:
        return ""
    return (
        f" `ulimit -v` leaves this process {allowed / (1 << 30):.1f} GiB of address space: raise "
        "it, or lift it (ulimit -v unlimited; in a cluster's job, its virtual memory)."
    )


def unloadable(error: BaseException) -> str | None:
    """Return what to say of a library that does not load; None if the error is of another kind."""
    loading = _loading(error)
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").partition(".")[0]
        if name in ("spknorm", ""):
            return None
        asks = f", which `{loading}` needs," if loading and loading != name else ""
        return (
            f"The package `{name}`{asks} is not installed for {sys.executable}: install it there "
            "(pip install), or use the environment that has it."
        )
    native = isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is None)
    if loading is None and not (native and _NATIVE.search(str(error))):
        return None
    root: BaseException = error
    while (before := root.__cause__ or root.__context__) is not None:
        root = before
    lines = str(root).strip().splitlines() or [type(root).__name__]
    what = "A library" if loading is None else f"The library `{loading}`"
    return f"{what} cannot be loaded ({lines[0].rstrip('.')}).{_way_out(str(root))}"


def uncompiled(error: BaseException) -> str | None:
    """Return what to say where torch.compile fails; None if the error is of another kind."""
    if type(error).__name__ not in ("InductorError", "BackendCompilerFailed"):
        return None
    lines = str(error).strip().splitlines()
    why = next((line for line in lines if not line.startswith("backend=")), "no word of it")
    return f"torch.compile cannot compile ({why}): set config.upstream.compile to false."


def _way_out(text: str) -> str:
    if _MEMORY.search(text):
        return limit() or " Memory is short: end other programs, or take a machine with more."
    if "static TLS" in text:
        return " Name it in LD_PRELOAD, so that it is loaded first."
    if sys.flags.optimize > 1:
        return (
            " Python drops docstrings here (-OO, or PYTHONOPTIMIZE is 2), and transformers reads "
            "those of its classes: start it without, or unset PYTHONOPTIMIZE."
        )
    return (
        " Install it again in this environment (pip install --force-reinstall), and see that "
        "LD_LIBRARY_PATH names no libraries of another version."
    )


def _loading(error: BaseException) -> str | None:
    """Return the package of others during whose import an error was raised, or None."""
    trace, found = error.__traceback__, None
    while trace is not None:
        code, names = trace.tb_frame.f_code, trace.tb_frame.f_globals
        ours = Path(code.co_filename).is_relative_to(_OURS)
        if code.co_name == "<module>" and found is None and not ours:
            found = str(names.get("__name__")).partition(".")[0]
        trace = trace.tb_next
    return None if found in (None, "__main__", "spknorm") else found


def _limit_bytes() -> int | None:
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if allowed == resource.RLIM_INFINITY or allowed >= _AMPLE_BYTES else allowed


def _limit_threads() -> None:
    """Compute with one thread where the system allows fewer than the libraries would start."""
    asked = os.environ.get(_THREADS[0], "").partition(",")[0]
    each = int(asked) if asked.isdecimal() else len(os.sched_getaffinity(0))
    wanted = _POOLS * max(0, each - 1)  # the first of each is this one
    over, started = threading.Event(), []
    try:
        for _ in range(wanted):
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        print(
            f"spknorm: This process may start {len(started)} threads beside its own, not "
            f"{wanted} (ulimit -u, or a container's limit): it computes with one.",
            file=sys.stderr,
        )
    finally:
        over.set()
        for thread in started:
            thread.join()


class _TorchFirst(importlib.abc.MetaPathFinder):
    """Asked for torch, tries it elsewhere first; finds nothing itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None.

        Raises:
            ConfigError: torch does not load within this process's address space.
        """
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        command = [sys.executable, "-P", "-c", _TRIAL]
        try:
            tried = subprocess.run(
                command, capture_output=True, check=False, timeout=_TRIAL_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"torch does not end loading.{limit()}") from error
        if tried.returncode:
            lines = tried.stderr.decode(errors="replace").strip().splitlines() or ["no word of it"]
            raise ConfigError(f"torch and s3prl cannot be loaded ({lines[-1].strip()}).{limit()}")
        return None
