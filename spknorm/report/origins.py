"""What was run, with which versions, and how to run it again; what speaks against the tables.

After `scores.py` in the report. Commands are built from result.json alone: its `args`, and its
whole `config` (by the config_*.yaml kept beside it, or setting by setting where there is none).
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from spknorm.config import flatten
from spknorm.report.leakage import not_audited
from spknorm.report.scores import Block
from spknorm.report.tables import NOTHING, Table, TableRow, make_table, percent
from spknorm.runs import Run, Runs

_OPTIONS = {
    "upstream_ckpt": "-k",
    "upstream_model_config": "-g",
    "upstream_feature_selection": "-s",
    "upstream_layer_selection": "-l",
    "hub": "--hub",
    "device": "--device",
}
_NOT_SETTINGS = ("downstream_expert.datarc.test_fold",)


def doubts_of(runs: Runs, blocks: Iterable[Block]) -> list[str]:
    """Return what speaks against the tables, as sentences: each says what, where and why."""
    blocks = list(blocks)
    found = [*runs.doubts]
    for block in blocks:
        found += [*_idle_adversaries(block), *_corpora(block), *_clipping(block), *_twice(block)]
    missing = not_audited(blocks)
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        found.append(
            f"The leakage audit is not complete: nothing was probed of {'; '.join(missing[:5])}"
            f"{more}."
        )
    return [*dict.fromkeys(found)]


def run_table(runs: Runs) -> Table:
    """Return one line per run: where it stands, what it scored, what it cost."""
    rows = []
    for run in (*runs.runs, *runs.of_dimensions):
        one, test = run.result, run.result.test
        scores = (NOTHING, NOTHING) if test is None else (percent(test.wa), percent(test.ua))
        tested = test or (one.dimensions and one.dimensions.test)
        counts = (tested.n if tested else None, one.steps, one.best_step)
        cells = (
            "this folder" if run.folder == "." else run.folder,
            *("complete", one.protocol, one.fold, str(one.seed), _number(one.samples_per_label)),
            *(*scores, *map(_number, counts)),
            f"{one.seconds / 60:.1f}" if one.seconds is not None else NOTHING,
        )
        rows.append(TableRow(cells=cells))
    for cell in runs.planned:
        if cell.status != "complete":
            status = f"{cell.status}: {cell.error}" if cell.error else cell.status
            rows.append(TableRow(cells=(cell.name, status, *[NOTHING] * 10), kind="control"))
    heads = ("Folder", "Status", "Protocol", "Fold", "Seed", "Per label", "WA", "UA")
    columns = (*heads, "Test utterances", "Steps", "Best step", "Minutes")
    note = "WA and UA in percent on the test set of the run's fold, at the best dev step."
    return make_table("runs", "Every run", columns, rows, [note], num_heads=1)


def version_table(runs: Runs) -> Table:
    """Return the versions that the runs name, with how many runs name each."""
    counted = Counter(
        (name, str(version))
        for run in (*runs.runs, *runs.of_dimensions)
        for name, version in run.result.versions.items()
        if isinstance(version, str | int | float)
    )
    rows = [TableRow(cells=(*key, str(count))) for key, count in sorted(counted.items())]
    note = "As the runs themselves recorded them."
    columns = ("What", "Version", "Runs")
    return make_table("versions", "Versions", columns, rows, [note], num_heads=1)


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
            f"config.{key}={_literal(value)}"
            for key, value in sorted(flatten(result.config), key=lambda pair: pair[0])
            if key not in _NOT_SETTINGS and value != {}
        ]
        words += ["-o", ",,".join(settings)] if settings else []
    return shlex.join(words)


def _idle_adversaries(block: Block) -> Iterator[str]:
    for one in block.estimates:
        if one.method.mark:
            told = [run.result.adversary for run in one.rows["run"]]
            idle = [each for each in told if each is not None and each.without_effect]
            why = " ".join(dict.fromkeys(text for each in idle[:1] for text in each.doubts))
            yield (
                f"{one.method.upstream}, {one.method.name} ({block.protocol}): in {len(idle)} of "
                f"{len(told)} runs the adversary had no effect, so that the row shows training "
                f"without it. {why}".strip()
            )


def _corpora(block: Block) -> Iterator[str]:
    """Name the runs that saw another corpus than the other runs of their fold (or of the table)."""
    for role, same in (("emotion", ["fold", "draw", "samples_per_label"]), ("speaker", ["task"])):
        if role == "emotion" and block.protocol == "cross":
            continue  # its rows differ in their corpora, and say so
        key = f"corpora.{role}"
        known = block.rows[block.rows[key].notna()] if key in block.rows else block.rows[:0]
        odd: list[str] = []
        for _, rows in known.groupby(same, dropna=False):
            usual = rows[key].value_counts(sort=False).idxmax()
            odd += [*rows[rows[key] != usual]["folder"]]
        if odd:
            yield (
                f"Runs of protocol {block.protocol} saw different {role} corpora (other "
                f"utterances, labels, parts or audio): {', '.join(odd[:3])}"
                f"{f' and {len(odd) - 3} more' if len(odd) > 3 else ''} differ from the rest. What "
                "differs between rows may be the corpus."
            )


def _twice(block: Block) -> Iterator[str]:
    """Name runs of one method, fold and seed: a folder may have been copied into the benchmark."""
    for one in block.estimates:
        for _, rows in one.rows.groupby(
            ["fold", "seed", "draw", "samples_per_label"], dropna=False
        ):
            if len(rows) > 1:
                yield (
                    f"{one.method.upstream}, {one.method.name} ({block.protocol}): "
                    f"{', '.join(rows['folder'])} have one fold and seed and count as "
                    f"{len(rows)} runs. Is one a copy of the other? Then move it away."
                )


def _clipping(block: Block) -> Iterator[str]:
    """Say where the methods of a table do not clip gradients alike, so that two changes compare."""
    found: dict[str, list[str]] = {}
    for one in block.estimates:
        for clip in {_clip_of(run) for run in one.rows["run"]}:
            found.setdefault(clip, []).append(one.method.name)
    if len(found) > 1:
        parts = [f"{clip}: {', '.join(dict.fromkeys(names))}" for clip, names in found.items()]
        yield (
            f"The rows of protocol {block.protocol} are not on equal footing: gradients are "
            f"clipped in different ways ({'; '.join(parts)}). Set runner.clip to the same for all."
        )


def _clip_of(run: Run) -> str:
    """Return how a run clipped; auto was joint without and per group with an adversary once."""
    config = dict(flatten(run.result.config))
    clip = config.get("runner.clip")
    before = clip is not None and "downstream_expert.spknorm.ascent_clip" not in config
    if clip == "auto" and before:
        clip = "joint" if run.result.strategy == "none" else "group"
    return str(clip)


def _literal(value: Any) -> str:
    """Write a value as `-o` reads it back: bare words as they are, all else as a literal."""
    if isinstance(value, str) and value.isidentifier() and value not in ("None", "True", "False"):
        return value
    return repr(value)


def _number(value: int | None) -> str:
    return NOTHING if value is None else str(value)
