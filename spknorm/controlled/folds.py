"""One fold: who trains, who is tested, what each method of the benchmark makes of it, and how well.

After `fitted.py` and `finetuning.py`; `grid.py` asks for rows and keeps them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Generic, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from spknorm.controlled import finetuning, frozen, pool
from spknorm.controlled.fitted import Fitted, behind, of_model
from spknorm.controlled.frozen import Data, Model
from spknorm.controlled.plan import Plan, Variant
from spknorm.controlled.pool import Features, Floats, Integers, Pool
from spknorm.controlled.upstream import front_end, load_upstream
from spknorm.demo.synthesis import FloatArray
from spknorm.probe.erasure import erase, fit_leace, normalise_per_speaker
from spknorm.schema import Adversary, Strategy

_BY_CONFUSION = ("confusion", "by_loss")


class ModelRow(NamedTuple):
    """One model of a `Variant`.

    Attributes:
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


class FoldScores(NamedTuple):
    """Of a model: which unseen utterances (N,) it classifies correctly; the rest as in a row."""

    correct: npt.NDArray[np.bool_]
    seen: float
    leakage: float


class Fold(Generic[Features]):
    """The utterances of one fold of one seed's corpus."""

    def __init__(self, features: Pool[Features], rho: float, number: int) -> None:
        self.seed, self.number, self.rho = features.seed, number, rho
        self.emotional: Features = features.emotional
        self.neutral: Features = features.neutral
        self.train = pool.training_rows(self.seed, rho, number)
        self.test = pool.test_rows(self.seed, number)
        self.seen = pool.test_rows(self.seed, number, seen=True)
        self.speaker, self.is_train = pool.speaker_split()

    def data(self, labels: str = "true") -> Data[Features]:
        """Return what is trained on, with permuted speakers if `labels` is `shuffled`."""
        speaker, who = (
            self._told(one, labels) for one in (self.speaker[self.is_train], self.train.speaker)
        )
        emotional, neutral = self.emotional[self.train.row], self.neutral[self.is_train]
        return Data(emotional, self.train.emotion, neutral, speaker, who)

    def score(self, model: Fitted, labels: str = "true") -> FoldScores:
        """Return how good a model is that is told the speakers, permuted or not."""
        correct, seen = (
            model.predict(self.emotional[rows.row], self._told(rows.speaker, labels))
            == rows.emotion
            for rows in (self.test, self.seen)
        )
        represented = model.represent(self.neutral, self._told(self.speaker, labels))
        is_train, speaker = self.is_train, self.speaker
        known, held_out = (represented[one] for one in (is_train, ~is_train))
        leaks = leakage(known, speaker[is_train], held_out, speaker[~is_train])
        return FoldScores(correct, float(np.mean(seen)), leaks)

    def _told(self, speaker: Integers, labels: str) -> Integers:
        return shuffled_speakers(speaker, self.seed) if labels == "shuffled" else speaker


def standardised(fold: Fold[Floats]) -> Fold[Floats]:
    """Bring what a fold trains on to mean 0 and deviation 1, and all the rest by the same."""
    known = np.concatenate([fold.emotional[fold.train.row], fold.neutral[fold.is_train]])
    mean, std = known.mean(0), known.std(0) + 1e-6
    fold.emotional, fold.neutral = (fold.emotional - mean) / std, (fold.neutral - mean) / std
    return fold


def front_ends(seed: int) -> Pool[Tensor]:
    """Return the front end's output for one seed's utterances, in the pool's order."""
    upstream = load_upstream()
    waves = (pool.emotional_waves(seed), pool.neutral_waves(seed))
    return Pool(seed, *(front_end(upstream, one) for one in waves))


def frozen_rows(fold: Fold[Floats], plan: Plan, variants: Iterable[Variant]) -> Iterator[ModelRow]:
    """Train and score models on frozen features."""
    for variant in variants:
        yield _row(fold, variant, fit(fold.data(variant.labels), variant.method, plan, fold.seed))


def fit(data: Data[Floats], method: str, plan: Plan, seed: int) -> Fitted:
    """Train one of the benchmark's methods on standardised features."""
    if method == "erasure":
        eraser = fit_leace(data.neutral, data.speaker, rank=plan.rank)
        return behind(lambda rows, _: erase(rows, eraser), data, plan.frozen, seed)
    if method == "znorm":
        return behind(normalise_per_speaker, data, plan.frozen, seed)
    settings = replace(plan.frozen, speaker_lambda=0.0) if method == "gate" else plan.frozen
    strategy: Strategy = "none" if method == "none" else "SNP"
    adversary: Adversary = "confusion" if method == "confusion" else "ascent"
    return of_model(frozen.train(data, settings, strategy=strategy, adversary=adversary, seed=seed))


def tuned_rows(fold: Fold[Tensor], plan: Plan, variants: Iterable[Variant]) -> Iterator[ModelRow]:
    """Train and score fine-tuned models, and the frozen ones from which they go on."""
    starts: dict[tuple[str, int], Model] = {}
    for variant in variants:
        data, settings = fold.data(variant.labels), plan.tuning_of(variant)
        key = (variant.labels if settings.rank else "", settings.rank)
        if key not in starts:
            starts[key] = finetuning.begin(data, plan.frozen, rank=settings.rank, seed=fold.seed)
        model = starts[key]
        if variant.features != "start":
            model = finetuning.fine_tune(
                data,
                settings,
                start=model,
                strategy="TAP" if variant.method in ("TAP", *_BY_CONFUSION) else "none",
                adversary="confusion" if variant.method in _BY_CONFUSION else "ascent",
                seed=fold.seed,
            )
        yield _row(fold, variant, of_model(model))


def _row(fold: Fold[Features], variant: Variant, model: Fitted) -> ModelRow:
    scores = fold.score(model, variant.labels)
    unseen = float(np.mean(scores.correct))
    place = (fold.rho, fold.seed, fold.number)
    return ModelRow(*variant, *place, unseen, scores.seen, scores.leakage, model.speaker_loss)


def leakage(
    train: Floats | FloatArray, speaker: Integers, test: Floats | FloatArray, expected: Integers
) -> float:
    """Return the accuracy of a fresh linear probe on (N, D): a shrunk linear discriminant."""
    probe = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    return float(probe.fit(train.astype(np.float64), speaker).score(test, expected))


def shuffled_speakers(speaker: Integers, seed: int) -> Integers:
    """Return the labels (N,) in another order: the same counts, nothing to learn."""
    return np.random.default_rng(seed).permutation(speaker)
