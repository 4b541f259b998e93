"""What was run, with which versions, and how to run it again.

After `results.py` in the report. Commands are built from result.json alone: its `args`, and its
whole `config` (by the config_*.yaml kept beside it, or setting by setting where there is none).
"""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from spknorm.report.results import Results, Run
from spknorm.report.tables import NOTHING, Row, Table, percent

_OPTIONS = {
    "upstream_ckpt": "-k",
    "upstream_model_config": "-g",
    "upstream_feature_selection": "-s",
    "upstream_layer_selection": "-l",
    "hub": "--hub",
    "device": "--device",
}
_NOT_SETTINGS = ("downstream_expert.datarc.test_fold",)


class Command(NamedTuple):
    """How to repeat one run, from the folder that is reported on."""

    folder: str
    text: str


def run_table(results: Results) -> Table:
    """Return one line per run: where it stands, what it scored, what it cost."""
    rows = [
        Row(
            cells=(
                "this folder" if run.folder == "." else run.folder,
                "complete",
                run.protocol,
                run.fold,
                str(run.seed),
                _number(run.samples_per_label),
                percent(run.wa),
                percent(run.ua),
                str(run.n),
                _number(run.steps),
                _number(run.best_step),
                f"{run.seconds / 60:.1f}" if run.seconds is not None else NOTHING,
            )
        )
        for run in results.runs
    ]
    for cell in results.planned:
        if cell.status != "complete":
            filler = [NOTHING] * 10
            status = f"{cell.status}: {cell.error}" if cell.error else cell.status
            rows.append(Row(cells=(cell.name, status, *filler), kind="control"))
    return Table(
        name="runs",
        title="Every run",
        notes=("WA and UA in percent on the test set of the run's fold, at the best dev step.",),
        columns=(
            "Folder",
            "Status",
            "Protocol",
            "Fold",
            "Seed",
            "Per label",
            "WA",
            "UA",
            "Test utterances",
            "Steps",
            "Best step",
            "Minutes",
        ),
        rows=tuple(rows),
    )


def version_table(results: Results) -> Table:
    """Return the versions that the runs name, with how many runs name each."""
    counted: dict[tuple[str, str], int] = {}
    for run in results.runs:
        for name, version in sorted(run.versions.items()):
            if isinstance(version, str | int | float):
                counted[name, str(version)] = counted.get((name, str(version)), 0) + 1
    rows = [
        Row(cells=(name, version, str(count))) for (name, version), count in sorted(counted.items())
    ]
    return Table(
        name="versions",
        title="Versions",
        notes=("As the runs themselves recorded them.",),
        columns=("What", "Version", "Runs"),
        rows=tuple(rows),
    )


def commands(results: Results) -> list[Command]:
    """Return one command per run."""
    return [Command(run.folder, command_of(run)) for run in results.runs]


def command_of(run: Run) -> str:
    """Return the command line that repeats a run."""
    words = ["spknorm", "run-downstream", "-d", run.task, "-u", run.upstream]
    for name, option in _OPTIONS.items():
        value = run.args.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            words += [option, str(value)]
    if run.args.get("upstream_feature_normalize") is True:
        words.append("--upstream_feature_normalize")
    words += ["-v", run.fold, "--frozen" if run.frozen else "-f", "--seed", str(run.seed)]
    if run.config_file:
        words += ["-c", f"{run.folder}/{run.config_file}"]
    else:
        settings = [f"config.{key}={_literal(value)}" for key, value in _leaves(run.config)]
        words += ["-o", ",,".join(settings)] if settings else []
    return shlex.join(words)


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key in sorted(settings):
        name, value = f"{prefix}{key}", settings[key]
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        elif name not in _NOT_SETTINGS and not isinstance(value, Mapping):
            yield name, value


def _literal(value: Any) -> str:
    """Write a value as `-o` reads it back: bare words as they are, all else as a literal."""
    if isinstance(value, str) and value.isidentifier() and value not in ("None", "True", "False"):
        return value
    return repr(value)


def _number(value: int | None) -> str:
    return NOTHING if value is None else str(value)
