"""The leakage audit: how much of the speaker is left in each trained upstream, with its controls.

Stages: the raw upstream, the same fine-tuned with the adversary off (`none`), after an erasure in
closed form (`leace`, `znorm`), after SNP, after TAP. An adversary at chance during training proves
nothing (Elazar & Goldberg 2018), so every probe is trained afresh. Each upstream hears each
utterance once; probes cost little beside that.

Writes probe.json beside each result.json, stage by stage, so that an audit that was stopped goes on
where it was; and features_*.npz for the report's pictures.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from spknorm.errors import NonFiniteError
from spknorm.files import sha256_of
from spknorm.probe.audit.erased import pool_erased_features
from spknorm.probe.audit.judging import Judge, num_judged
from spknorm.probe.audit.pooling import (
    own_model,
    pool_features,
    raw_model,
    utterances_of,
    write_picture,
)
from spknorm.probe.audit.probing import dev_leakage, num_probes, run_probes
from spknorm.probe.audit.questions import MOST_UTTERANCES, Asked, Question, questions_for
from spknorm.probe.audit.record import Record
from spknorm.probe.audit.runs import Run, find_runs, is_control, name_raw, name_variants
from spknorm.probe.audit.table import table
from spknorm.registry import register
from spknorm.runs.probes import ProbeRow

__all__ = ["MOST_UTTERANCES", "audit", "dev_leakage", "is_complete", "table"]

OnProgress = Callable[[int, int], None]
_PROBES = "scikit-learn"  # an audit that goes on takes over no rows of earlier probes


class _Stage(NamedTuple):
    """One column of the audit: what is probed, and by what its rows are known again."""

    run: Run
    is_raw: bool
    name: str
    questions: list[Question]
    key: str

    @property
    def stage(self) -> str:
        return "raw" if self.is_raw else self.run.stage

    @property
    def num_utterances(self) -> int:
        return sum(map(len, utterances_of(self.questions).values()))

    def size(self, asked: Asked) -> int:
        """Return how many utterances, probes and judgements it takes."""
        probes = sum(num_probes(q, every_layer=asked.every_layer) for q in self.questions)
        judged = num_judged(self.questions, raw=self.is_raw) if asked.verifier else 0
        return self.num_utterances + probes + judged


def audit(
    folders: Path | str | Sequence[Path | str],
    *,
    every_run: bool = False,
    every_layer: bool = False,
    labels: Sequence[str] = ("speaker",),
    max_speakers: int | None = None,
    seed: int = 0,
    most: int | None = MOST_UTTERANCES,
    verifier: bool = False,
    part: tuple[int, int] = (1, 1),
    device: str = "cpu",
    tell: Callable[[str], None] = lambda text: None,
    progress: OnProgress = lambda done, total: None,
) -> list[ProbeRow]:
    """Probe the upstreams of finished experiments and write probe.json beside each of them.

    Of an experiment whose folder cannot be written it goes into a folder below `result/audit`.
    What an earlier call with the same options has done is kept, stage by stage.

    Args:
        folders: A benchmark's folder, or experiment folders.
        every_run: All folds and seeds; else one run of each method, see `find_runs`.
        every_layer: Also a linear probe of each hidden state.
        labels: Columns to probe, on each corpus that has them.
        max_speakers: Keep that many of its speakers, those with the most training utterances.
        seed: Of splits, probes and trials.
        most: Draw this many utterances of each question, evenly over its classes; None: all.
        verifier: Also ask an independent one, see `spknorm.probe.verifier`.
        part: (k, n): do the k-th of n parts, whose runs no other part has, and leave the rest to
            other processes; an audit of the whole, in the end, has nothing left to compute.
        device: Where the upstreams run.
        tell: Called with a line about what is being done.
        progress: Called with how many utterances and probes are done, and of how many.

    Raises:
        ConfigError: A verifier that is not installed.
        MissingError: No finished experiment, or a corpus that is not there.
        DataError: A corpus that cannot be probed.
        NonFiniteError: An upstream that gives NaN.
    """
    register()
    given = [folders] if isinstance(folders, (str, Path)) else list(folders)
    runs = find_runs([Path(folder) for folder in given], every_run=every_run)
    asked = Asked(every_layer, tuple(labels), max_speakers, seed, most, verifier)
    judge = Judge(device) if verifier else None
    for run in runs:
        if run.place != run.folder:
            tell(f"{run.folder} cannot be written: what is found goes to {run.place}.")
    records = {run.folder: Record.read(run, asked) for run in runs}
    stages = _stages(runs, asked)
    number, num_parts = part
    if num_parts > 1:
        own = {run.folder for run in runs[number - 1 :: num_parts]}
        first = {stage.key: stage.run.folder for stage in reversed(stages)}
        stages = [s for s in stages if s.run.folder in own and first[s.key] == s.run.folder]
    done = {key: rows for one in records.values() for key, rows in one.rows.items() if rows}
    todo = {stage.key: stage for stage in stages if stage.key not in done}
    total = sum(stage.size(asked) for stage in todo.values())
    work = _Work(asked=asked, judge=judge, device=device, tell=tell, progress=progress, total=total)
    known: dict[str, Sequence[ProbeRow]] = {}
    for stage in stages:
        if stage.key not in known:  # another run may have the same raw upstream
            known[stage.key] = done.get(stage.key) or work.do(stage)
        records[stage.run.folder].put(stage.key, stage.is_raw, known[stage.key])
    for run in runs if num_parts == 1 else ():
        off = next((records[r.folder].own for r in runs if is_control(r, run)), [])
        records[run.folder].finish(off)
    return [row for rows in known.values() for row in rows]


def is_complete(folder: Path) -> bool:
    """Tell whether `audit(folder)`, with its defaults, has nothing left to do."""
    runs = find_runs([Path(folder)], every_run=False)
    return all(Record.read(run, Asked()).complete for run in runs)


def _stages(runs: Sequence[Run], asked: Asked) -> list[_Stage]:
    """Return what is probed, in order: each run's raw upstream before its own."""
    names, raw_names = name_variants(runs), name_raw(runs)
    stages = []
    for run in runs:
        questions = questions_for(run, asked)
        marks = [question.mark() for question in questions]
        what = [_PROBES, asked.marks(), run.max_seconds("speaker"), marks]
        raw = _key("raw", run.raw_identity(), raw_names[run.folder], *what)
        stages.append(_Stage(run, True, raw_names[run.folder], questions, raw))
        if not run.is_raw:
            own = _key(run.weights_mark(), run.identity(), names[run.folder], *what)
            stages.append(_Stage(run, False, names[run.folder], questions, own))
    return stages


