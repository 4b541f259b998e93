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
from threadpoolctl import threadpool_limits

from spknorm.audit.dev import dev_leakage
from spknorm.audit.probing import KINDS, AuditRow, Heard, ask, hear, write_picture
from spknorm.audit.questions import Question, questions_for
from spknorm.audit.runs import Run, find_runs, raw_upstream, trained_upstream
from spknorm.files import write_json
from spknorm.registry import register

__all__ = ["AuditRow", "audit", "dev_leakage", "table"]

SCHEMA = "spknorm.probe/1"
_STAGES = ("raw", "none", "SNP", "TAP")
_LEGEND = """\
raw: the upstream as it came; none: fine-tuned, adversary off; frozen: it kept its weights.
Per cent of n held-out utterances told right, in brackets the 95 % interval over speakers;
eer: equal error rate of verification over n trials, where less is more leakage.
What normalisation removed is the difference to none; label emotion shows what was kept."""
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
    found: list[tuple[Run, tuple[Any, ...], list[AuditRow], list[AuditRow]]] = []

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
        with threadpool_limits(1):  # probes are small: two threads take twice as long as one
            return _rows(run, stage, frozen, questions, heard, every_layer=every_layer, seed=seed)

    for run in runs:
        questions = questions_for(
            run, labels=labels, max_speakers=max_speakers, seed=seed, work_dir=run.folder
        )
        key = (run.upstream, run.ckpt, [(q.corpus, q.label, q.train, q.test) for q in questions])
        before = next((heard for known, heard in raw if known == key), None)
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
        found.append((run, key, before, own))
        _write(run, before, own)
    for run, key, before, own in found:
        off = next((o for r, k, _, o in found if _is_control(r, run) and k == key), [])
        if off:
            _write(run, before, own, off)
    return rows


def table(rows: Iterable[AuditRow]) -> str:
    """Return the audit as text, in per cent: a line per probe and control, a column per stage.

    Several runs of one variant are averaged.
    """
    ranked = sorted(rows, key=_rank)
    by_upstream: dict[str, list[AuditRow]] = {}
    for row in ranked:
        by_upstream.setdefault(row.upstream, []).append(row)
    blocks = [f"{name}\n{_block(found)}" for name, found in by_upstream.items()]
    return "\n\n".join([*blocks, _LEGEND])


def _is_control(run: Run, of: Run) -> bool:
    """Return whether `run` differs from `of` in nothing but that its adversary was off."""
    same = (run.upstream, run.ckpt, run.frozen, run.fold, run.seed)
    if same != (of.upstream, of.ckpt, of.frozen, of.fold, of.seed):
        return False
    return run.stage == "none" and of.stage != "none"


def _write(
    run: Run, before: Sequence[AuditRow], own: Sequence[AuditRow], off: Sequence[AuditRow] = ()
) -> None:
    """Write probe.json; `off` are rows of the control, which the model card sets beside its own."""
    content = {
        "schema": SCHEMA,
        "rows": [row._asdict() for row in (*before, *own)],
        "adversary_off": [row._asdict() for row in off],
    }
    write_json(run.folder / "probe.json", content)


def _block(rows: Sequence[AuditRow]) -> str:
    columns = sorted({(_STAGES.index(row.stage), _name(row)) for row in rows})
    names = [name for _, name in columns]
    chance: dict[tuple[str, ...], list[float]] = {}
    cells: dict[tuple[str, ...], dict[str, list[AuditRow]]] = {}
    for row in rows:
        what = (row.corpus, row.label, row.probe)
        if row.control == "chance":
            chance.setdefault(what, []).append(row.accuracy)
            continue
        line = (*what, str(row.layer), row.control or "")
        cells.setdefault(line, {}).setdefault(_name(row), []).append(row)
    lines = [("corpus", "label", "probe", "layer", "control", *names, "chance", "n")]
    for key, found in cells.items():
        guess = "" if key[4] else f"{100 * float(np.mean(chance[key[:3]])):.1f}"
        size = str(next(iter(found.values()))[0].n)
        lines.append((*key, *(_cell(found.get(name, [])) for name in names), guess, size))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _name(row: AuditRow) -> str:
    return f"{row.stage} (frozen)" if row.frozen and row.stage != "raw" else row.stage


def _cell(rows: Sequence[AuditRow]) -> str:
    if not rows:
        return "-"
    mean = 100 * float(np.mean([row.accuracy for row in rows]))
    if len(rows) > 1:
        return f"{mean:.1f} ({len(rows)} runs)"
    return f"{mean:.1f} [{100 * rows[0].low:.1f} to {100 * rows[0].high:.1f}]"


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
