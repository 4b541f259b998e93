"""The result files of an experiment or benchmark folder, read and checked.

What a report may say comes from here and nowhere else:

    result.json        one finished run (required keys: schema, task, upstream, strategy,
                       protocol, fold, seed, test.{wa, ua, macro_f1, n, classes, confusion})
    metrics.jsonl      its training curve, beside it
    probe.json         its leakage audit, beside it, or one for the whole folder
    features_*.npz     pooled features for a picture: `features` (N, H) floats, `speaker` (N,) and
                       `emotion` (N,) texts, `stage` one text (raw, none, SNP, TAP), and where known
                       `upstream`, one text; written with numpy.savez, read without pickle
    *_predict.txt, *_truth.txt   s3prl's prediction files: checked against result.json
    summary.json       the benchmark: which runs were planned, and what became of each

Folders are read in sorted order, names are kept relative to the folder, and no clock is looked at.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.errors import MissingError
from spknorm.report.fields import Fields, read_fields

RESULT_SCHEMA = "spknorm.result/1"
PROBE_SCHEMA = "spknorm.probe/1"
SUMMARY_SCHEMA = "spknorm.summary/1"
_STATUSES = ("complete", "failed", "pending")
_SCORE_TOLERANCE = 1e-4

Confusion = tuple[tuple[int, ...], ...]


class Step(NamedTuple):
    """One line of metrics.jsonl; what was not logged is None."""

    step: int
    split: str
    emotion_loss: float | None
    speaker_loss: float | None
    speaker_accuracy: float | None
    log_num_speakers: float | None
    speaker_lambda: float | None
    wa: float | None
    ua: float | None


class ProbeRow(NamedTuple):
    """One probe of a leakage audit: accuracies are fractions, `low`..`high` their 95 % interval."""

    upstream: str
    stage: str
    corpus: str
    label: str
    probe: str
    layer: str
    control: str | None
    accuracy: float
    low: float | None
    high: float | None
    n: int | None
    num_classes: int | None
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run: its result.json, with what stands beside it.

    Attributes:
        folder: Relative to the folder that is reported on; the keys of result.json follow.
        history: metrics.jsonl.
        probes: probe.json.
        doubts: What does not fit together, as sentences.
        config_file: Name of the config_*.yaml that s3prl's layout keeps, None without one.
    """

    folder: str
    task: str
    upstream: str
    strategy: str
    update: str | None
    adversary: str | None
    speaker_lambda: float | None
    protocol: str
    fold: str
    seed: int
    draw: int | None
    samples_per_label: int | None
    frozen: bool
    steps: int | None
    best_step: int | None
    seconds: float | None
    wa: float
    ua: float
    macro_f1: float
    n: int
    classes: tuple[str, ...]
    confusion: Confusion
    by_speaker: Mapping[str, Confusion]
    versions: Mapping[str, Any]
    config: Mapping[str, Any]
    args: Mapping[str, Any]
    history: tuple[Step, ...] = ()
    probes: tuple[ProbeRow, ...] = ()
    doubts: tuple[str, ...] = ()
    config_file: str | None = None

    @property
    def position(self) -> tuple[str, int, int, int]:
        """Where in the grid the run stands: what pairs it with the same run of another method."""
        return self.fold, self.seed, self.draw or 0, self.samples_per_label or 0


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A cell of the benchmark's grid: status is complete, failed or pending."""

    name: str
    status: str
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that a folder holds."""

    experiment: str
    runs: tuple[Run, ...]
    planned: tuple[PlannedRun, ...]
    probes: tuple[ProbeRow, ...]
    """Audits that stand beside no run."""
    features: tuple[Path, ...]

    @property
    def doubts(self) -> tuple[str, ...]:
        """What does not fit together in the result files, as sentences."""
        return tuple(doubt for run in self.runs for doubt in run.doubts)


def read_results(folder: Path) -> Results:
    """Read every result file under `folder`.

    Raises:
        MissingError: No such folder, or nothing in it to report on.
        ConfigError: A file that is malformed; the message names file and key.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingError(f"There is no folder {folder} to report on.")
    found = [_read_run(path, folder) for path in sorted(folder.rglob("result.json"))]
    runs = tuple(run for run in found if run is not None)
    experiment, planned = _read_summary(folder)
    beside_runs = {folder / run.folder / "probe.json" for run in runs}
    audits = [path for path in sorted(folder.rglob("probe.json")) if path not in beside_runs]
    probes = [row for path in audits for row in _read_probes(path)]
    if not runs and not planned and not probes:
        raise MissingError(
            f"The folder {folder} holds no result.json, probe.json or summary.json. Name an "
            "experiment folder, or a benchmark folder whose first run has ended."
        )
    return Results(
        experiment=experiment,
        runs=runs,
        planned=planned,
        probes=tuple(dict.fromkeys(probes)),
        features=tuple(sorted(folder.rglob("features_*.npz"))),
    )


