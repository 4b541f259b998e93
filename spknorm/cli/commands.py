"""`spknorm COMMAND`: one table of commands, each of which loads what it needs when it is run."""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spknorm.cli import (
    arguments,
    audit,
    bench,
    corpora,
    demo,
    doctor,
    downstream,
    export,
    predict,
    process,
    report,
    serve,
    splits,
)
from spknorm.cli.parsing import Parser
from spknorm.config.device import check_device, default_device


class Subcommand(NamedTuple):
    """A command: what it is for, its options, and what runs it.

    `run` takes the parsed options, prints, and returns the exit status; modules that are slow to
    load are imported in it.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


SUBCOMMANDS: dict[str, Subcommand] = {
    "run-downstream": Subcommand(
        "train, evaluate or use a task: s3prl's own command line",
        arguments.add_arguments,
        downstream.run,
    ),
    "audit": Subcommand(audit.HELP, audit.add_arguments, audit.run),
    "bench": Subcommand(bench.HELP, bench.add_arguments, bench.run),
    "corpora": Subcommand(corpora.HELP, corpora.add_arguments, corpora.run),
    "demo": Subcommand(demo.HELP, demo.add_arguments, demo.run),
    "doctor": Subcommand(doctor.HELP, doctor.add_arguments, doctor.run),
    "export": Subcommand(export.HELP, export.add_arguments, export.run),
    "predict": Subcommand(predict.HELP, predict.add_arguments, predict.run),
    "report": Subcommand(report.HELP, report.add_arguments, report.run),
    "serve": Subcommand(serve.HELP, serve.add_arguments, serve.run),
    "splits": Subcommand(splits.HELP, splits.add_arguments, splits.run),
}


EXAMPLES = {
    "run-downstream": arguments.EXAMPLES,
    "audit": "example: spknorm audit result/demo --every-layer",
    "bench": "example: spknorm bench configs/demo.yaml --dry-run",
    "corpora": "example: spknorm corpora ravdess",
    "demo": "example: spknorm demo trees --corpus ravdess",
    "doctor": "example: spknorm doctor -u hubert_base --iemocap DIR --voxceleb1 DIR --audio",
    "export": "example: spknorm export result/downstream/NAME --format transformers",
    "predict": "example: spknorm predict result/downstream/NAME a.wav --window 2 --page a.html",
    "report": "example: spknorm report result/demo",
    "serve": "example: spknorm serve result/downstream/NAME",
    "splits": "example: spknorm splits list.csv --protocol loso-group --groups 4 --strict",
}
"""How each command is typed, below its options."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run `spknorm COMMAND` and return its exit status; errors are raised."""
    args = parser().parse_args(argv)
    process.hush()
    process.check_options(args)
    if args.command in ("audit", "predict", "serve"):
        args.device = args.device or default_device()
        check_device(args.device)
    return SUBCOMMANDS[args.command].run(args)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="spknorm", description="Speaker normalisation for speech emotion recognition."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in SUBCOMMANDS.items():
        added = commands.add_parser(
            name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(added)
    return parser
