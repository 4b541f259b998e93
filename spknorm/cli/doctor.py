"""`spknorm doctor`: machine and corpora before a run, as one table."""

import argparse
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spknorm import bench, registry
from spknorm.cli import overrides
from spknorm.cli.parsing import Command, flag, option, roots, take_roots
from spknorm.cli.settings import OUR_TASK, has_several_runs
from spknorm.config import load_yaml, merge, parse
from spknorm.doctor import Check, examine, status_of
from spknorm.errors import ConfigError, DataError

_WIDEST = 110


def run(args: argparse.Namespace) -> int:
    """Print the table; the status is 0, or 3 if a run could not work."""
    take_roots(args)
    config = load_yaml(registry.config_path(OUR_TASK))
    if args.config is not None:
        config = merge(config, _settings_of(args))
    overrides.apply_to_config(overrides.parse_overrides(args.override), config)
    checks = examine(
        parse(config),
        folder=args.expdir,
        audio=args.audio,
        upstream=args.upstream,
        frozen=args.frozen,
    )
    print(table(checks, width=min(shutil.get_terminal_size().columns, _WIDEST)))
    return DataError.exit_code if status_of(checks) == "fail" else 0


def _settings_of(args: argparse.Namespace) -> Mapping[str, Any]:
    """Return the settings of -c; of an experiment file those of a run with both corpora, if any.

    Raises:
        ConfigError: The experiment file has a mistake, or its kind has no runs of this task.
    """
    content = load_yaml(args.config)
    if content.get("kind", "bench") != "bench":
        raise ConfigError(
            f"{args.config} is of kind {content['kind']}, which has no single runs: `spknorm bench "
            f"{args.config} --dry-run` says what it takes."
        )
    if not has_several_runs(content):
        return content
    cells = bench.expand(args.config)
    with_speakers = (
        one
        for one in cells
        if one.changes["downstream_expert"]["spknorm"].get("strategy", "TAP") != "none"
    )
    chosen = next(with_speakers, cells[0])
    if args.upstream is None and chosen.upstream.ckpt is None:
        args.upstream, args.frozen = chosen.upstream.name, chosen.frozen
    return chosen.changes


def table(checks: list[Check], *, width: int) -> str:
    """Return the checks as lines of at most `width` characters, and the verdict."""
    name_width = max(len(check.name) for check in checks)
    indent = " " * (name_width + 8)
    lines = []
    for check in checks:
        start = f"{check.status:<5} {check.name:<{name_width}}  "
        for line in check.detail.splitlines():
            lines += textwrap.wrap(
                line,
                max(width, len(indent) + 30),
                initial_indent=start,
                subsequent_indent=indent + ("  " if line.startswith(" ") else ""),
                break_long_words=False,
                break_on_hyphens=False,
            )
            start = indent
    verdict = {
        "ok": "Everything is in place.",
        "warn": "A run can start; mind the warnings.",
        "fail": "A run cannot start before what failed is put right.",
    }
    return "\n".join([*lines, "", verdict[status_of(checks)]])


COMMAND = Command(
    "check the machine, the corpora and the disk before a run",
    "example: spknorm doctor -u hubert_base --iemocap DIR --voxceleb1 DIR --audio",
    (
        option(
            "-c --config",
            "a run's configuration (default: the task's), or an experiment file, of which a run "
            "with both corpora is examined",
            "YAML",
            type=Path,
        ),
        option("-o --override", "as in a run: config.a.b=value,,config.c=value", "TEXT"),
        option("-p --expdir", "where results go (default: result)", "DIR", default=Path("result")),
        option("-u --upstream", "estimate the disk, memory and cache that it needs", "NAME"),
        flag("--frozen", "with -u: the upstream is not trained"),
        flag("--audio", "decode every file, to find NaN, damage, silence and clipping"),
        *roots(),
    ),
    run,
)
