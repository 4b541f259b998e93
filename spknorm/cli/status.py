"""How a command ends: its exit status, and one text on stderr for whatever a user can act on."""

import sys
from collections.abc import Callable

from spknorm.cli import libraries, surroundings
from spknorm.errors import (
    USER_ERRORS,
    CheckpointError,
    ConfigError,
    is_disk_full,
    is_out_of_memory,
    shortage,
)


def exit_status_of(command: Callable[[], int]) -> int:
    """Return the command's status, turning a user's error into one text on stderr."""
    try:
        surroundings.prepare()
        libraries.prepare()
        status = command()
        surroundings.close_output()
        return status
    except BrokenPipeError:
        surroundings.drop_output()
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        text, status = told
        print(f"spknorm: {text}", file=sys.stderr)
        if isinstance(error, OSError) and is_disk_full(error) and error.filename is None:
            surroundings.drop_output()  # which may be what is full
        return status
    finally:
        if "spknorm.batches.workers" in sys.modules:
            sys.modules["spknorm.batches.workers"].end_processes()


def _told(error: Exception) -> tuple[str, int] | None:
    """Return what is said of an error, and the exit status; None where it is no user's matter."""
    if isinstance(error, USER_ERRORS):
        return str(error), error.exit_code
    if is_out_of_memory(error):
        return _short_of_memory(error), ConfigError.exit_code
    if isinstance(error, OSError) and is_disk_full(error):
        place = error.filename or "A disk"
        return f"{place} takes no more data ({error.strerror}).", CheckpointError.exit_code
    refusal = surroundings.refusal(error) if isinstance(error, OSError) else None
    text = shortage(error) or refusal or libraries.unloadable(error) or _dead_loader(error)
    text = text or libraries.uncompiled(error)
    return None if text is None else (text, ConfigError.exit_code)


def _short_of_memory(error: Exception) -> str:
    from spknorm.config.device import advice_of

    why = next(iter(str(error).splitlines()), "").split(". ")[0]
    return (
        f"Memory ran out{f' ({why})' if why else ''}.{libraries.limit()} Take a device with more "
        "of it (--device cpu has the machine's), a smaller upstream, or smaller batches."
        f"{advice_of(error)}"
    )


def _dead_loader(error: Exception) -> str | None:
    workers = sys.modules.get("spknorm.batches.workers")
    if workers is None or not isinstance(error, RuntimeError) or not workers.is_dead_loader(error):
        return None
    text: str = workers.explain()
    return text
