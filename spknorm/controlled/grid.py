"""The benchmark's runs: a file of rows per part, written whole, never computed twice.

After `frozen.py` and `finetuning.py`; `verdicts.py` reads the rows.
"""

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spknorm.controlled import finetuning, frozen, pool
from spknorm.controlled.plan import Part, Plan, Variant
from spknorm.controlled.pool import Floats, Integers, Pool
from spknorm.erasure import erase, fit_leace, normalise_per_speaker
from spknorm.files import read_json, write_json
from spknorm.metrics import classes_of

Progress = Callable[[int, int], None]


class Row(NamedTuple):
    """One model.

    Attributes:
        features: See `Variant`.
        method: See `Variant`.
        labels: See `Variant`.
        rho: Confounding of its training utterances.
        seed: Of corpus and model.
        fold: 0-4, the session held out.
        unseen: Accuracy on the balanced utterances of unseen speakers.
        seen: Accuracy on the balanced utterances of the training speakers.
        leakage: Accuracy of a fresh linear probe for 80 speakers on what the emotion head sees.
        speaker_loss: Of the adversary at the end of training; None without one.
    """

    features: str
    method: str
    labels: str
    rho: float
    seed: int
    fold: int
    unseen: float
    seen: float
    leakage: float
    speaker_loss: float | None


def run_grid(
    plan: Plan, out: Path, *, workers: int = 2, progress: Progress | None = None
) -> list[Row]:
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
    for _ in _parts_done(plan, out, missing, workers):
        done += 1
        if progress is not None:
            progress(done, len(plan.parts))
    return read_rows(plan, out)


def read_rows(plan: Plan, out: Path) -> list[Row]:
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


def leakage(train: Floats, speaker: Integers, test: Floats, expected: Integers) -> float:
    """Return the accuracy of a fresh linear probe on (N, D): a shrunk linear discriminant.

    The classes share one covariance, shrunk by a tenth towards a multiple of the identity; speakers
    are numbered from 0 and as frequent as each other.
    """
    values = train.astype(np.float64)
    num_speakers = int(speaker.max()) + 1
    means = np.stack([values[speaker == one].mean(0) for one in range(num_speakers)])  # (K, D)
    within = values - means[speaker]
    covariance = within.T @ within / len(within)
    dim = len(covariance)
    shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / dim * np.eye(dim)
    directions = np.linalg.lstsq(shrunk, means.T, rcond=None)[0]  # (D, K)
    scores = test @ directions - 0.5 * np.sum(means.T * directions, axis=0)
    return float(np.mean(classes_of(scores) == expected))


def shuffled_speakers(speaker: Integers, seed: int) -> Integers:
    """Return the labels (N,) in another order: the same counts, nothing to learn."""
    return np.random.default_rng(seed).permutation(speaker)


def _frozen_rows(plan: Plan, cache: Path, part: Part, variants: Sequence[Variant]) -> Iterator[Row]:
    for name in dict.fromkeys(variant.features for variant in variants):
        cached = cache / f"seed-{part.seed}-{name}-{_fingerprint()}.npz"
        features = pool.make_pool(part.seed, name, cached)
        for fold in range(plan.num_folds):
            data = _FoldData(features, part.rho, fold)
            for variant in variants:
                if variant.features == name:
                    yield data.row(variant, plan)


