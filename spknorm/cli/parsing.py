"""argparse with one line per mistake: `spknorm: ...`, exit status 2, as for all other errors."""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from spknorm.errors import ConfigError, MissingError

_ROOTS = ("iemocap", "voxceleb1", "librispeech")


class Parser(argparse.ArgumentParser):
    """A parser, also of subcommands, whose complaints are this project's errors."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", int, _whole)
        self.register("type", float, _number)

    def parse_known_args(  # type: ignore[override]  # argparse's own overloads
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, unless an argument is empty, as it is where a variable of the shell is not set.

        Raises:
            ConfigError: One is, which would be taken for the working folder.
        """
        given = sys.argv[1:] if args is None else [*args]
        for before, word in zip(["", *given], given, strict=False):
            if word == "" and before not in ("-o", "--override", "--device"):
                behind = f" behind `{before}`" if before else ""
                raise ConfigError(
                    f"An argument{behind} is empty: is a variable of the shell unset?"
                )
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print below its usage.

        Raises:
            ConfigError: Always.
        """
        option = re.fullmatch(r"argument (?:\S+/)*(\S+): (must be .*)", message, re.DOTALL)
        if option is not None:
            raise ConfigError(f"`{option[1]}` {option[2]}")
        raise ConfigError(f"{message}. See `{self.prog} --help`.")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, but is `{text}`.") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, but is `{text}`.") from None


def add_roots(parser: argparse.ArgumentParser, where: str = "") -> None:
    """Add the options that say where the corpora of most runs are."""
    for name in _ROOTS:
        text = f"sets {name.upper()}_ROOT{where}"
        parser.add_argument(f"--{name}", metavar="DIR", type=Path, help=text)


def take_roots(args: argparse.Namespace) -> None:
    """Put them into the environment; a folder that is not there is a MissingError."""
    for name in _ROOTS:
        folder = getattr(args, name)
        if folder is not None and not folder.is_dir():
            raise MissingError(f"`--{name} {folder}`: there is no such folder.")
        if folder is not None:
            os.environ[f"{name.upper()}_ROOT"] = str(folder.resolve())
