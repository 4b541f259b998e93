"""`spknorm COMMAND`: one table of commands, each of which loads what it needs when it is run."""

import argparse
import sys
from collections.abc import Sequence

from spknorm.cli import (
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
from spknorm.cli.parsing import Command, Parser, add_arguments
from spknorm.config.device import check_device, default_device

SUBCOMMANDS: dict[str, Command] = {"run-downstream": downstream.COMMAND} | {
    module.__name__.rpartition(".")[2]: module.COMMAND
    for module in (
        *(audit, bench, corpora, demo, doctor, export),
        *(predict, report, serve, splits),
    )
}


def run(argv: Sequence[str] | None = None) -> int:
    """Run `spknorm COMMAND` and return its exit status; errors are raised."""
    args = parser().parse_args(argv)
    process.hush()
    process.check_options(args)
    if args.command in ("audit", "predict", "serve"):
        args.device = args.device or default_device()
        check_device(args.device)
    try:
        return SUBCOMMANDS[args.command].run(args)
    except KeyboardInterrupt:
        if args.command in ("audit", "bench"):
            print("\nStopped. The same command continues where it was.", file=sys.stderr)
        raise


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
            epilog=command.example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_arguments(added, command.arguments)
    return parser
