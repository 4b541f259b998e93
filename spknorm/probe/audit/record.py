"""probe.json as an audit writes it: what was asked, what is done of it, and the rows.

Whole after every stage, so that an audit that is stopped loses at most the stage it was at.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spknorm.errors import ConfigError
from spknorm.files import read_json, write_json
from spknorm.probe.audit.questions import Asked
from spknorm.probe.audit.runs import Run
from spknorm.runs.probes import PROBE_SCHEMA, ProbeRow, read_probes

_VERSION = 2
"""Of what the probes compute: rows of another version are not taken over."""


class Record:
    """A run's probe.json."""

    def __init__(self, path: Path, asked: Asked, mark: str) -> None:
        self._path = path
        self._asked = {**asked.marks(), "version": _VERSION}
        self._mark = mark
        self._rows: dict[str, list[ProbeRow]] = {}
        self._stages: dict[str, str] = {}
        self._off: list[Any] = []
        self.complete = False

    @classmethod
    def read(cls, run: Run, asked: Asked) -> "Record":
        """Return what stands in a run's place or folder; empty where that is of something else."""
        record = cls(run.place / "probe.json", asked, run.weights_mark())
        there = [place / "probe.json" for place in (run.place, run.folder)]
        path = next((path for path in there if path.is_file()), None)
        if path is None:
            return record
        try:
            content, rows = read_json(path), read_probes(path)
            same = content["asked"] == record._asked and content["weights"] == record._mark
            stages = {str(name): str(key) for name, key in content["stages"].items()}
            off, complete = list(content["adversary_off"]), bool(content["complete"])
        except (ConfigError, KeyError, TypeError, AttributeError):
            return record  # of an earlier version, or damaged: it is made anew
        if not same:
            return record
        record._stages, record._off, record.complete = stages, off, complete
        for name, key in stages.items():
            record._rows[key] = [row for row in rows if (row.stage == "raw") == (name == "raw")]
        return record

    @property
    def own(self) -> list[ProbeRow]:
        """The rows of the run's own stage; none where that is the raw upstream's."""
        return self._rows.get(self._stages.get("own", ""), [])

    def rows_of(self, key: str) -> list[ProbeRow]:
        """Return the rows of a stage, none where it is not done."""
        return self._rows.get(key, [])

    def put(self, key: str, is_raw: bool, rows: Sequence[ProbeRow]) -> None:
        """Keep the rows of a stage and write them, unless they stand there."""
        name = "raw" if is_raw else "own"
        if self._stages.get(name) == key and key in self._rows:
            return
        self._rows.pop(self._stages.get(name, ""), None)
        self._rows[key], self._stages[name] = list(rows), key
        self.complete = False
        self._write()

    def finish(self, off: Sequence[ProbeRow]) -> None:
        """Note that all is done; `off` are rows of the control, for the model card.

        Where this audit had no control, those that an earlier one had stay.
        """
        rows = [dataclasses.asdict(row) for row in off] or self._off
        if self.complete and rows == self._off:
            return
        self._off, self.complete = rows, True
        self._write()

    def _write(self) -> None:
        order = [self._stages[name] for name in ("raw", "own") if name in self._stages]
        content = {
            "schema": PROBE_SCHEMA,
            "asked": self._asked,
            "weights": self._mark,
            "complete": self.complete,
            "stages": self._stages,
            "rows": [dataclasses.asdict(row) for key in order for row in self._rows[key]],
            "adversary_off": self._off,
        }
        write_json(self._path, content)