@dataclass(kw_only=True)
class _Work:
    """Does stages, and counts what is done of them."""

    asked: Asked
    judge: Judge | None
    device: str
    tell: Callable[[str], None]
    progress: OnProgress
    total: int
    done: int = 0
    pictured: set[tuple[str, str]] = field(default_factory=set)

    def do(self, stage: _Stage) -> list[ProbeRow]:
        """Return the rows of a stage."""
        run, asked, device = stage.run, self.asked, self.device
        self.tell(f"{run.upstream}, {stage.name}: {run.folder}")
        start = self.done
        model = raw_model(run, device) if stage.is_raw else own_model(run, device)
        try:
            if stage.stage in ("leace", "znorm"):
                pooled = pool_erased_features(run, model, stage.questions, device=device)
            else:
                pooled = pool_features(run, model, stage.questions, device=device, done=self._count)
        except NonFiniteError as error:
            raise NonFiniteError(f"{run.folder}, {stage.name}: {error}") from error
        self._count(start + stage.num_utterances - self.done)
        self._draw(stage, pooled)
        about = {
            "upstream": run.upstream,
            "stage": stage.stage,
            "variant": stage.name,
            "frozen": stage.is_raw or run.frozen,
            "run": run.folder.name,
        }
        rows = []
        with threadpool_limits(1):  # probes are small: two threads take twice as long as one
            for question in stage.questions:
                rows += run_probes(question, pooled, asked, about=about, done=self._count)
                if self.judge is not None and question.label == "speaker":
                    rows += self.judge(run, question, pooled, about, asked.seed, self._count)
        return rows

    def _count(self, number: int) -> None:
        self.done += number
        self.progress(self.done, self.total)

    def _draw(self, stage: _Stage, pooled: Any) -> None:
        key = (stage.run.upstream, stage.stage)
        if key in self.pictured or stage.stage in ("leace", "znorm"):
            return
        self.pictured.add(key)
        name = re.sub(r"[^\w.+-]", "_", f"features_{'_'.join(key)}.npz")
        write_picture(stage.run.place / name, stage.questions[-1], pooled, *key)


def _key(*parts: Any) -> str:
    return sha256_of(json.dumps(parts, sort_keys=True, default=str).encode())
