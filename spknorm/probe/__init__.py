"""How much of a label is left in pooled embeddings: probes trained afresh, each with its controls.

Takes pooled features; `audit` runs these over a benchmark's upstreams. Any label can be
probed: the speaker, the emotion, the session, a column of a manifest.

Legend: N utterances, L layers, H upstream dimension, K classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError, DataError
from spknorm.probe.arrays import Floats, Integers, Layers, is_finite, scale_of, standardised
from spknorm.probe.classifiers import PROBES, weighted
from spknorm.probe.curve import extrapolate, nested_parts
from spknorm.probe.score import ProbeScore
from spknorm.probe.verification import verify
from spknorm.statistics import MIN_SPEAKERS, interval

__all__ = ["PROBES", "Pooled", "ProbeScore", "run_probe"]


class Pooled(NamedTuple):
    """Embeddings of one split.

    Attributes:
        features: (N, H); for the probe `weighted` (N, L, H), which may be memory-mapped.
        labels: (N,) class indices 0 ... K-1, the same classes in train and test.
        clusters: (N,) what the bootstrap draws as one, the speakers as a rule; None: the labels.
    """

    features: Floats | Layers
    labels: Integers
    clusters: Integers | None = None


def run_probe(
    probe: str,
    train: Pooled,
    test: Pooled,
    *,
    control: str | None = None,
    seed: int = 0,
    whole: int | None = None,
) -> ProbeScore:
    """Train a probe on `train` and score it on `test`.

    Args:
        probe: `linear`, `mlp`, `knn`, `weighted` (linear on a learnt sum of layers) or `eer`
            (verification by cosine among the test utterances; `train` only centres and scales).
        train: Utterances to train on; every class of `test` must occur in it, except for `eer`.
        test: Held-out utterances.
        control: None, or `shuffled`: labels permuted, which shows what the procedure itself gives.
        seed: Fixes everything random.
        whole: How many utterances there are to learn on, of which `train` is a sample: the score is
            extrapolated to them (curve.py). Verification and shuffled labels teach nothing, so that
            theirs is not.

    Raises:
        ConfigError: Unknown probe or control.
        DataError: Shapes that do not fit, non-finite features, or nothing to learn.
    """
    if probe == "weighted":
        train, test = (
            part._replace(features=Layers.of(part.features)) if part.features.ndim == 3 else part
            for part in (train, test)
        )
    _check(probe, control, train, test)
    if probe == "eer":
        assert isinstance(test.features, np.ndarray)
        labels = np.random.default_rng(seed).permutation(test.labels) if control else test.labels
        return verify(scale_of(train.features).apply(test.features), labels, seed=seed)
    num_classes = int(train.labels.max()) + 1
    labels = np.random.default_rng(seed).permutation(train.labels) if control else train.labels
    clusters = test.labels if test.clusters is None else test.clusters
    extrapolated = whole is not None and whole > len(labels) and not control
    parts = nested_parts(labels, seed)[:-1] if extrapolated else []
    curve = [
        _predicted(probe, train.features[part], labels[part], test, num_classes, seed)
        for part in parts
    ]
    predicted = _predicted(probe, train.features, labels, test, num_classes, seed)
    correct = predicted == test.labels
    score, on_sample = float(correct.mean()), None
    if whole and curve:
        sizes, on_sample = [*map(len, parts), len(labels)], score
        learnt = [*(one == test.labels for one in curve), correct]
        score, low, high = extrapolate(learnt, sizes, clusters, whole=whole)
    else:
        low, high = _interval(correct, clusters)
    chance = float((test.labels == np.bincount(train.labels).argmax()).mean())
    return ProbeScore(score, low, high, chance, len(correct), num_classes, on_sample)


def _predicted(
    probe: str, train: Floats | Layers, labels: Integers, of: Pooled, num_classes: int, seed: int
) -> Integers:
    """Return the classes of pooled features by a probe of training features, both standardised."""
    scale, test = scale_of(train), of.features
    if isinstance(train, Layers) and isinstance(test, Layers):
        layers = standardised(train, scale), standardised(test, scale)
        return weighted(layers[0], labels, layers[1], num_classes, seed)
    assert isinstance(train, np.ndarray) and isinstance(test, np.ndarray)
    return PROBES[probe](scale.apply(train), labels, scale.apply(test), num_classes, seed)


def _interval(
    correct: NDArray[np.bool_], clusters: Integers
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of the accuracy over clusters, none of too few clusters."""
    _, index = np.unique(clusters, return_inverse=True)
    sizes, hits = np.bincount(index), np.bincount(index, weights=correct)
    if len(sizes) < MIN_SPEAKERS:
        return None, None
    pairs = enumerate(zip(hits, sizes - hits, strict=True))
    _, low, high = interval({str(i): [pair, (0, 0)] for i, pair in pairs}, "wa")
    return low, high


def _check(probe: str, control: str | None, train: Pooled, test: Pooled) -> None:
    known = (*PROBES, "weighted", "eer")
    if probe not in known:
        raise ConfigError(f"A probe is one of {', '.join(known)}, but not {probe!r}.")
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
        if not is_finite(features):
            raise DataError(f"The {name} features hold NaN or infinity.")
    if train.features.shape[1:] != test.features.shape[1:]:
        raise DataError(
            f"Training features {train.features.shape} and test features {test.features.shape} "
            "must agree but for the number of utterances."
        )
    unseen = np.setdiff1d(test.labels, train.labels)
    if len(unseen) and probe != "eer":
        raise DataError(
            f"{len(unseen)} of the test classes have no training utterance; "
            "a probe cannot name them."
        )
    if len(np.unique(train.labels)) < 2 and probe != "eer":
        raise DataError("A probe needs at least two classes.")
