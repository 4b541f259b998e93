"""What a run writes while it goes: metrics.jsonl, one object per logged step, and predictions.

After `checked.py` in this folder. A last line without its end is one that is being written.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spknorm.errors import ConfigError
from spknorm.files import write_atomic
from spknorm.runs.checked import build


@dataclass(frozen=True, kw_only=True)
class LoggedStep:
    """One line of metrics.jsonl, as far as a report reads it; what was not logged is None."""

    step: int
    split: str
    emotion_loss: float | None = None
    speaker_loss: float | None = None
    speaker_accuracy: float | None = None
    log_num_speakers: float | None = None
    speaker_lambda: float | None = None
    wa: float | None = None
    ua: float | None = None


def append_metrics(expdir: Path | str, values: Mapping[str, Any]) -> None:
    """Append one line to metrics.jsonl; NaN and infinity become null."""
    line = json.dumps(finite(dict(values)), sort_keys=True, allow_nan=False) + "\n"
    with (Path(expdir) / "metrics.jsonl").open("a") as file:
        file.write(line)


def keep_metrics(expdir: Path, number: int, *, of: Path | None = None) -> None:
    """Leave the first lines alone of metrics.jsonl, or write those of the folder `of` here."""
    path = (of or expdir) / "metrics.jsonl"
    if path.exists():
        lines = path.read_bytes().splitlines(keepends=True)
        write_atomic(expdir / "metrics.jsonl", b"".join(lines[:number]))


def read_steps(path: Path) -> Iterator[LoggedStep]:
    """Yield the lines of a metrics.jsonl; none if there is no such file.

    Raises:
        ConfigError: A line is not what it should be; the message names it by its number.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for number, line in enumerate(lines[:-1], start=1):
        where = Path(f"{path}, line {number}")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as broken:
            raise ConfigError(f"{where}: is not valid JSON: {broken}.") from broken
        yield build(LoggedStep, value, where)


def write_predictions(
    expdir: Path | str,
    split: str,
    fold: str,
    ids: Sequence[str],
    predicted: Sequence[str],
    truth: Sequence[str],
) -> None:
    """Write `{split}_{fold}_predict.txt` and `_truth.txt`, one `<id> <class>` per line, of N each.

    Names and format are those of s3prl/downstream/emotion/expert.py.
    """
    for kind, names in (("predict", predicted), ("truth", truth)):
        lines = [f"{key} {name}\n" for key, name in zip(ids, names, strict=True)]
        write_atomic(Path(expdir) / f"{split}_{fold}_{kind}.txt", "".join(lines))


def read_predictions(path: Path) -> dict[str, str]:
    """Return utterance -> class of a prediction file."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    pairs = (line.rpartition(" ") for line in text.splitlines())
    return {utterance: label for utterance, _, label in pairs}


def finite(value: Any) -> Any:
    """Return plain dicts, lists and scalars, with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
