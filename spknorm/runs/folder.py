"""The records under one folder: read, doubted, and laid out as a DataFrame of one row per run.

Last in this folder. Besides the files of `__init__.py`:

    features_*.npz     pooled features for a picture: `features` (N, H) floats, `speaker` (N,) and
                       `emotion` (N,) texts, `stage` one text (raw, none, SNP, TAP), and where known
                       `upstream`, one text; written with numpy.savez, read without pickle
    *_predict.txt, *_truth.txt   s3prl's prediction files: checked against result.json

Folders are read in sorted order, names are kept relative to the folder, and no clock is looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spknorm.config import flatten
from spknorm.config.progress import counted
from spknorm.errors import MissingError
from spknorm.files import require_folder
from spknorm.runs.metrics_log import LoggedStep, read_predictions, read_steps
from spknorm.runs.probes import ProbeRow, read_audit
from spknorm.runs.result import Result, read_result
from spknorm.runs.status import PlannedRun, read_summary
from spknorm.statistics.metrics import only_class

if TYPE_CHECKING:
    from pandas import DataFrame

_TOLERANCE = 1e-4
_SECTIONS = ("test", "dev", "config", "args", "versions", "final", "adversary", "corpora")
_SETTINGS_OF_ARGS = (
    "upstream_ckpt",
    "upstream_model_config",
    "upstream_feature_selection",
    "upstream_layer_selection",
    "upstream_feature_normalize",
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run with what stands beside its result.json.

    `folder` is relative to the one that was read, `config_file` the name of the config_*.yaml that
    s3prl's layout keeps; `doubts` are sentences on what does not fit together.
    """

    folder: str
    result: Result
    history: tuple[LoggedStep, ...] = ()
    probes: tuple[ProbeRow, ...] = ()
    doubts: tuple[str, ...] = ()
    config_file: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """All that the run was asked for: the configuration by dotted keys, and args.* ."""
        args = {f"args.{name}": self.result.args.get(name) for name in _SETTINGS_OF_ARGS}
        return dict(sorted(flatten(self.result.config), key=lambda pair: pair[0])) | args


@dataclass(frozen=True, kw_only=True)
class Runs:
    """All that a folder holds; `probes` are of audits that stand beside no run.

    `runs` predict classes; those that predict dimensions are apart, in `of_dimensions`.
    """

    experiment: str
    runs: tuple[Run, ...]
    planned: tuple[PlannedRun, ...]
    probes: tuple[ProbeRow, ...]
    features: tuple[Path, ...]
    of_dimensions: tuple[Run, ...] = ()

    @property
    def every(self) -> tuple[Run, ...]:
        """All runs, those that predict dimensions last."""
        return *self.runs, *self.of_dimensions

    @property
    def doubts(self) -> tuple[str, ...]:
        """What does not fit together in single runs, as sentences."""
        return tuple(doubt for run in self.every for doubt in run.doubts)


def read(folder: Path | str) -> Runs:
    """Read every result file under `folder`; a run that was told not to test is left out.

    Raises:
        MissingError: No such folder, or nothing in it to report on.
        ConfigError: A file that is malformed; the message names file and key.
    """
    folder = Path(folder)
    require_folder(folder, "an experiment's or a benchmark's to report on")
    results = sorted(folder.rglob("result.json"))
    found = [_read_run(path, folder) for path in counted("results", results)]
    runs = tuple(run for run in found if run.result.test is not None)
    others = tuple(
        run for run in found if run.result.dimensions and run.result.dimensions.test is not None
    )
    summary = read_summary(folder)
    beside_runs = {folder / run.folder / "probe.json" for run in found}
    audits = [path for path in sorted(folder.rglob("probe.json")) if path not in beside_runs]
    probes = [row for path in audits for row in read_audit(path).rows]
    if not runs and not others and not summary.cells and not probes:
        raise MissingError(
            f"The folder {folder} holds no result.json, probe.json or summary.json. Name an "
            "experiment folder, or a benchmark folder whose first run has ended."
        )
    assert summary.experiment is not None
    return Runs(
        experiment=summary.experiment,
        runs=runs,
        planned=summary.cells,
        probes=tuple(dict.fromkeys(probes)),
        features=tuple(sorted(folder.rglob("features_*.npz"))),
        of_dimensions=others,
    )


