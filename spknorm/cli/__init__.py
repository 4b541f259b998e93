"""The only place that parses arguments and prints.

Importing it loads no library of others: what fails in loading one is told as every other error,
and `--help` and every wrong option answer at once.
"""

from collections.abc import Sequence

from spknorm.cli.status import exit_status_of

__all__ = ["main", "run_downstream"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spknorm COMMAND`; the console script.

    Returns:
        The exit status: 0, or that of the user's error (see `spknorm.errors`), told on stderr.
    """

    def command() -> int:
        from spknorm.cli import commands

        return commands.run(argv)

    return exit_status_of(command)


def run_downstream(argv: Sequence[str] | None = None) -> int:
    """Run one experiment; the console script and `python run_downstream.py`."""

    def command() -> int:
        from spknorm.cli import arguments, downstream

        return downstream.run(arguments.parse(argv))

    return exit_status_of(command)
