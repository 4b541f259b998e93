"""`spknorm report`: tables, figures and a page from the result files of a folder."""

import argparse
from pathlib import Path

from spknorm.files import check_folder

HELP = "write tables, figures and one HTML page from the result files of a folder, at any time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `spknorm report`."""
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="a benchmark folder, or that of a single run"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="default: DIR itself, or a folder in result/report if DIR cannot be written",
    )
    parser.add_argument(
        "--audit", action="store_true", help="do what is left of the leakage audit first"
    )


def run(args: argparse.Namespace) -> int:
    """Write the report and print the paths of its files."""
    from spknorm import report

    if args.out is not None:
        check_folder(args.out)
    if args.audit:
        from spknorm.cli.audit import finish

        finish(args.folder)
    for path in report.build(args.folder, args.out):
        print(path)
    return 0
