"""The benchmark's runs: a file of rows per part, written whole, never computed twice.

After `folds.py`; `verdicts.py` reads the rows.
"""

import functools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from spknorm.controlled import folds, pool
from spknorm.controlled.folds import Fold, ModelRow
from spknorm.controlled.parallel import OnProgress, compute
from spknorm.controlled.plan import Part, Plan, Variant
from spknorm.files import read_json, sha256_of, write_json


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
    torch.set_num_threads(1)
    began = time.perf_counter()
    known = _known(plan, out, part)
    for row in _rows(plan, out, part, _missing(plan, out, part)):
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
    return sha256_of(json.dumps(decides, sort_keys=True).encode())[:16]
