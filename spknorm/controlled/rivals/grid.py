"""The runs: a file of rows per part, written whole, never computed twice.

After `plan.py`; `ranking.py` reads the rows.
"""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spknorm.controlled import pool
from spknorm.controlled.folds import FrozenFold, leakage, shuffled_speakers
from spknorm.controlled.grid import fingerprint, in_parallel
from spknorm.controlled.pool import Integers, Pool
from spknorm.controlled.rivals import RIVALS
from spknorm.controlled.rivals.plan import BASELINES, Part, Plan
from spknorm.controlled.rivals.training import train
from spknorm.controlled.rivals.world import Fitted, Known, plain
from spknorm.files import read_json, write_json


class RivalRow(NamedTuple):
    """One model.

    Attributes:
        method: A key of `RIVALS` or of `BASELINES`.
        strength: Of the rival; 0 of a baseline.
        labels: `true`, or `shuffled`: the control with permuted speakers.
        rho: Confounding of the training utterances.
        seed: Of corpus and model.
        fold: 0-4, the session held out.
        unseen: Accuracy on the balanced utterances of each unseen speaker, by number.
        seen: Accuracy on the balanced utterances of the training speakers.
        leakage: Accuracy of a fresh linear probe for 80 speakers on what the emotion head sees.
        num_parameters: What is kept for prediction.
        seconds: Of the processor, to train.
    """

    method: str
    strength: float
    labels: str
    rho: float
    seed: int
    fold: int
    unseen: dict[str, float]
    seen: float
    leakage: float
    num_parameters: int
    seconds: float


def run_grid(
    plan: Plan,
    out: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None,
    chosen: dict[str, float] | None = None,
) -> tuple[dict[str, float], list[RivalRow]]:
    """Return each rival's chosen strength, and the rows of all that is reported.

    Args:
        plan: What to run.
        out: Holds rows/*.json and features/*.npz; what is there is not computed again.
        workers: Processes.
        progress: Called with (parts done, parts in all).
        chosen: Strengths that are known beforehand; None: those that the selection seeds choose.
    """
    selecting = plan.selecting if chosen is None else []
    total = len(selecting) + len(plan.confirming)
    done = _complete(plan, out, selecting, {}, workers, progress, 0, total)
    if chosen is None:
        chosen = choose(read_rows(plan, out, selecting, {}))
    _complete(plan, out, plan.confirming, chosen, workers, progress, done, total)
    return chosen, read_rows(plan, out, plan.confirming, chosen)


def choose(rows: Sequence[RivalRow]) -> dict[str, float]:
    """Return each rival's best strength: the highest mean accuracy on unseen speakers.

    The rule is the same for all, and so is the number of candidates; of equal ones it is the least.
    """
    scores: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        of_rival = scores.setdefault(row.method, {})
        of_rival.setdefault(row.strength, []).append(float(np.mean(list(row.unseen.values()))))
    return {
        method: min(candidates, key=lambda one: (-float(np.mean(candidates[one])), one))
        for method, candidates in scores.items()
    }


def read_rows(
    plan: Plan, out: Path, parts: Sequence[Part], chosen: dict[str, float]
) -> list[RivalRow]:
    """Return the rows of the parts that `out` holds."""
    found = [_read(plan, out, part, chosen.get(part.method)) for part in parts]
    return [row for rows in found for row in rows or []]


def run_part(plan: Plan, out: Path, strength: float | None, part: Part) -> None:
    """Compute a part and write its file.

    Args:
        plan: What to run.
        out: Where.
        strength: Of the rival; None: all its candidates, or a baseline.
        part: Which.
    """
    import torch

    torch.set_num_threads(1)
    features = _pool(part.seed, features_file(out, part.seed))
    folds = plan.select_folds if part.stage == "select" else plan.num_folds
    rows = []
    for fold in range(folds):
        data = FrozenFold(features, part.rho, fold)
        if part.method in BASELINES:
            rows.append(_row(data, plan, part, 0.0, "true"))
            continue
        strengths = RIVALS[part.method].strengths if strength is None else (strength,)
        rows += [_row(data, plan, part, one, "true") for one in strengths]
        if part.stage == "confirm" and part.rho == plan.rho[0]:
            rows.append(_row(data, plan, part, strengths[0], "shuffled"))
    content = {"key": _key(plan, part, strength), "rows": [row._asdict() for row in rows]}
    write_json(_path(out, part), content)