def _read_run(path: Path, root: Path) -> Run | None:
    fields = read_fields(path)
    _check_schema(fields, RESULT_SCHEMA)
    if not fields.has("test") and "test" in fields.items():
        return None  # a run that was told not to evaluate its test set
    test = fields.fields("test")
    classes = test.texts("classes")
    confusion = test.counts("confusion", len(classes))
    n = test.integer("n")
    if n < 1 or sum(map(sum, confusion)) != n:
        raise test.error("n", f"must be the number of utterances in `confusion`, but is {n}")
    wa = test.number("wa", low=0, high=1)
    config = fields.fields("config", optional=True).items()
    folder = path.parent.relative_to(root).as_posix()
    return Run(
        folder=folder,
        task=fields.text("task"),
        upstream=fields.text("upstream"),
        strategy=fields.text("strategy"),
        update=fields.text("update", "") or None,
        adversary=fields.text("adversary", "") or None,
        speaker_lambda=fields.optional_number("speaker_lambda"),
        protocol=fields.text("protocol"),
        fold=fields.text("fold"),
        seed=fields.integer("seed"),
        draw=fields.optional_integer("draw"),
        samples_per_label=fields.optional_integer("samples_per_label"),
        frozen=fields.flag("frozen", False),
        steps=fields.optional_integer("steps"),
        best_step=fields.optional_integer("best_step"),
        seconds=fields.optional_number("seconds"),
        wa=wa,
        ua=test.number("ua", low=0, high=1),
        macro_f1=test.number("macro_f1", low=0, high=1),
        n=n,
        classes=classes,
        confusion=confusion,
        by_speaker=_by_speaker(test.fields("by_speaker", optional=True), len(classes)),
        versions=fields.fields("versions", optional=True).items(),
        config=config,
        args=fields.fields("args", optional=True).items(),
        history=tuple(_read_history(path.with_name("metrics.jsonl"))),
        probes=tuple(_read_probes(path.with_name("probe.json"))),
        doubts=(*_doubts(path.parent, folder, wa, confusion), *_fork(fields, folder)),
        config_file=next((file.name for file in sorted(path.parent.glob("config_*.yaml"))), None),
    )


def _by_speaker(fields: Fields, num_classes: int) -> dict[str, Confusion]:
    counts = {name: fields.counts(name, num_classes) for name in sorted(fields.items())}
    return {name: confusion for name, confusion in counts.items() if sum(map(sum, confusion))}


def _read_history(path: Path) -> Iterator[Step]:
    """Yield the steps of metrics.jsonl; a last line without its end is one being written now."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for number, line in enumerate(lines[:-1], start=1):
        where = Path(f"{path}, line {number}")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Fields({}, where).error("", f"is not valid JSON: {error}") from error
        fields = Fields(value, where)
        yield Step(
            fields.integer("step"),
            fields.text("split"),
            *(fields.optional_number(key) for key in Step._fields[2:]),
        )


def _read_probes(path: Path) -> Iterator[ProbeRow]:
    try:
        fields = read_fields(path)
    except MissingError:
        return
    _check_schema(fields, PROBE_SCHEMA)
    for row in fields.list_of_fields("rows"):
        layer = row.raw("layer")
        if isinstance(layer, bool) or not isinstance(layer, str | int):
            raise row.error("layer", "must be last, weighted or the number of a layer")
        yield ProbeRow(
            upstream=row.text("upstream"),
            stage=row.text("stage"),
            corpus=row.text("corpus"),
            label=row.text("label"),
            probe=row.text("probe"),
            layer=str(layer),
            control=row.text("control", "") or None,
            accuracy=row.number("accuracy", low=0, high=1),
            low=row.optional_number("low"),
            high=row.optional_number("high"),
            n=row.optional_integer("n"),
            num_classes=row.optional_integer("num_classes"),
            seed=row.optional_integer("seed"),
        )


def _read_summary(folder: Path) -> tuple[str, tuple[PlannedRun, ...]]:
    try:
        fields = read_fields(folder / "summary.json")
    except MissingError:
        return folder.resolve().name, ()
    _check_schema(fields, SUMMARY_SCHEMA)
    planned = []
    for cell in fields.list_of_fields("cells"):
        status = cell.text("status")
        if status not in _STATUSES:
            raise cell.error("status", f"must be one of {', '.join(_STATUSES)}, but is `{status}`")
        planned.append(
            PlannedRun(
                name=cell.text("name"),
                status=status,
                error=cell.text("error", "") or None,
            )
        )
    return fields.text("experiment", folder.resolve().name), tuple(planned)


def _doubts(folder: Path, name: str, wa: float, confusion: Confusion) -> Iterator[str]:
    hits = sum(row[index] for index, row in enumerate(confusion)) / sum(map(sum, confusion))
    if abs(hits - wa) > _SCORE_TOLERANCE:
        yield f"{name}: test.wa is {wa:.4f}, but its confusion matrix gives {hits:.4f}."
    for truth_path in sorted(folder.glob("test*_truth.txt")):
        predict_path = truth_path.with_name(truth_path.name.replace("_truth", "_predict"))
        if not predict_path.is_file():
            continue
        truth, predicted = _read_labels(truth_path), _read_labels(predict_path)
        right = [predicted.get(utterance) == label for utterance, label in truth.items()]
        share = sum(right) / len(right) if right else 0.0
        if abs(share - wa) > _SCORE_TOLERANCE:
            yield (
                f"{name}: test.wa is {wa:.4f}, but {predict_path.name} and {truth_path.name} "
                f"give {share:.4f}."
            )


def _fork(fields: Fields, name: str) -> Iterator[str]:
    origin = fields.fields("forked_from", optional=True)
    if origin.items():
        yield (
            f"{name}: forked from {origin.text('folder')} after step {origin.integer('step')}; the "
            "steps up to there had other settings than those given."
        )


def _read_labels(path: Path) -> dict[str, str]:
    """Read lines of `<utterance> <label>`, as s3prl writes them."""
    pairs = (line.rpartition(" ") for line in path.read_text(errors="replace").splitlines())
    return {utterance: label for utterance, _, label in pairs}


def _check_schema(fields: Fields, expected: str) -> None:
    schema = fields.text("schema")
    if schema != expected:
        raise fields.error("schema", f"must be {expected}, but is `{schema}`")
