"""What was run, with which versions, and how to run it again.

After `tables.py` in the report. Commands are built from result.json alone: its `args`, and its
whole `config` (by the config_*.yaml kept beside it, or setting by setting where there is none).
"""

import shlex
from collections import Counter

from spknorm.config import flatten, text_of
from spknorm.report.tables import NOTHING, Table, TableRow
from spknorm.report.words import Line, table
from spknorm.runs import Run, Runs

_OPTIONS = {
    "upstream_ckpt": "-k", "upstream_model_config": "-g", "upstream_feature_selection": "-s",
    "upstream_layer_selection": "-l", "hub": "--hub", "device": "--device",
}  # fmt: skip
_NOT_SETTINGS = ("downstream_expert.datarc.test_fold",)


def run_table(runs: Runs) -> Table:
    """Return one line per run: where it stands, what it scored, what it cost."""
    rows: list[Line] = []
    for run in runs.every:
        one, test = run.result, run.result.test
        tested = test or (one.dimensions and one.dimensions.test)
        folder = "this folder" if run.folder == "." else run.folder
        rows.append({"folder": folder, "one": one, "test": test, "tested": tested})
    for cell in runs.planned:
        if cell.status != "complete":
            status = f"{cell.status}: {cell.error}" if cell.error else cell.status
            rows.append(TableRow(cells=(cell.name, status, *[NOTHING] * 10), kind="control"))
    return table("runs", rows)


def version_table(runs: Runs) -> Table:
    """Return the versions that the runs name, with how many runs name each."""
    counted = Counter(
        (name, str(version))
        for run in runs.every
        for name, version in run.result.versions.items()
        if isinstance(version, str | int | float)
    )
    rows = [TableRow(cells=(*key, str(count))) for key, count in sorted(counted.items())]
    return table("versions", rows)


def command_of(run: Run) -> str:
    """Return the command line that repeats a run, from the folder that is reported on."""
    result = run.result
    words = ["spknorm", "run-downstream", "-d", result.task, "-u", result.upstream]
    for name, option in _OPTIONS.items():
        value = result.args.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            words += [option, str(value)]
    if result.args.get("upstream_feature_normalize") is True:
        words.append("--upstream_feature_normalize")
    frozen = "--frozen" if result.frozen else "-f"
    words += ["-v", result.fold, frozen, "--seed", str(result.seed)]
    if run.config_file:
        words += ["-c", f"{run.folder}/{run.config_file}"]
    else:
        settings = [
            f"config.{key}={text_of(value)}"
            for key, value in sorted(flatten(result.config), key=lambda pair: pair[0])
            if key not in _NOT_SETTINGS and value != {}
        ]
        words += ["-o", ",,".join(settings)] if settings else []
    return shlex.join(words)
