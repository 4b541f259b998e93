"""Which weights a run began with, kept in its command line as its checkpoints and result have it.

After `effects.py`, which tells runs apart by the first of the two marks.
"""

import argparse
from pathlib import Path

from spknorm.errors import CheckpointError
from spknorm.files import sha256_of

MARKS = ("initial_weights", "upstream_digest")
"""What `-i` gave a run, by name and content; and the content of the file that `-k` named."""


def note_weights(args: argparse.Namespace) -> None:
    """Mark in `args` what a new run begins with, as far as it lies in files of this machine."""
    given, upstream = MARKS
    if args.init_ckpt:
        file = Path(args.init_ckpt).resolve()
        setattr(args, given, f"{file.parent.name}/{file.name}, digest {_digest(file)}")
    if args.upstream_ckpt and Path(args.upstream_ckpt).is_file():
        setattr(args, upstream, _digest(Path(args.upstream_ckpt)))


def check_weights(args: argparse.Namespace) -> None:
    """Check that a frozen upstream's file is the one that the run of these arguments began with.

    Raises:
        CheckpointError: Another file lies in its place; no checkpoint of the run has its weights.
    """
    known, file = getattr(args, MARKS[1], None), getattr(args, "upstream_ckpt", None)
    if known is None or getattr(args, "upstream_trainable", True) or not Path(str(file)).is_file():
        return
    found = _digest(Path(str(file)))
    if found != known:
        raise CheckpointError(
            f"{file} is not the file that this run began with (its digest was {known}, is "
            f"{found}), and the weights of a frozen upstream are not in the run's checkpoints: put "
            "the first file back, or begin a new experiment."
        )


def _digest(file: Path) -> str:
    return sha256_of(file)[:12]
