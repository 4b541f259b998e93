"""Which weights a run began with, kept in its command line as its checkpoints and result have it.

After `effects.py`, which tells runs apart by the first of the two marks.
"""

import argparse
import json
from pathlib import Path

from spknorm.errors import CheckpointError
from spknorm.files import sha256_of

MARKS = ("initial_weights", "upstream_digest")
"""What `-i` gave a run, by name and content; and the content of the file or folder of its upstream.
"""
_OF_A_MODEL = (
    "*config.json",
    "*.index.json",
    "*.safetensors",
    "pytorch_model*.bin",
    "adapter_model*.bin",
    "*.pt",
)
"""What is read of a folder; tokenisers, vocabularies and cards are not."""
_LENGTH = 12


def note_weights(args: argparse.Namespace) -> None:
    """Mark in `args` what a new run begins with, as far as it lies in files of this machine."""
    given, upstream = MARKS
    if args.init_ckpt:
        file = Path(args.init_ckpt).resolve()
        setattr(args, given, f"{file.parent.name}/{file.name}, digest {_digest(file)}")
    place = _place(args)
    if place is not None:
        setattr(args, upstream, _digest(place))


def note_fetched(args: argparse.Namespace, source: Path | None) -> None:
    """Mark what a name of a hub led a new run to, which is known once the upstream is built."""
    if _place(args) is None and source is not None:
        setattr(args, MARKS[1], _digest(source))


def check_weights(args: argparse.Namespace, source: Path | None = None) -> None:
    """Check that a frozen upstream's file or folder is what the run of these arguments began with.

    `source` is where a name of a hub led to, once the upstream is built.

    Raises:
        CheckpointError: Another lies in its place; no checkpoint of the run has its weights.
    """
    known = getattr(args, MARKS[1], None)
    if known is None or getattr(args, "upstream_trainable", True):
        return
    place = _place(args) or source
    if place is None:  # which is told where it is looked for
        return
    found = _digest(place)
    if found != known:
        what, which = ("the file", "the first file")
        if place.is_dir():
            what, which = "the folder, with the files,", "the first files"
        raise CheckpointError(
            f"{place} is not {what} that this run began with (its digest was {known}, is "
            f"{found}), and the weights of a frozen upstream are not in the run's checkpoints: put "
            f"{which} back, or begin a new experiment."
        )


def _place(args: argparse.Namespace) -> Path | None:
    """Return the file or folder that `-k` or `-u KIND:PLACE` names, if it is there."""
    named = str(getattr(args, "upstream", "")).partition(":")[2] or args.upstream_ckpt
    path = Path(str(named)).expanduser() if named else None
    return path if path is not None and path.exists() else None


def _digest(place: Path) -> str:
    """Return the digest of a file; of a folder that of its model's files, and of what it adapts."""
    if not place.is_dir():
        return sha256_of(place)[:_LENGTH]
    files = {path for pattern in _OF_A_MODEL for path in place.glob(pattern) if path.is_file()}
    lines = [f"{file.name} {sha256_of(file)}" for file in sorted(files)]
    base = _base(place)
    if base is not None:
        lines.append(f"base {_digest(base)}")
    return sha256_of("\n".join(lines).encode())[:_LENGTH]


def _base(folder: Path) -> Path | None:
    """Return the folder of the model that a folder of peft's goes on, where it lies here."""
    try:
        options = json.loads((folder / "adapter_config.json").read_bytes())
        base = Path(options["base_model_name_or_path"]).expanduser()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if base.is_dir() and base.resolve() != folder.resolve() else None
