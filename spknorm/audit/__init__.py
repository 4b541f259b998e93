"""The leakage audit: how much of the speaker is left in each trained upstream, with its controls.

Stages: the raw upstream, the same fine-tuned with the adversary off (`none`), after SNP, after TAP.
An adversary at chance during training proves nothing (Elazar & Goldberg 2018), so every probe is
trained afresh. Each upstream hears each utterance once; probes cost little beside that.

Writes probe.json beside each result.json, and features_*.npz for the report's pictures.
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spknorm.audit.probing import KINDS, AuditRow, Heard, ask, hear, write_picture
from spknorm.audit.questions import Question, questions_for
from spknorm.audit.runs import Run, find_runs, raw_upstream, trained_upstream
from spknorm.files import write_json
from spknorm.registry import register

__all__ = ["AuditRow", "audit", "table"]

SCHEMA = "spknorm.probe/1"
_STAGES = ("raw", "none", "SNP", "TAP")
_CONTROLS = (None, "shuffled", "chance")


def audit(
    folders: Path | str | Sequence[Path | str],
    *,
    every_run: bool = False,
    every_layer: bool = False,
    labels: Sequence[str] = ("speaker",),
    max_speakers: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda text: None,
) -> list[AuditRow]:
    """Probe the upstreams of finished experiments and write probe.json beside each of them.

    Args:
        folders: A benchmark's folder, or experiment folders.
        every_run: All folds and seeds; else the first run of each variant.
        every_layer: Also a linear probe of each hidden state.
        labels: Columns to probe, on each corpus that has them.
        max_speakers: Keep that many of its speakers, those with the most utterances.
        seed: Of splits, probes and trials.
        device: Where the upstreams run.
        tell: Called with a line about what is being done.

    Raises:
        MissingError: No finished experiment, or a corpus that is not there.
        DataError: A corpus that cannot be probed.
    """
    register()
    given = [folders] if isinstance(folders, (str, Path)) else list(folders)
    runs = find_runs([Path(folder) for folder in given], every_run=every_run)
    raw: list[tuple[tuple[Any, ...], list[AuditRow]]] = []
    pictured: set[tuple[str, str]] = set()
    rows: list[AuditRow] = []

    def probe(run: Run, stage: str, upstream: Any, questions: list[Question]) -> list[AuditRow]:
        tell(f"{run.upstream}, {stage}: {run.folder}")
        settings = run.settings
        heard = hear(
            upstream.to(device),
            questions,
            max_seconds=settings.downstream_expert.speaker_corpus.max_seconds,
            config=settings.upstream,
            device=device,
        )
        if (run.upstream, stage) not in pictured:
            pictured.add((run.upstream, stage))
            name = re.sub(r"[^\w.+-]", "_", f"features_{run.upstream}_{stage}.npz")
            path = run.folder / name
            write_picture(path, questions[-1], heard, upstream=run.upstream, stage=stage)
        frozen = stage == "raw" or run.frozen
        return _rows(run, stage, frozen, questions, heard, every_layer=every_layer, seed=seed)

    for run in runs:
        questions = questions_for(
            run, labels=labels, max_speakers=max_speakers, seed=seed, work_dir=run.folder
        )
        key = (run.upstream, run.ckpt, [(q.corpus, q.label, q.train, q.test) for q in questions])
        before = next((found for known, found in raw if known == key), None)
        if before is None:
            before = probe(run, "raw", raw_upstream(run), questions)
            raw.append((key, before))
            rows += before
        own = []
        if not run.is_raw:
            with tempfile.TemporaryDirectory(prefix=".audit-", dir=run.folder) as scratch:
                upstream = trained_upstream(run, Path(scratch))
            own = probe(run, run.stage, upstream, questions)
            rows += own
        content = [row._asdict() for row in (*before, *own)]
        write_json(run.folder / "probe.json", {"schema": SCHEMA, "rows": content})
    return rows


def table(rows: Iterable[AuditRow]) -> str:
    """Return the audit as text, in per cent: a line per stage of each probe and control.

    Several runs of one variant are averaged.
    """
    groups: dict[tuple[str, ...], list[AuditRow]] = {}
    for row in sorted(rows, key=_rank):
        stage = f"{row.stage} (frozen)" if row.frozen and row.stage != "raw" else row.stage
        layer = str(row.layer)
        key = (row.upstream, row.corpus, row.label, row.probe, layer, row.control or "", stage)
        groups.setdefault(key, []).append(row)
    lines: list[tuple[str, ...]] = [
        ("upstream", "corpus", "label", "probe", "layer", "control", "stage", "%", "95 %", "n")
    ]
    for cells, members in groups.items():
        mean = 100 * float(np.mean([row.accuracy for row in members]))
        first = members[0]
        span = f"{100 * first.low:.1f} to {100 * first.high:.1f}"
        if len(members) > 1:
            span = f"mean of {len(members)} runs"
        elif first.control == "chance":
            span = ""
        lines.append((*cells, f"{mean:.1f}", span, str(first.n)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _rows(
    run: Run,
    stage: str,
    frozen: bool,
    questions: Sequence[Question],
    heard: Heard,
    *,
    every_layer: bool,
    seed: int,
) -> list[AuditRow]:
    rows = []
    for question in questions:
        for layer, found in ask(question, heard, every_layer=every_layer, seed=seed):
            row = AuditRow(
                upstream=run.upstream,
                stage=stage,
                frozen=frozen,
                run=run.folder.name,
                corpus=question.corpus,
                label=question.label,
                probe="linear" if found.probe == "weighted" else found.probe,
                layer=layer,
                control=found.control,
                accuracy=found.score,
                low=found.low,
                high=found.high,
                n=found.n,
                num_classes=found.num_classes,
                seed=seed,
            )
            rows.append(row)
            if stage == "raw" and layer == "last" and found.control is None:
                chance = found.chance
                rows.append(
                    row._replace(control="chance", accuracy=chance, low=chance, high=chance)
                )
    return rows


def _rank(row: AuditRow) -> tuple[Any, ...]:
    return (
        row.upstream,
        row.corpus != "speaker",
        row.label != "speaker",
        row.label,
        KINDS.index(row.probe),
        isinstance(row.layer, int),
        str(row.layer).rjust(8),
        _CONTROLS.index(row.control),
        _STAGES.index(row.stage),
        row.frozen,
    )