class _FoldData:
    """The standardised features of one fold, and what each method makes of them."""

    def __init__(self, features: Pool, rho: float, fold: int) -> None:
        self.rho, self.seed, self.fold = rho, features.seed, fold
        self.train = pool.training_rows(features.seed, rho, fold)
        self.test = pool.test_rows(features.seed, fold)
        self.seen = pool.test_rows(features.seed, fold, seen=True)
        self.speaker, self.is_train = pool.speaker_split()
        emotional, neutral = features.emotional, features.neutral
        known = np.concatenate([emotional[self.train.row], neutral[self.is_train]])
        mean, std = known.mean(0), known.std(0) + 1e-6
        self.emotional, self.neutral = (emotional - mean) / std, (neutral - mean) / std

    def row(self, variant: Variant, plan: Plan) -> Row:
        """Train and score one model."""
        speaker = self.speaker[self.is_train]
        if variant.labels == "shuffled":
            speaker = shuffled_speakers(speaker, self.seed)
        train, test, seen, neutral = self._features(variant, speaker, plan.rank)
        settings = plan.frozen
        if variant.method == "gate":
            settings = replace(settings, speaker_lambda=0.0)
        data = frozen.Data(train, self.train.emotion, neutral[self.is_train], speaker)
        model = frozen.train(
            data,
            settings,
            strategy="SNP" if variant.method in ("gate", "SNP", "confusion") else "none",
            adversary="confusion" if variant.method == "confusion" else "ascent",
            seed=self.seed,
        )
        represented = model.represent(neutral)
        return Row(
            *variant,
            self.rho,
            self.seed,
            self.fold,
            unseen=float(np.mean(model.predict(test) == self.test.emotion)),
            seen=float(np.mean(model.predict(seen) == self.seen.emotion)),
            leakage=leakage(
                represented[self.is_train],
                self.speaker[self.is_train],
                represented[~self.is_train],
                self.speaker[~self.is_train],
            ),
            speaker_loss=None if np.isnan(model.speaker_loss) else model.speaker_loss,
        )

    def _features(
        self, variant: Variant, speaker: Integers, rank: int
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return what the model sees of the training, unseen, seen and neutral utterances."""
        parts = [self.emotional[rows.row] for rows in (self.train, self.test, self.seen)]
        neutral = self.neutral
        if variant.method == "erasure":
            eraser = fit_leace(neutral[self.is_train], speaker, rank=rank)
            parts, neutral = [erase(part, eraser) for part in parts], erase(neutral, eraser)
        elif variant.method == "znorm":
            rows = (self.train, self.test, self.seen)
            parts = [
                normalise_per_speaker(part, one.speaker)
                for part, one in zip(parts, rows, strict=True)
            ]
            neutral = normalise_per_speaker(neutral, self.speaker)
        return parts[0], parts[1], parts[2], neutral


class _Fronts:
    """The front end's output for one seed's utterances, in the pool's order."""

    def __init__(self, seed: int) -> None:
        from spknorm.controlled.upstream import load_upstream

        upstream = load_upstream()
        self.emotional = finetuning.front_end(upstream, pool.emotional_waves(seed))
        self.neutral = finetuning.front_end(upstream, pool.neutral_waves(seed))


def _tuned_rows(plan: Plan, part: Part, variants: Sequence[Variant]) -> Iterator[Row]:
    rho, seed = part.rho, part.seed
    fronts = _Fronts(seed)
    speaker, is_train = pool.speaker_split()
    for fold in range(plan.tuned_folds):
        train, test = pool.training_rows(seed, rho, fold), pool.test_rows(seed, fold)
        seen = pool.test_rows(seed, fold, seen=True)
        for variant in variants:
            heard = speaker[is_train]
            if variant.labels == "shuffled":
                heard = shuffled_speakers(heard, seed)
            frames = finetuning.Frames(
                fronts.emotional[train.row], train.emotion, fronts.neutral[is_train], heard
            )
            model = finetuning.fine_tune(
                frames,
                plan.tuning_of(variant),
                strategy="none" if variant.method == "none" else "TAP",
                adversary="confusion" if variant.method == "confusion" else "ascent",
                seed=seed,
            )
            neutral = model.represent(fronts.neutral)
            yield Row(
                *variant,
                rho,
                seed,
                fold,
                unseen=float(np.mean(model.predict(fronts.emotional[test.row]) == test.emotion)),
                seen=float(np.mean(model.predict(fronts.emotional[seen.row]) == seen.emotion)),
                leakage=leakage(
                    neutral[is_train], speaker[is_train], neutral[~is_train], speaker[~is_train]
                ),
                speaker_loss=None if np.isnan(model.speaker_loss) else model.speaker_loss,
            )


def _parts_done(plan: Plan, out: Path, parts: list[Part], workers: int) -> Iterator[Part]:
    """Yield each part when its rows are written."""
    if workers <= 1 or len(parts) <= 1:
        for part in parts:
            run_part(plan, out, part)
            yield part
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        running = {executor.submit(run_part, plan, out, part): part for part in parts}
        try:
            for future in as_completed(running):
                future.result()
                yield running[future]
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _path(out: Path, part: Part) -> Path:
    return out / "rows" / f"{part.kind}-rho{part.rho:g}-seed{part.seed}.json"


def _known(plan: Plan, out: Path, part: Part) -> dict[Variant, list[Row]]:
    """Return the rows of a part by variant, those alone that today's plan would give."""
    path = _path(out, part)
    if not path.is_file():
        return {}
    known = {}
    for entry in read_json(path)["variants"]:
        variant = Variant(**entry["variant"])
        if entry["key"] == _key(plan, part, variant):
            known[variant] = [Row(**row) for row in entry["rows"]]
    return known


def _read(plan: Plan, out: Path, part: Part) -> list[Row] | None:
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
        decides = [plan.tuned_folds, asdict(plan.tuning_of(variant))]
    text = json.dumps([*part, *variant, decides, _fingerprint()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def _fingerprint() -> str:
    """Return a hash of the generator's code and the upstream's checkpoint."""
    from spknorm import demo, registry

    digest = hashlib.sha256()
    folder = Path(demo.__file__).parent
    sources = [folder / f"{name}.py" for name in ("synthesis", "population", "acoustics")]
    checkpoint = registry.plugin_root() / "upstream_adapters" / "demo_hubert" / "demo_hubert.pt"
    for path in (*sources, checkpoint):
        with contextlib.suppress(FileNotFoundError):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
