"""The benchmark's runs: a file of rows per part, written whole, never computed twice.

After `folds.py`; `verdicts.py` reads the rows.
"""

import functools
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

from spknorm.controlled import folds, pool
from spknorm.controlled.folds import Fold, ModelRow
from spknorm.controlled.plan import Part, Plan, Variant
from spknorm.files import read_json, write_json

OnProgress = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


def run_grid(plan: Plan, out: Path, *, workers: int, progress: OnProgress) -> list[ModelRow]:
    """Return the rows of all parts, computing those that `out` does not hold yet.

    `out` holds rows/*.json and features/*.npz.
    """
    jobs = [partial(run_part, plan, out, part) for part in plan.parts if _missing(plan, out, part)]
    total = len(plan.parts)
    compute(jobs, workers, progress, done=total - len(jobs), total=total)
    return read_rows(plan, out)


def read_rows(plan: Plan, out: Path) -> list[ModelRow]:
    """Return the rows that `out` holds, those of unfinished parts, too."""
    found = [(_known(plan, out, part), plan.variants_of(part)) for part in plan.parts]
    return [row for known, wanted in found for one in wanted for row in known.get(one, [])]


def run_part(plan: Plan, out: Path, part: Part) -> None:
    """Compute the variants of a part that its file lacks, and write the file."""
    import torch

    torch.set_num_threads(1)
    if not (missing := _missing(plan, out, part)):
        return  # another process was faster
    began = time.perf_counter()
    known = _known(plan, out, part)
    for row in _rows(plan, out, part, missing):
        known.setdefault(Variant(*row[:3]), []).append(row)
    seconds = round(time.perf_counter() - began, 1)
    content = []
    for variant, rows in known.items():
        about = {"key": _key(plan, part, variant), "variant": variant._asdict()}
        content.append({**about, "rows": [row._asdict() for row in rows]})
    write_json(_path(out, part), {"seconds": seconds, "variants": content})


def _rows(plan: Plan, out: Path, part: Part, variants: Sequence[Variant]) -> Iterator[ModelRow]:
    for number in range(plan.num_folds if part.kind == "frozen" else plan.tuned_folds):
        if part.kind == "frozen":
            fold = folds.standardised(Fold(pool.features_of(part.seed, out), part.rho, number))
            yield from folds.frozen_rows(fold, plan, variants)
        else:
            frames = Fold(_front_ends(part.seed), part.rho, number)
            yield from folds.tuned_rows(frames, plan, variants)


_front_ends = functools.lru_cache(maxsize=1)(folds.front_ends)
"""Those of the seed at hand, which its parts share."""


def compute(
    jobs: Sequence[Callable[[], None]], workers: int, progress: OnProgress, *, done: int, total: int
) -> int:
    """Run jobs and tell of each; return how many are done, with `done` before them."""
    progress(done, total)
    for _ in in_parallel(jobs, workers):
        done += 1
        progress(done, total)
    return done


def in_parallel(jobs: Sequence[Callable[[], None]], workers: int) -> Iterator[None]:
    """Run jobs in processes of their own (in this one where one suffices); yield after each."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            job()
            yield
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as executor:
        try:
            for future in as_completed([executor.submit(job) for job in jobs]):
                future.result()
                yield
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let this process end when the one that gives it jobs is gone: it would wait for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _path(out: Path, part: Part) -> Path:
    return out / "rows" / f"{part.kind}-rho{part.rho:g}-seed{part.seed}.json"


def _known(plan: Plan, out: Path, part: Part) -> dict[Variant, list[ModelRow]]:
    """Return the rows of a part by variant, those alone that today's plan would give."""
    path = _path(out, part)
    known = {}
    for entry in read_json(path)["variants"] if path.is_file() else []:
        variant = Variant(**entry["variant"])
        if entry["key"] == _key(plan, part, variant):
            known[variant] = [ModelRow(**row) for row in entry["rows"]]
    return known


def _missing(plan: Plan, out: Path, part: Part) -> list[Variant]:
    known = _known(plan, out, part)
    return [one for one in plan.variants_of(part) if one not in known]


def _key(plan: Plan, part: Part, variant: Variant) -> str:
    """Return a hash of everything that decides the rows of a variant."""
    if part.kind == "frozen":
        decides = [plan.num_folds, plan.rank, asdict(plan.frozen)]
    else:
        decides = [plan.tuned_folds, asdict(plan.frozen), asdict(plan.tuning_of(variant))]
    return key_of([*part, *variant, decides, pool.fingerprint()])


def key_of(decides: list[object]) -> str:
    """Return a hash of what decides rows."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
