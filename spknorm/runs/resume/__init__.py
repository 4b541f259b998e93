"""A run's folder: one process at a time, no leftovers, no run over another; does it go on there?

fork    other settings go on in a folder of their own
stock   what s3prl's own Runner neither asks nor keeps
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from spknorm.config.effects import differing
from spknorm.errors import ConfigError
from spknorm.files import FolderLock
from spknorm.runs import checkpoint
from spknorm.runs.result import read_result
from spknorm.runs.state import describe
from spknorm.schema import TaskConfig


@contextlib.contextmanager
def held(expdir: Path) -> Iterator[None]:
    """Keep other processes out of an experiment's folder; what killed writes left is removed.

    Raises:
        ConfigError: It cannot be written, or another process uses it.
    """
    with FolderLock(expdir):
        for leftover in expdir.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        yield


def goes_on(args: argparse.Namespace, expdir: Path) -> bool:
    """Whether `init_ckpt` is where this run stands, and not just a source of weights."""
    if not getattr(args, "init_ckpt", None):
        return False
    here = Path(args.init_ckpt).resolve().parent == expdir.resolve()
    return here or bool(getattr(args, "past_exp", None))


def ended_for_good(args: argparse.Namespace, expdir: Path, settings: TaskConfig) -> bool:
    """Return whether `-a` finds a complete run here of which no checkpoint was kept.

    Raises:
        ConfigError: There is one, but it was made with other settings or fewer steps.
    """
    path = expdir / "result.json"
    if args.init_ckpt or not getattr(args, "auto_resume", False) or not path.is_file():
        return False
    result = read_result(path)
    changed = differing((result.config, result.args), (settings, vars(args)))
    if changed:
        raise ConfigError(
            f"{expdir} holds a complete run with other settings ({describe(changed)}), and nothing "
            "to go on from (config.runner.keep). Choose another folder (-n or -p)."
        )
    return True


def check_unused(expdir: Path) -> None:
    """Check that a new run would not write over an earlier one.

    Raises:
        ConfigError: There are checkpoints or a result in its folder.
    """
    checkpoints = checkpoint.existing(expdir)
    if checkpoints:
        raise ConfigError(
            f"{expdir} holds the checkpoints of an earlier run ({checkpoints[0].name}): "
            "go on with it (-a), or choose another folder (-n or -p)."
        )
    if (expdir / "result.json").is_file():
        raise ConfigError(
            f"{expdir} holds the result of an earlier run, whose checkpoints were not kept: "
            "choose another folder (-n or -p)."
        )
