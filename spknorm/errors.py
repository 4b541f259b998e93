"""The errors a user can cause, each with the exit status it ends a command with.

First in the flow: every other file may raise them; `cli.py` alone turns them into a message and
a status.
"""

import difflib
from collections.abc import Iterable


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


USER_ERRORS = (ConfigError, MissingError, DataError, NonFiniteError, CheckpointError)


def did_you_mean(key: object, known: Iterable[str]) -> str:
    """Return ` Did you mean `x`?` for the known name that is nearest, nothing if none is near."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f" Did you mean `{near[0]}`?" if near else ""
