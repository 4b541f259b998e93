"""The runs: a file of rows per part, written whole, never computed twice.

After `plan.py`; `ranking.py` reads the rows.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from spknorm.controlled import fitted, folds, frozen, pool
from spknorm.controlled.folds import Fold
from spknorm.controlled.grid import key_of
from spknorm.controlled.parallel import OnProgress, compute
from spknorm.controlled.pool import Floats
from spknorm.controlled.rivals.plan import BASELINES, Part, Plan
from spknorm.controlled.rivals.table import RIVALS
from spknorm.controlled.rivals.training import train
from spknorm.files import read_json, write_json


class RivalRow(NamedTuple):
    """One model: as `folds.ModelRow` has them, where nothing else is said.

    Attributes:
        method: A key of `RIVALS` or of `BASELINES`.
        strength: Of the rival; 0 of a baseline.
        labels: `true`, or `shuffled`: the control with permuted speakers.
        unseen: Accuracy on the balanced utterances of each unseen speaker, by number.
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
    progress: OnProgress,
    chosen: dict[str, float] | None = None,
) -> tuple[dict[str, float], list[RivalRow]]:
    """Return each rival's chosen strength, and the rows of all that is reported.

    `out` holds rows/*.json and features/*.npz; what is there is not computed again. Strengths that
    are known beforehand are `chosen`; otherwise the selection seeds choose.
    """
    selecting = plan.selecting if chosen is None else []
    total = len(selecting) + len(plan.confirming)

    def rows_of(parts: Sequence[Part], before: int) -> list[RivalRow]:
        jobs = [partial(run_part, plan, out, part) for part in parts if not _read(plan, out, part)]
        done = before + len(parts) - len(jobs)
        compute(jobs, workers, progress, done=done, total=total)
        return [row for part in parts for row in _read(plan, out, part)]

    if chosen is None:
        chosen = choose(rows_of(selecting, 0))
    confirming = [part._replace(strength=chosen.get(part.method)) for part in plan.confirming]
    return chosen, rows_of(confirming, len(selecting))


def choose(rows: Sequence[RivalRow]) -> dict[str, float]:
    """Return each rival's best strength: the highest mean accuracy on unseen speakers.

    The rule is the same for all, and so is the number of candidates; of equal ones it is the least.
    """
    scores: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        scores[row.method][row.strength].append(float(np.mean(list(row.unseen.values()))))
    return {
        method: min(candidates, key=lambda one: (-float(np.mean(candidates[one])), one))
        for method, candidates in scores.items()
    }


def run_part(plan: Plan, out: Path, part: Part) -> None:
    """Compute a part and write its file."""
    torch.set_num_threads(1)
    features = pool.features_of(part.seed, out)
    num_folds = plan.select_folds if part.stage == "select" else plan.num_folds
    if part.method in BASELINES:
        models = [(0.0, "true")]
    else:
        given = part.strength
        strengths = RIVALS[part.method].strengths if given is None else (given,)
        models = [(one, "true") for one in strengths]
        if part.stage == "confirm" and part.rho == plan.rho[0]:
            models.append((strengths[0], "shuffled"))
    rows = []
    for number in range(num_folds):
        fold = folds.standardised(Fold(features, part.rho, number))
        rows += [_row(fold, plan, part.method, *model) for model in models]
    content = {"key": _key(plan, part), "rows": [row._asdict() for row in rows]}
    write_json(_path(out, part), content)


def _row(fold: Fold[Floats], plan: Plan, method: str, strength: float, labels: str) -> RivalRow:
    known = fold.data(labels)
    began = time.process_time()
    if method == "none":
        model = fitted.of_model(frozen.train(known, plan.frozen, seed=fold.seed))
    elif method == "gate":
        model = train(known, plan.frozen, None, weight=0.0, seed=fold.seed)
    else:
        model = RIVALS[method].fit(known, plan.frozen, strength, fold.seed)
    seconds = time.process_time() - began
    scores, who = fold.score(model, labels), fold.test.speaker
    unseen = {str(one): float(np.mean(scores.correct[who == one])) for one in np.unique(who)}
    place = (method, strength, labels, fold.rho, fold.seed, fold.number)
    cost = (model.num_parameters, round(seconds, 3))
    return RivalRow(*place, unseen, scores.seen, scores.leakage, *cost)


def _path(out: Path, part: Part) -> Path:
    return out / "rows" / f"{part.stage}-seed{part.seed}-rho{part.rho:g}-{part.method}.json"


def _read(plan: Plan, out: Path, part: Part) -> list[RivalRow]:
    """Return the rows of a part; none where today's plan would give others."""
    path = _path(out, part)
    content = read_json(path) if path.is_file() else {}
    is_of_today = content.get("key") == _key(plan, part)
    return [RivalRow(**row) for row in content["rows"]] if is_of_today else []


def _key(plan: Plan, part: Part) -> str:
    """Return a hash of everything that decides the rows of a part but the code of the rival."""
    if part.stage == "select":
        decides = [plan.select_folds, list(RIVALS[part.method].strengths)]
    else:
        decides = [plan.num_folds, part.strength, part.rho == plan.rho[0]]
    return key_of([*part[:4], decides, asdict(plan.frozen), pool.fingerprint()])
