"""What a run says while it goes: metrics.jsonl first, then TensorBoard and log.log as views of it.

Only the leader's journal writes; everything is on its way to the disk when a method returns.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar

from spknorm.config import flatten
from spknorm.files import bytes_of
from spknorm.runs.metrics_log import append_metrics, keep_metrics

NAMES_OF_S3PRL = {"wa": "acc", "emotion_loss": "loss"}
"""s3prl's own names of two of the curves."""


class Journal:
    """Writes what is logged.

    Args:
        expdir: Folder of the experiment, or None for a journal that writes nothing.
        fold: Part of the curves' names, as in s3prl.
        lines: Lines of metrics.jsonl that belong to the run so far; later ones are dropped.
    """

    def __init__(self, expdir: Path | None, *, fold: str, lines: int) -> None:
        self._expdir, self._fold = expdir, fold
        self.lines = lines
        if expdir is not None:
            keep_metrics(expdir, lines)
            # tensorboardX's own SummaryWriter writes in a thread, which hangs on a full disk
            self._events = EventsWriter(str(expdir / "events"), f".{lines}")

    def log(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Write one line of metrics.jsonl and its curves."""
        self.lines += 1
        if self._expdir is None:
            return
        append_metrics(self._expdir, {"step": step, "split": split, **values})
        for name, value in flatten(values):
            if not isinstance(value, (int, float)):
                continue
            known = NAMES_OF_S3PRL.get(name, name.replace(".", "_"))
            tag = f"emotion-{self._fold}/{split}-{known}"
            event = Event(wall_time=time.time(), step=step, summary=scalar(tag, value))
            self._events.write_event(event)
        self._events.flush()

    def say(self, text: str) -> None:
        """Append a line to log.log."""
        if self._expdir is not None:
            with (self._expdir / "log.log").open("ab") as file:
                file.write(bytes_of(f"{text}\n"))

    def sync(self) -> None:
        """Return once metrics.jsonl is on the disk."""
        if self._expdir is not None and (path := self._expdir / "metrics.jsonl").exists():
            with path.open("rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """End the curves' file."""
        if self._expdir is not None:
            self._events.close()
