"""Files that are either whole or absent: atomic writes, content hashes, folder locks.

Used by everything that writes: checkpoints, results, caches, corpora and reports.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from spknorm.errors import ConfigError, MissingError, is_disk_full

logger = logging.getLogger(__name__)

POINTER = "is a pointer of git-lfs, not the file itself: run `git lfs pull` where it was cloned"
"""What is said of a file for which `is_pointer` holds, behind its name."""
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/|/annex/objects/")
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
"""What flock answers on file systems without locks (some network and cluster ones)."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it to `path`.

    On any exception the temporary file is removed and `path` stays as it was. A device or a pipe
    is written into: a file in the place of /dev/null would be everybody's.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if path.exists() and not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            with path.open("wb") as device:
                device.write((Path(folder) / path.name).read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:80]}."
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".tmp")
    except FileNotFoundError as error:  # /proc and the like
        raise OSError(errno.EROFS, "no file can be made there", str(path.parent)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _fsync_folder(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a write says not into what
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Raise the system's own error where torch or safetensors hide it; a full disk names `path`."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error) and error.filename is None:
            error.filename = str(path)
        raise
    except Exception as error:
        hidden: BaseException | None = error
        while hidden is not None and not isinstance(hidden, OSError):
            hidden = hidden.__context__
        number = re.search(r"\(os error (\d+)\)", str(error))
        if hidden is None and number is not None:
            hidden = OSError(int(number[1]), os.strerror(int(number[1])), str(path))
        if hidden is None:
            raise
        raise hidden from error


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` so that readers see the old file or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(bytes_of(content) if isinstance(content, str) else content)


def bytes_of(text: str) -> bytes:
    """Return a text in UTF-8, a name of a file in it (which may be any bytes) as its bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that is of no name
        return text.encode("utf-8", "surrogatepass")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys (equal values give equal bytes); NaN is refused."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`.

    Raises:
        ConfigError: The file is not JSON; the message names the file and the place.
    """
    try:
        content = read_file(Path(path))
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        if is_pointer(content):
            raise ConfigError(f"{path} {POINTER}.") from error
        raise ConfigError(f"{path} is not valid JSON: {error}") from error


def read_file(path: Path) -> bytes:
    """Return a file's content; a pipe or a device, which may give nothing for ever, is an OSError.

    /dev/stdin and the shell's `<(...)` are pipes, too, and are refused alike.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.ENOTSUP, "it is a pipe or a device, not a file", str(path))
    return path.read_bytes()


def is_pointer(head: bytes) -> bool:
    """Return whether a file's first bytes are the stand-in that git-lfs or git-annex leaves."""
    return _POINTER.match(head) is not None


def sha256_of(source: Path | bytes) -> str:
    """Return the hexadecimal SHA-256 of a file's content or of `source` itself."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_root(folder: str | None = None) -> Path:
    """Return the cache folder: `folder`, else $SPKNORM_CACHE, else ~/.cache/spknorm."""
    chosen = folder or os.environ.get("SPKNORM_CACHE")
    return Path(chosen).expanduser() if chosen else Path("~/.cache/spknorm").expanduser()


def require_folder(folder: Path, what: str) -> None:
    """Refuse a folder that is not there, or is a file, for what should have been named.

    Raises:
        MissingError: Which of the two.
    """
    if folder.is_file():
        raise MissingError(f"{folder} is a file: name {what}.")
    if not folder.is_dir():
        raise MissingError(f"There is no folder {folder}: name {what}.")


def nearest_folder(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there: the disk of what is to be made."""
    folder = Path(folder).absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def check_folder(path: Path) -> None:
    """Check that `path` is a folder or can become one, before anything is computed for it.

    Raises:
        OSError: With what is in the way, or cannot be written.
    """
    here = Path(path).absolute()
    while not os.path.lexists(here):
        here = here.parent
    number = errno.ENOTDIR if not here.is_dir() else errno.EACCES
    if number == errno.ENOTDIR or not os.access(here, os.W_OK | os.X_OK):
        raise OSError(number, os.strerror(number), str(path if here == path else here))


def own_place(folder: Path, kind: str) -> Path:
    """Return `folder`, or where what is made of it goes if it is somebody else's to write.

    A folder that is not there yet is returned as it is; `kind` names one below `result`.
    """
    folder = Path(folder)
    if not folder.is_dir() or os.access(folder, os.W_OK | os.X_OK):
        return folder
    whole = folder.resolve()  # two colleagues may have called theirs alike
    return Path("result") / kind / f"{whole.name}-{sha256_of(os.fsencode(whole))[:8]}"


def lock_file(file: IO[Any], folder: Path, *, wait: bool = False, shared: bool = False) -> bool:
    """Take the kernel's lock of a folder's open file; it ends with the process.

    A shared one, to see whether another holds it, needs no right to write. Tells whether it was
    taken: a file system without locks is warned of, and used without.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is false.
        ConfigError: It cannot be locked for another reason.
    """
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _IN_USE:
            raise BlockingIOError(error.errno, error.strerror) from error
        if error.errno not in _NO_LOCKS:
            raise ConfigError(
                f"The folder {folder} cannot be locked ({error.strerror}). "
                "Choose one on another file system."
            ) from error
        logger.warning(
            "The file system of %s knows no locks (%s): see to it that no other process uses this "
            "folder.",
            folder,
            error.strerror,
        )
        return False
    return True


class FolderLock:
    """Keeps two processes out of one folder; a dead owner's lock is free by itself.

    The lock is the kernel's (flock), so it vanishes with its process; the file says who held it.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder to lock; `acquire` (or `with`) takes the lock."""
        self._path = Path(folder) / ".lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            ConfigError: The folder cannot be written, or another live process holds it.
        """
        folder = self._path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+")
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} cannot be written ({error.strerror}). "
                "Choose another with -p, or change its permissions."
            ) from error
        with contextlib.ExitStack() as unlocked:
            unlocked.enter_context(file)
            try:
                if not lock_file(file, folder):
                    return
            except BlockingIOError as error:
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise ConfigError(
                    f"The folder {folder} is in use by {owner}. "
                    "Wait for it to end, or choose another folder with -p."
                ) from error
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            unlocked.pop_all()
        self._file = file
        # Processes that load data outlive a killed one by a moment, and would hold its lock on.
        os.register_at_fork(after_in_child=self.release)

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "FolderLock":
        """Acquire."""
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Release."""
        self.release()


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
