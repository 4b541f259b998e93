"""`spknorm report`: tables, figures and a page from the result files of a folder."""

import argparse

from spknorm.cli.parsing import Command, flag, option
from spknorm.files import check_folder


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


COMMAND = Command(
    "write tables, figures and one HTML page from the result files of a folder, at any time",
    "example: spknorm report result/demo",
    (
        option("folder", "a benchmark folder, or that of a single run", "DIR"),
        option(
            "--out",
            "default: DIR itself, or a folder in result/report if DIR cannot be written",
            "DIR",
        ),
        flag("--audit", "do what is left of the leakage audit first"),
    ),
    run,
)
