"""What the machine may lack around a command: a home, a user's name, a reader of its output."""

import contextlib
import errno
import os
import pwd
import sys
import tempfile
import traceback
from pathlib import Path

from spknorm.errors import ConfigError

_CACHES = (
    "SPKNORM_CACHE",
    "MPLCONFIGDIR",
    "NUMBA_CACHE_DIR",
    "HF_HOME",
    "TORCH_HOME",
    "TORCHINDUCTOR_CACHE_DIR",
    "XDG_CACHE_HOME",
)
"""Where the libraries keep what they would keep in the home folder."""
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_MAKERS = ("mkdir", "mkdtemp")
_MISPLACED = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


def prepare() -> None:
    """Let names print that are no UTF-8, and give libraries a folder where there is no home.

    Streams that were closed (`>&-`) lead nowhere, so that no file of ours takes their number.

    Raises:
        FileNotFoundError: The working folder is gone, without which MKL does not even load.
        ConfigError: See `make_home_usable`.
    """
    os.getcwd()  # noqa: PTH109  # pathlib would make a path of it
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                nowhere = os.open(os.devnull, os.O_RDWR)
                if nowhere != number:
                    os.dup2(nowhere, number)
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  # to the end
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
            with contextlib.suppress(OSError):
                stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    make_home_usable()


def make_home_usable() -> None:
    """Point the caches of this process at a temporary folder if the home cannot be written.

    Raises:
        ConfigError: There is no temporary folder either.
    """
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:  # a container's user id; getpass asks the variable first
        os.environ.setdefault("LOGNAME", f"user{os.getuid()}")
    try:
        home: Path | None = Path.home()
    except (RuntimeError, KeyError):
        home = None
    if home is not None and (_takes_files(home) or _takes_files(home / ".cache")):
        return
    try:
        folder = Path(tempfile.gettempdir()) / f"spknorm-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Neither the home folder ({home or 'HOME is not set'}) nor a temporary one can be "
            "written: set HOME or TMPDIR to a folder that can."
        ) from error
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to somebody else: set HOME or TMPDIR to your own.")
    if home is None or not home.is_dir():
        os.environ["HOME"] = str(folder)
    kept = ("huggingface", "torch", "s3prl")
    downloaded = home is not None and any((home / ".cache" / one).is_dir() for one in kept)
    for name in _CACHES:
        if name in ("HF_HOME", "TORCH_HOME") and downloaded:
            continue  # which can be read
        os.environ.setdefault(name, str(folder / name.lower()))


def _takes_files(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):  # permissions alone do not say: root, mounts
            return True
    except OSError:
        return False


def refusal(error: OSError) -> str | None:
    """Return what the machine refuses and what to do, or None where it is no matter of its."""
    place, why = error.filename, error.strerror
    if error.errno in _REFUSED:
        return (
            f"{place or 'A folder'} cannot be used ({why}). Name another folder for the results, "
            "copy this one, or change its permissions."
        )
    frames = traceback.extract_tb(error.__traceback__)
    # A folder was to be made where none can be, such as in /proc.
    makes = error.errno == errno.ENOENT and bool(frames) and frames[-1].name in _MAKERS
    if place is not None and (error.errno in _MISPLACED or makes):
        return f"{place} cannot be used as a place for files ({why}). Name another folder."
    if error.errno == errno.ENOENT and place is None:  # what the working folder is asked for
        return f"The working folder is gone ({why}). Change to one that is there (cd)."
    return None


def close_output() -> None:
    """Flush what was printed; after a reader such as `head` has gone, drop the rest quietly."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Send the rest of the output nowhere, so that Python does not complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