def features_file(out: Path, seed: int) -> Path:
    """Return where a seed's features are kept; what is there already is taken as they are."""
    return out / "features" / f"seed-{seed}-{fingerprint()}.npz"


@functools.lru_cache(maxsize=1)
def _pool(seed: int, cached: Path) -> Pool:
    return pool.make_pool(seed, cached)


def _row(data: FrozenFold, plan: Plan, part: Part, strength: float, labels: str) -> RivalRow:
    known = Known(
        data.emotional[data.train.row],
        data.train.emotion,
        data.train.speaker,
        data.neutral[data.is_train],
        data.speaker[data.is_train],
    )

    def told(speakers: Integers) -> Integers:
        return speakers if labels == "true" else shuffled_speakers(speakers, part.seed)

    known = known._replace(who=told(known.who), speaker=told(known.speaker))
    began = time.process_time()
    model = _fit(known, plan, part, strength)
    seconds = time.process_time() - began
    right = model.predict(data.emotional[data.test.row], told(data.test.speaker))
    right = right == data.test.emotion
    seen = model.predict(data.emotional[data.seen.row], told(data.seen.speaker))
    represented = model.represent(data.neutral, told(data.speaker))
    is_train = data.is_train
    return RivalRow(
        part.method,
        strength,
        labels,
        part.rho,
        part.seed,
        data.fold,
        unseen={
            str(one): float(np.mean(right[data.test.speaker == one]))
            for one in np.unique(data.test.speaker)
        },
        seen=float(np.mean(seen == data.seen.emotion)),
        leakage=leakage(
            represented[is_train],
            data.speaker[is_train],
            represented[~is_train],
            data.speaker[~is_train],
        ),
        num_parameters=model.num_parameters,
        seconds=round(seconds, 3),
    )


def _fit(known: Known, plan: Plan, part: Part, strength: float) -> Fitted:
    if part.method == "none":
        return plain(known, plan.frozen, part.seed)
    if part.method == "gate":
        return train(known, plan.frozen, None, weight=0.0, seed=part.seed)
    return RIVALS[part.method].fit(known, plan.frozen, strength, part.seed)


def _complete(
    plan: Plan,
    out: Path,
    parts: Sequence[Part],
    chosen: dict[str, float],
    workers: int,
    progress: Callable[[int, int], None] | None,
    done: int,
    total: int,
) -> int:
    """Compute the parts that are missing; return how many are done, with `done` before them."""
    missing = [one for one in parts if _read(plan, out, one, chosen.get(one.method)) is None]
    done += len(parts) - len(missing)
    if progress is not None:
        progress(done, total)
    jobs = [functools.partial(run_part, plan, out, chosen.get(one.method), one) for one in missing]
    for _ in in_parallel(jobs, workers):
        done += 1
        if progress is not None:
            progress(done, total)
    return done


def _path(out: Path, part: Part) -> Path:
    return out / "rows" / f"{part.stage}-seed{part.seed}-rho{part.rho:g}-{part.method}.json"


def _read(plan: Plan, out: Path, part: Part, strength: float | None) -> list[RivalRow] | None:
    """Return the rows of a part, or None where today's plan would give others."""
    path = _path(out, part)
    if not path.is_file():
        return None
    content = read_json(path)
    if content["key"] != _key(plan, part, strength):
        return None
    return [RivalRow(**row) for row in content["rows"]]


def _key(plan: Plan, part: Part, strength: float | None) -> str:
    """Return a hash of everything that decides the rows of a part but the code of the rival."""
    if part.stage == "select":
        decides = [plan.select_folds, list(RIVALS[part.method].strengths)]
    else:
        decides = [plan.num_folds, strength, part.rho == plan.rho[0]]
    text = json.dumps([*part, decides, asdict(plan.frozen), fingerprint()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
