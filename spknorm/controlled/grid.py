"""The benchmark's runs: a file of rows per part, written whole, never computed twice.

After `folds.py`; `verdicts.py` reads the rows.
"""

import contextlib
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

from spknorm.controlled import pool
from spknorm.controlled.folds import Fronts, FrozenFold, ModelRow, TunedFold
from spknorm.controlled.plan import Part, Plan, Variant
from spknorm.files import read_json, write_json

OnProgress = Callable[[int, int], None]


def run_grid(
    plan: Plan, out: Path, *, workers: int = 2, progress: OnProgress | None = None
) -> list[ModelRow]:
    """Return the rows of all parts, computing those that `out` does not hold yet.

    Args:
        plan: What to run.
        out: Holds rows/*.json and features/*.npz.
        workers: Processes.
        progress: Called with (parts done, parts in all).
    """
    missing = [part for part in plan.parts if _read(plan, out, part) is None]
    done = len(plan.parts) - len(missing)
    if progress is not None:
        progress(done, len(plan.parts))
    for _ in in_parallel([partial(run_part, plan, out, part) for part in missing], workers):
        done += 1
        if progress is not None:
            progress(done, len(plan.parts))
    return read_rows(plan, out)


def read_rows(plan: Plan, out: Path) -> list[ModelRow]:
    """Return the rows that `out` holds, those of unfinished parts, too."""
    found = [(_known(plan, out, part), plan.variants_of(part)) for part in plan.parts]
    return [row for known, wanted in found for one in wanted for row in known.get(one, [])]


def run_part(plan: Plan, out: Path, part: Part) -> None:
    """Compute the variants of a part that its file lacks, and write the file."""
    import torch

    torch.set_num_threads(1)
    known = _known(plan, out, part)
    missing = [one for one in plan.variants_of(part) if one not in known]
    if not missing:
        return  # another process was faster
    began = time.perf_counter()
    if part.kind == "frozen":
        found = _frozen_rows(plan, out / "features", part, missing)
    else:
        found = _tuned_rows(plan, part, missing)
    for row in found:
        variant = Variant(row.features, row.method, row.labels)
        known.setdefault(variant, []).append(row)
    content = [
        {
            "key": _key(plan, part, variant),
            "variant": variant._asdict(),
            "rows": [row._asdict() for row in rows],
        }
        for variant, rows in known.items()
    ]
    seconds = round(time.perf_counter() - began, 1)
    write_json(_path(out, part), {"seconds": seconds, "variants": content})


def _frozen_rows(
    plan: Plan, cache: Path, part: Part, variants: Sequence[Variant]
) -> Iterator[ModelRow]:
    cached = cache / f"seed-{part.seed}-hubert-{fingerprint()}.npz"
    features = pool.make_pool(part.seed, cached)
    for fold in range(plan.num_folds):
        data = FrozenFold(features, part.rho, fold)
        for variant in variants:
            yield data.row(variant, plan)


@functools.lru_cache(maxsize=1)
def _fronts(seed: int) -> Fronts:
    """Return those of the seed at hand, which its parts share."""
    return Fronts(seed)


def _tuned_rows(plan: Plan, part: Part, variants: Sequence[Variant]) -> Iterator[ModelRow]:
    for fold in range(plan.tuned_folds):
        data = TunedFold(_fronts(part.seed), plan, part, fold)
        for variant in variants:
            yield data.row(variant)


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
    if not path.is_file():
        return {}
    known = {}
    for entry in read_json(path)["variants"]:
        variant = Variant(**entry["variant"])
        if entry["key"] == _key(plan, part, variant):
            known[variant] = [ModelRow(**row) for row in entry["rows"]]
    return known


def _read(plan: Plan, out: Path, part: Part) -> list[ModelRow] | None:
    """Return the rows of a part, or None if a variant is missing."""
    known = _known(plan, out, part)
    wanted = plan.variants_of(part)
    if any(variant not in known for variant in wanted):
        return None
    return [row for variant in wanted for row in known[variant]]


def _key(plan: Plan, part: Part, variant: Variant) -> str:
    """Return a hash of everything that decides the rows of a variant."""
    if part.kind == "frozen":
        decides = [plan.num_folds, plan.rank, asdict(plan.frozen)]
    else:
        decides = [plan.tuned_folds, asdict(plan.frozen), asdict(plan.tuning_of(variant))]
    text = json.dumps([*part, *variant, decides, fingerprint()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def fingerprint() -> str:
    """Return a hash of the generator's code and the upstream's checkpoint."""
    from spknorm import demo, registry

    digest = hashlib.sha256()
    folder = Path(demo.__file__).parent
    sources = [folder / f"{name}.py" for name in ("synthesis", "population")]
    checkpoint = registry.plugin_root() / "upstream_adapters" / "demo_hubert" / "demo_hubert.pt"
    for path in (*sources, checkpoint):
        with contextlib.suppress(FileNotFoundError):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
