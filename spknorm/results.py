"""What a run leaves behind as numbers: prediction files, metrics.jsonl and result.json.

Between `statistics.py` and `checkpoint.py`: the task and the trainer write through it; bench and
report read the files. No wall clock but `seconds`, so that a resumed run leaves the same bytes.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spknorm.config import to_mapping
from spknorm.files import write_atomic
from spknorm.metrics import Scores
from spknorm.schema import TaskConfig

RESULT_SCHEMA = "spknorm.result/1"
_VERSIONS_OF = ("spknorm", "s3prl", "torch", "torchaudio", "transformers", "numpy")
_ARGS = (
    "downstream",
    "downstream_variant",
    "upstream",
    "upstream_ckpt",
    "upstream_model_config",
    "upstream_trainable",
    "upstream_feature_selection",
    "upstream_layer_selection",
    "upstream_feature_normalize",
    "hub",
    "seed",
    "device",
)
"""Arguments of the command line that decide what a run computes."""


def write_predictions(
    expdir: Path | str,
    split: str,
    fold: str,
    ids: Sequence[str],
    predicted: Sequence[str],
    truth: Sequence[str],
) -> None:
    """Write `{split}_{fold}_predict.txt` and `_truth.txt`, one `<id> <class>` per line.

    Names and format are those of s3prl/downstream/emotion/expert.py.
    """
    for kind, names in (("predict", predicted), ("truth", truth)):
        lines = [f"{key} {name}\n" for key, name in zip(ids, names, strict=True)]
        write_atomic(Path(expdir) / f"{split}_{fold}_{kind}.txt", "".join(lines))


def append_metrics(expdir: Path | str, values: Mapping[str, Any]) -> None:
    """Append one line to metrics.jsonl; NaN and infinity become null."""
    line = json.dumps(_finite(dict(values)), sort_keys=True, allow_nan=False) + "\n"
    with (Path(expdir) / "metrics.jsonl").open("a") as file:
        file.write(line)


class MetricsLog:
    """metrics.jsonl: one JSON object per logged step, appended as training goes.

    Args:
        expdir: Folder of the experiment.
        keep: How many lines of an earlier part of the run to keep; 0 starts afresh.
    """

    def __init__(self, expdir: Path | str, *, keep: int = 0) -> None:
        self._path = Path(expdir) / "metrics.jsonl"
        if self._path.exists():
            lines = self._path.read_bytes().splitlines(keepends=True)
            write_atomic(self._path, b"".join(lines[:keep]))

    def append(self, values: Mapping[str, Any]) -> None:
        """Append one line; NaN and infinity become null."""
        append_metrics(self._path.parent, values)

    def sync(self) -> None:
        """Return once every line is on the disk."""
        if self._path.exists():
            with self._path.open("rb") as file:
                os.fsync(file.fileno())


def make_result(
    *,
    config: TaskConfig,
    args: Mapping[str, Any],
    fold: str,
    steps: int,
    best_step: int,
    seconds: float,
    num_speakers: int,
    classes: Sequence[str],
    dev: Scores | None,
    test: Scores | None,
    by_speaker: Mapping[str, Scores],
    final: Mapping[str, float | None],
    forked_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of result.json.

    Args:
        config: All settings.
        args: The command line; what decides about the numbers is kept.
        fold: Name of the test fold.
        steps: Optimiser steps done.
        best_step: The step whose weights were tested.
        seconds: Wall clock of all parts of the run together.
        num_speakers: K, 0 without a speaker head.
        classes: Names of the C emotions.
        dev: Scores at the best step; None if the run evaluated no dev set.
        test: Likewise.
        by_speaker: Test scores per speaker.
        final: speaker_loss, speaker_accuracy, log_num_speakers, emotion_loss at the last log.
        forked_from: The run whose first steps these are, if any; the key is absent without one.
    """
    data, method = config.downstream_expert.datarc, config.downstream_expert.spknorm
    described: dict[str, Any] = {
        "schema": RESULT_SCHEMA,
        "task": args.get("downstream"),
        "upstream": args.get("upstream"),
        "frozen": not args.get("upstream_trainable"),
        "seed": args.get("seed"),
        "fold": fold,
        "steps": steps,
        "best_step": best_step,
        "seconds": round(seconds, 3),
        "num_speakers": num_speakers,
        "final": dict(final),
        "versions": versions(),
        "config": to_mapping(config),
        "args": {name: args.get(name) for name in _ARGS},
        "dev": None if dev is None else _numbers(dev),
        "test": None,
    }
    if test is not None:
        described["test"] = {
            **_numbers(test),
            "classes": list(classes),
            "confusion": test.confusion.tolist(),
            "by_speaker": {
                name: by_speaker[name].confusion.tolist() for name in sorted(by_speaker)
            },
        }
    for name in ("strategy", "update", "adversary", "speaker_lambda", "train_feature_extractor"):
        described[name] = getattr(method, name)
    for name in ("protocol", "draw", "samples_per_label"):
        described[name] = getattr(data, name)
    if forked_from is not None:
        described["forked_from"] = dict(forked_from)
    plain: dict[str, Any] = _finite(described)
    return plain


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that decide about the numbers."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    if found["spknorm"] is None:
        from spknorm import __version__

        found["spknorm"] = __version__
    return found


def _numbers(scores: Scores) -> dict[str, float]:
    return {"wa": scores.wa, "ua": scores.ua, "macro_f1": scores.macro_f1, "n": scores.n}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
