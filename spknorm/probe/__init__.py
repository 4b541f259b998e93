"""How much of a label is left in pooled embeddings: probes trained afresh, each with its controls.

Takes what `features.py` pools; `audit.py` runs these over a benchmark's upstreams. Any label can be
probed: the speaker, the emotion, the session, a column of a manifest.

Legend: N utterances, L layers, H upstream dimension, K classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError, DataError
from spknorm.probe.arrays import Floats, Integers
from spknorm.probe.classifiers import PROBES
from spknorm.probe.verification import verify
from spknorm.statistics import MIN_SPEAKERS, interval

__all__ = ["PROBES", "Pooled", "ProbeScore", "index_labels", "run_probe", "standardise"]


class Pooled(NamedTuple):
    """Embeddings of one split.

    Attributes:
        features: (N, H), or (N, L, H) for the probe `weighted`.
        labels: (N,) class indices 0 ... K-1, the same classes in train and test.
        clusters: (N,) what the bootstrap draws as one, the speakers as a rule; None: the labels.
    """

    features: Floats
    labels: Integers
    clusters: Integers | None = None


class ProbeScore(NamedTuple):
    """What one probe found.

    Attributes:
        probe: A key of `PROBES`, or `eer`.
        control: None, or `shuffled`: the same with permuted labels.
        score: Accuracy on the test utterances; for `eer` the equal error rate. Fractions.
        low: Lower end of the 95 % interval, by bootstrap over clusters; None of too few.
        high: Its upper end; 1 with a single cluster.
        chance: What the most frequent class gives; .5 for `eer`.
        n: Test utterances; trials for `eer`.
        num_classes: K.
        seed: Of splits, initial weights, trials and bootstrap.
    """

    probe: str
    control: str | None
    score: float
    low: float | None
    high: float | None
    chance: float
    n: int
    num_classes: int
    seed: int


def run_probe(
    probe: str, train: Pooled, test: Pooled, *, control: str | None = None, seed: int = 0
) -> ProbeScore:
    """Train a probe on `train` and score it on `test`.

    Args:
        probe: `linear`, `mlp`, `knn`, `weighted` (linear on a learnt sum of layers) or `eer`
            (verification by cosine among the test utterances; `train` only centres and scales).
        train: Utterances to train on; every class of `test` must occur in it, except for `eer`.
        test: Held-out utterances.
        control: None, or `shuffled`: labels permuted, which shows what the procedure itself gives.
        seed: Fixes everything random.

    Raises:
        ConfigError: Unknown probe or control.
        DataError: Shapes that do not fit, non-finite features, or nothing to learn.
    """
    _check(probe, control, train, test)
    generator = np.random.default_rng(seed)
    scaled_train, scaled_test = standardise(train.features, test.features)
    if probe == "eer":
        labels = generator.permutation(test.labels) if control else test.labels
        found = verify(scaled_test, labels, seed=seed)
        num_speakers = len(np.unique(labels))
        return ProbeScore(probe, control, *found[:3], 0.5, found.num_trials, num_speakers, seed)
    num_classes = int(train.labels.max()) + 1
    labels = generator.permutation(train.labels) if control else train.labels
    predicted = PROBES[probe](scaled_train, labels, scaled_test, num_classes, seed)
    correct = predicted == test.labels
    clusters = test.labels if test.clusters is None else test.clusters
    low, high = _interval(correct, clusters)
    most_frequent = np.bincount(train.labels).argmax()
    return ProbeScore(
        probe=probe,
        control=control,
        score=float(correct.mean()),
        low=low,
        high=high,
        chance=float((test.labels == most_frequent).mean()),
        n=len(correct),
        num_classes=num_classes,
        seed=seed,
    )


def standardise(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Return both with mean and standard deviation of `train` taken out of every dimension.

    A dimension that varies by no more than rounding becomes 0 and is not blown up: what an erasure
    removed must stay removed.
    """
    mean = train.mean(axis=0, dtype=np.float64)
    spread = train.std(axis=0, dtype=np.float64)
    size = np.sqrt(np.mean(np.square(train, dtype=np.float64)))
    flat = spread <= 1e-5 * size
    factor = np.where(flat, 0.0, 1 / np.where(flat, 1.0, spread))
    return ((train - mean) * factor).astype(np.float32), ((test - mean) * factor).astype(np.float32)


def index_labels(names: Sequence[str], known: Sequence[str] | None = None) -> Integers:
    """Return the index (N,) of each name among the sorted `known` names, by default themselves.

    Raises:
        DataError: A name that is not known.
    """
    order = {name: index for index, name in enumerate(sorted(set(known or names)))}
    strange = sorted(set(names) - set(order))
    if strange:
        raise DataError(f"The probe was not trained on {', '.join(strange[:5])}.")
    return np.array([order[name] for name in names], dtype=np.int64)


def _interval(
    correct: NDArray[np.bool_], clusters: Integers
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of the accuracy over clusters, none of too few clusters."""
    _, index = np.unique(clusters, return_inverse=True)
    sizes, hits = np.bincount(index), np.bincount(index, weights=correct)
    if len(sizes) < MIN_SPEAKERS:
        return None, None
    tables = {
        str(i): [[hit, size - hit], [0, 0]]
        for i, (size, hit) in enumerate(zip(sizes, hits, strict=True))
    }
    found = interval(tables, "wa")
    return found.low, found.high


def _check(probe: str, control: str | None, train: Pooled, test: Pooled) -> None:
    if probe != "eer" and probe not in PROBES:
        raise ConfigError(f"A probe is one of {', '.join([*PROBES, 'eer'])}, but not {probe!r}.")
    if control not in (None, "shuffled"):
        raise ConfigError(f"A control is None or 'shuffled', but not {control!r}.")
    dims = 3 if probe == "weighted" else 2
    for name, pooled in (("training", train), ("test", test)):
        features, labels, _ = pooled
        if features.ndim != dims or len(features) != len(labels) or not len(labels):
            raise DataError(
                f"The {name} features have shape {features.shape} and {len(labels)} labels; "
                f"the probe {probe} takes ({'N, L, H' if dims == 3 else 'N, H'}) and N labels, "
                "N at least 1."
            )
        if not np.isfinite(features).all():
            raise DataError(f"The {name} features hold NaN or infinity.")
    if train.features.shape[1:] != test.features.shape[1:]:
        raise DataError(
            f"Training features {train.features.shape} and test features {test.features.shape} "
            "must agree but for the number of utterances."
        )
    if probe == "eer":
        return
    unseen = np.setdiff1d(test.labels, train.labels)
    if len(unseen):
        raise DataError(
            f"{len(unseen)} of the test classes have no training utterance; "
            "a probe cannot name them."
        )
    if len(np.unique(train.labels)) < 2:
        raise DataError("A probe needs at least two classes.")