def frame(source: Path | str | Runs) -> "DataFrame":
    """Return one row per finished run of a folder, every setting a column.

    Columns: `folder`; the keys of result.json, of its `test` (wa, ua, macro_f1, n, classes,
    confusion, by_speaker), of its `adversary` (adversary.without_effect, ...) and the digests of
    its corpora (corpora.emotion, corpora.speaker); the settings by their dotted keys, such as
    downstream_expert.spknorm.strategy, and args.* . What a run does not say is None. Mind `update`,
    which is a method of a DataFrame, too: index columns by name.

    Raises:
        MissingError: As `read`.
        ConfigError: As `read`.
    """
    import pandas as pd

    runs = (source if isinstance(source, Runs) else read(source)).runs
    rows = [_row(run) for run in runs]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        numbers = all(isinstance(value, int | float) for value in values)
        columns[name] = pd.Series(values, dtype=None if numbers else object)
    return pd.DataFrame(columns or {"folder": []})


def _row(run: Run) -> dict[str, Any]:
    result, test = run.result, run.result.test
    row: dict[str, Any] = {"folder": run.folder}
    row |= {key: value for key, value in vars(result).items() if key not in _SECTIONS}
    row |= vars(test) if test is not None else {}
    adversary = {} if result.adversary is None else vars(result.adversary)
    row |= {f"adversary.{key}": value for key, value in adversary.items()}
    for role, corpus in sorted(result.corpora.items()):
        known = corpus if isinstance(corpus, Mapping) else {}
        row[f"corpora.{role}"] = known.get("digest")
        row[f"corpora.{role}.content"] = known.get("content")
    return row | run.settings


def _read_run(path: Path, root: Path) -> Run:
    result, folder = read_result(path), path.parent.relative_to(root).as_posix()
    audit = read_audit(path.with_name("probe.json"))
    doubts = [*_doubts(path.parent, folder, result)]
    if not audit.complete:
        doubts.append(f"{folder}: its leakage audit was stopped before its end: audit it again.")
    return Run(
        folder=folder,
        result=result,
        history=tuple(read_steps(path.with_name("metrics.jsonl"))),
        probes=audit.rows,
        doubts=tuple(doubts),
        config_file=next((file.name for file in sorted(path.parent.glob("config_*.yaml"))), None),
    )


def _doubts(folder: Path, name: str, result: Result) -> Iterator[str]:
    test = result.test
    if test is not None:
        hits = sum(row[index] for index, row in enumerate(test.confusion)) / test.n
        if abs(hits - test.wa) > _TOLERANCE:
            yield f"{name}: test.wa is {test.wa:.4f}, but its confusion matrix gives {hits:.4f}."
        if (only := only_class(test.confusion)) is not None:
            yield (
                f"{name}: every test utterance was classified as {test.classes[only]}, so that its "
                "scores say nothing of the method."
            )
        for truth_path in sorted(folder.glob("test*_truth.txt")):
            predict_path = truth_path.with_name(truth_path.name.replace("_truth", "_predict"))
            if not predict_path.is_file():
                continue
            truth, predicted = read_predictions(truth_path), read_predictions(predict_path)
            right = [predicted.get(utterance) == label for utterance, label in truth.items()]
            share = sum(right) / len(right) if right else 0.0
            if abs(share - test.wa) > _TOLERANCE:
                yield (
                    f"{name}: test.wa is {test.wa:.4f}, but {predict_path.name} and "
                    f"{truth_path.name} give {share:.4f}."
                )
    if result.forked_from is not None:
        yield (
            f"{name}: forked from {result.forked_from.folder} after step "
            f"{result.forked_from.step}; the steps up to there had other settings than those given."
        )
    for one in result.accepted:
        yield (
            f"{name}: went on after step {one.step} with what had changed "
            f"({', '.join(sorted(one.changed))}), so that its steps are of two set-ups."
        )
