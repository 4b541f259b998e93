"""How commands are declared; argparse with one line per mistake, as for all other errors."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from spknorm.errors import ConfigError, MissingError

_ROOTS = ("iemocap", "voxceleb1", "librispeech")


class Argument(NamedTuple):
    """An option or a position: its names, and what argparse is told of it."""

    names: tuple[str, ...]
    told: dict[str, Any]


class Command(NamedTuple):
    """A command.

    Attributes:
        help: What it is for.
        example: How it is typed, shown below its options.
        arguments: In the order of its help; a text begins a group of that title.
        run: Takes the parsed options, prints, and returns the exit status; modules that are slow
            to load are imported in it.
    """

    help: str
    example: str
    arguments: Iterable[Argument | str]
    run: Callable[[argparse.Namespace], int]


_TYPES = {"DIR": Path, "EXPDIR": Path, "SECONDS": float, "N": int}
"""What is read of an option's text, by what its value is called."""


def option(names: str, help: str, metavar: str | None = None, **told: Any) -> Argument:
    """Return an option, such as `-c --config`, or a position, such as `folder`."""
    kind = {"type": _TYPES[metavar]} if metavar in _TYPES else {}
    return Argument(tuple(names.split()), {"help": help, "metavar": metavar, **kind, **told})


def flag(names: str, help: str, **told: Any) -> Argument:
    """Return an option without a value."""
    return Argument(tuple(names.split()), {"help": help, "action": "store_true", **told})


DEVICE = option("--device", "default: cuda if there is a GPU, else cpu")


def roots(where: str = "") -> list[Argument]:
    """Return the options that say where the corpora of most runs are; see `take_roots`."""
    return [option(f"--{name}", f"sets {name.upper()}_ROOT{where}", "DIR") for name in _ROOTS]


def add_arguments(parser: argparse.ArgumentParser, arguments: Iterable[Argument | str]) -> None:
    """Add a command's options to its parser."""
    place: Any = parser
    for one in arguments:
        if isinstance(one, str):
            place = parser.add_argument_group(one)
        else:
            place.add_argument(*one.names, **one.told)


class Parser(argparse.ArgumentParser):
    """A parser, also of subcommands, whose complaints are this project's errors."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", int, _reader(int, "a whole number"))
        self.register("type", float, _reader(float, "a number"))

    def parse_known_args(  # type: ignore[override]  # argparse's own overloads
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, unless an argument is empty, as it is where a variable of the shell is not set.

        Raises:
            ConfigError: One is, which would be taken for the working folder, or `-o` is given
                again, of which s3prl's parser would take the last alone.
        """
        given = sys.argv[1:] if args is None else [*args]
        if sum(word in ("-o", "--override") for word in given) > 1:
            raise ConfigError(
                "`-o` is given more than once, and all but the last would be dropped: put what "
                "they say into one, separated by `,,`."
            )
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


def _reader(kind: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {what}, but is `{text}`.") from None

    return read


def take_roots(args: argparse.Namespace) -> None:
    """Put `roots` into the environment; a folder that is not there is a MissingError."""
    for name in _ROOTS:
        folder = getattr(args, name)
        if folder is not None and not folder.is_dir():
            raise MissingError(f"`--{name} {folder}`: there is no such folder.")
        if folder is not None:
            os.environ[f"{name.upper()}_ROOT"] = str(folder.resolve())
