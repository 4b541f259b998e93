"""`spknorm corpora`: what is known of every corpus that can be named, without reading any."""

import argparse
from pathlib import Path

from spknorm.cli.parsing import Command, option
from spknorm.errors import ConfigError, MissingError


def run(args: argparse.Namespace) -> int:
    """Print a line per corpus, all that is known of one, or write the documentation's table."""
    from spknorm.corpora.known import CORPORA
    from spknorm.corpora.known.markdown import written_into
    from spknorm.files import write_atomic

    if args.markdown is not None:
        try:
            page = args.markdown.read_text(encoding="utf-8")
            write_atomic(args.markdown, written_into(page))
        except OSError as error:
            raise MissingError(f"{args.markdown} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise ConfigError(f"{args.markdown} is not changed: {error}.") from error
        return 0
    if args.name is None:
        for one in CORPORA.values():
            roles = " and ".join(one.roles)
            print(f"{one.name:<16} {one.title}: {roles}{f'; {one.source}' if one.source else ''}")
        return 0
    if args.name not in CORPORA:
        raise ConfigError(f"`{args.name}` is none of the corpora: {', '.join(CORPORA)}.")
    one = CORPORA[args.name]
    counts = ", ".join(f"{word} {count or 'by release'}" for word, count in one.counts.items())
    scale = "" if one.scale is None else f"{one.scale[0]:g} to {one.scale[1]:g}"
    for what, value in (
        ("what", one.title),
        ("serves as", ", ".join(one.roles)),
        ("root", one.variable or ""),
        ("a name", one.example),
        ("utterances", str(one.num_utterances or sum(one.counts.values()) or "")),
        ("by word", counts),
        ("classes", ", ".join(one.classes)),
        ("labels: auto", one.labels if one.counts else ""),
        ("speakers", str(one.num_speakers or "")),
        ("dimensions", scale),
        ("protocols", ", ".join(one.protocols)),
        ("language", one.language),
        ("licence", one.licence),
        ("where", one.source),
    ):
        if value:
            print(f"{what:<13} {value}")
    return 0


COMMAND = Command(
    "list the corpora that can be named: what they are, where to get them, their licences",
    "example: spknorm corpora ravdess",
    (
        option("name", "print all that is known of this corpus", nargs="?"),
        option("--markdown", "write the table into a page, between its marks", "PAGE", type=Path),
    ),
    run,
)
