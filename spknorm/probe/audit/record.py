"""probe.json as an audit writes it: what was asked, what is done of it, and the rows.

Whole after every stage, so that an audit that is stopped loses at most the stage it was at.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spknorm.errors import ConfigError
from spknorm.files import write_json
from spknorm.probe.audit.questions import Asked
from spknorm.probe.audit.runs import Run
from spknorm.runs.probes import Audit, ProbeRow, read_audit

_VERSION = 2
"""Of what the probes compute: rows of another version are not taken over."""


class Record:
    """A run's probe.json; `rows` are those of each stage that is done, by its key."""

    def __init__(self, path: Path, empty: Audit) -> None:
        self._path, self._audit = path, empty
        self.rows: dict[str, Sequence[ProbeRow]] = {}

    @classmethod
    def read(cls, run: Run, asked: Asked) -> "Record":
        """Return what stands in a run's place or folder; empty where that is of something else."""
        options = {**asked.marks(), "version": _VERSION}
        empty = Audit(asked=options, weights=run.weights_mark(), complete=False, rows=())
        record = cls(run.place / "probe.json", empty)
        there = [place / "probe.json" for place in (run.place, run.folder)]
        path = next((path for path in there if path.is_file()), None)
        try:
            found = empty if path is None else read_audit(path)
        except ConfigError:
            return record  # of an earlier version, or damaged: it is made anew
        same = (found.asked, found.weights) == (empty.asked, empty.weights)
        if same and found.stages:
            record._audit = found
            for name, key in found.stages.items():
                own = [row for row in found.rows if (row.stage == "raw") == (name == "raw")]
                record.rows[key] = own
        return record

    @property
    def complete(self) -> bool:
        """Whether all is done."""
        return self._audit.complete

    @property
    def own(self) -> Sequence[ProbeRow]:
        """The rows of the run's own stage; none where that is the raw upstream's."""
        return self.rows.get(self._audit.stages.get("own", ""), [])

    def put(self, key: str, is_raw: bool, rows: Sequence[ProbeRow]) -> None:
        """Keep the rows of a stage and write them, unless they stand there."""
        name, stages = "raw" if is_raw else "own", self._audit.stages
        if stages.get(name) == key and key in self.rows:
            return
        self.rows.pop(stages.get(name, ""), None)
        self.rows[key] = rows
        self._write(complete=False, stages={**stages, name: key})

    def finish(self, off: Sequence[ProbeRow]) -> None:
        """Note that all is done; `off` are rows of the control, for the model card.

        Where this audit had no control, those that an earlier one had stay.
        """
        rows = tuple(off) or self._audit.adversary_off
        if not self.complete or rows != self._audit.adversary_off:
            self._write(complete=True, adversary_off=rows)

    def _write(self, **changed: Any) -> None:
        audit = replace(self._audit, **changed)
        order = [audit.stages[name] for name in ("raw", "own") if name in audit.stages]
        self._audit = replace(audit, rows=tuple(row for key in order for row in self.rows[key]))
        write_json(self._path, asdict(self._audit))
