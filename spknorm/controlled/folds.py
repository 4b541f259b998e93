"""The models of one fold: what each method makes of its utterances, trained and scored.

After `frozen.py` and `finetuning.py`; `grid.py` asks for rows and keeps them.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spknorm.controlled import finetuning, frozen, pool
from spknorm.controlled.finetuning import TunedModel
from spknorm.controlled.plan import Part, Plan, Variant
from spknorm.controlled.pool import Floats, Integers, Pool
from spknorm.controlled.view import front_end
from spknorm.probe.erasure import erase, fit_leace, normalise_per_speaker
from spknorm.statistics.metrics import classes_of


class ModelRow(NamedTuple):
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


class FrozenFold:
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

    def row(self, variant: Variant, plan: Plan) -> ModelRow:
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
        return ModelRow(
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


class Fronts:
    """The front end's output for one seed's utterances, in the pool's order."""

    def __init__(self, seed: int) -> None:
        from spknorm.controlled.upstream import load_upstream

        upstream = load_upstream()
        self.emotional = front_end(upstream, pool.emotional_waves(seed))
        self.neutral = front_end(upstream, pool.neutral_waves(seed))


class TunedFold:
    """The utterances of one fold, and the frozen models from which fine-tuning goes on."""

    def __init__(self, fronts: Fronts, plan: Plan, part: Part, fold: int) -> None:
        self.fronts, self.plan, self.part, self.fold = fronts, plan, part, fold
        self.train = pool.training_rows(part.seed, part.rho, fold)
        self.test = pool.test_rows(part.seed, fold)
        self.seen = pool.test_rows(part.seed, fold, seen=True)
        self.speaker, self.is_train = pool.speaker_split()
        self.starts: dict[tuple[str, int], TunedModel] = {}

    def row(self, variant: Variant) -> ModelRow:
        """Train and score one model."""
        model = self._model(variant)
        neutral, is_train = model.represent(self.fronts.neutral), self.is_train
        unseen, seen = (
            float(np.mean(model.predict(self.fronts.emotional[rows.row]) == rows.emotion))
            for rows in (self.test, self.seen)
        )
        return ModelRow(
            *variant,
            self.part.rho,
            self.part.seed,
            self.fold,
            unseen=unseen,
            seen=seen,
            leakage=leakage(
                neutral[is_train],
                self.speaker[is_train],
                neutral[~is_train],
                self.speaker[~is_train],
            ),
            speaker_loss=None if np.isnan(model.speaker_loss) else model.speaker_loss,
        )

    def _model(self, variant: Variant) -> TunedModel:
        settings, seed = self.plan.tuning_of(variant), self.part.seed
        speaker = self.speaker[self.is_train]
        if variant.labels == "shuffled":
            speaker = shuffled_speakers(speaker, seed)
        frames = finetuning.Frames(
            self.fronts.emotional[self.train.row],
            self.train.emotion,
            self.fronts.neutral[self.is_train],
            speaker,
        )
        key = (variant.labels if settings.rank else "", settings.rank)
        if key not in self.starts:
            self.starts[key] = finetuning.begin(
                frames, self.plan.frozen, rank=settings.rank, seed=seed
            )
        if variant.features == "start":
            return self.starts[key]
        return finetuning.fine_tune(
            frames,
            settings,
            start=self.starts[key],
            strategy="TAP" if variant.method in ("TAP", "confusion") else "none",
            adversary="confusion" if variant.method == "confusion" else "ascent",
            seed=seed,
        )


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
