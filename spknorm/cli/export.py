"""`spknorm export`: the normalised upstream of an experiment as files for others."""

import argparse
from pathlib import Path

from spknorm.errors import ConfigError

HELP = "write an experiment's normalised upstream for s3prl and transformers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `spknorm export`."""
    add = parser.add_argument
    add("expdir", metavar="EXPDIR", type=Path, nargs="?", help="a finished emotion_spknorm run")
    add(
        "--matrix",
        action="store_true",
        help="print what each family of upstreams can do; no EXPDIR",
    )
    add(
        "--out",
        metavar="DIR",
        type=Path,
        help="default: EXPDIR/export; in result/export if EXPDIR is read-only",
    )
    add("--format", action="append", help="s3prl or transformers (default: both)")
    add("--onnx", action="store_true", help="also model.onnx: a waveform in, logits out")
    add("--push", metavar="USER/NAME", help="upload the folder to this repository of a model hub")
    add(
        "--public",
        action="store_true",
        help="with --push: a new repository is public (default: private)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the export, print its folder, and upload it if asked."""
    from spknorm import export
    from spknorm.export.matrix import matrix

    if args.matrix:
        print(matrix(), end="")
        return 0
    if args.expdir is None:
        raise ConfigError("Name the folder of a finished experiment: spknorm export EXPDIR.")
    formats = tuple(args.format) if args.format else export.FORMATS
    exported = export.export(args.expdir, args.out, formats=formats, onnx=args.onnx)
    print(exported.folder)
    if "transformers" in formats and not exported.classifier:
        print(f"without the emotion classifier for transformers: {exported.reason}")
    if args.push is not None:
        print(export.push(exported.folder, args.push, private=not args.public))
    return 0
