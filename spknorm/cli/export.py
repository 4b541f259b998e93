"""`spknorm export`: the normalised upstream of an experiment as files for others."""

import argparse

from spknorm.cli.parsing import Command, flag, option
from spknorm.errors import ConfigError


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


COMMAND = Command(
    "write an experiment's normalised upstream for s3prl and transformers",
    "example: spknorm export result/downstream/NAME --format transformers",
    (
        option("expdir", "a finished emotion_spknorm run", "EXPDIR", nargs="?"),
        flag("--matrix", "print what each family of upstreams can do; no EXPDIR"),
        option("--out", "default: EXPDIR/export; in result/export if EXPDIR is read-only", "DIR"),
        option("--format", "s3prl or transformers (default: both)", action="append"),
        flag("--onnx", "also model.onnx: a waveform in, logits out"),
        option("--push", "upload the folder to this repository of a model hub", "USER/NAME"),
        flag("--public", "with --push: a new repository is public (default: private)"),
    ),
    run,
)
