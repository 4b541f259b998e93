"""The probes that name a class: logistic regression, a small network, nearest neighbours.

Each takes standardised training features, their labels, test features, the number of classes and a
seed, and returns the predicted classes; what has to be chosen is chosen within the training set.

Legend: N utterances, L layers, H upstream dimension, K classes.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import softmax

from spknorm.errors import DataError
from spknorm.probe.arrays import (
    Floats,
    Integers,
    Layers,
    blocks_of,
    in_blocks,
    rank_in_class,
    unit_length,
)
from spknorm.statistics.metrics import classes_of

_PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0, 1.0)  # of the squared weights
_NEIGHBOURS = (1, 5, 15, 50)
_ROWS_TO_CHOOSE = 4096
_SIMILARITIES = 1 << 24  # held at a time
_HIDDEN = 256
_MAX_EPOCHS = 100
_BATCH = 256
_PATIENCE = 10
_MAX_ITERATIONS = 100


def _linear(train: Floats, labels: Integers, test: Floats, num_classes: int, seed: int) -> Integers:
    """Logistic regression; its penalty is chosen on a fifth of the training utterances."""
    model = _fit(_logistic(_best_penalty(train, labels, seed)), train, labels)
    return in_blocks(model.predict, test)


def weighted(
    train: Layers, labels: Integers, test: Layers, num_classes: int, seed: int
) -> Integers:
    """Predict by a linear probe on a learnt, softmax-weighted sum of layers (s3prl's Featurizer).

    Of train (N, L, H), labels (N,) in 0 ... K-1 and test (M, L, H) it returns (M,).
    """
    from scipy.optimize import minimize

    num_layers, dim = train.shape[1:]
    penalty = _best_penalty(_summed(train, np.full(num_layers, 1 / num_layers)), labels, seed)

    def loss(flat: Floats) -> tuple[float, Floats]:
        mixture, weights = softmax(flat[:num_layers]), flat[num_layers:].reshape(dim + 1, -1)
        summed = _summed(train, mixture)
        value, gradient, errors = _penalised(summed, labels, weights, penalty)
        slope = errors @ weights[:-1].T.astype(np.float32)  # (N, K) x (K, H) -> (N, H)
        by_layer = np.array(
            [np.vdot(train.layer(layer), slope) for layer in range(num_layers)], np.float64
        )
        of_mixture = mixture * (by_layer - mixture @ by_layer)
        return value, np.concatenate([of_mixture, gradient.ravel()])

    start = np.zeros(num_layers + (dim + 1) * num_classes)
    options = {"maxiter": _MAX_ITERATIONS, "ftol": 1e-7, "gtol": 1e-5}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    summed = _summed(test, softmax(found[:num_layers]))
    return classes_of(_logits(summed, found[num_layers:].reshape(dim + 1, -1)))


def _mlp(train: Floats, labels: Integers, test: Floats, num_classes: int, seed: int) -> Integers:
    """One hidden layer; its number of epochs is chosen on a fifth of the training utterances."""
    fit, held_out = _split(labels, seed)
    model, best, epochs = _network(len(fit), seed), (-1.0, 0.0), 0
    for epoch in range(1, _MAX_EPOCHS + 1):
        model.partial_fit(train[fit], labels[fit], classes=np.unique(labels))
        found = _quality(model, train[held_out], labels[held_out])
        if found > best:
            best, epochs = found, epoch
        elif epoch - epochs >= _PATIENCE:
            break
    model = _network(len(train), seed)
    for _ in range(epochs):
        model.partial_fit(train, labels, classes=np.unique(labels))
    return in_blocks(model.predict, test)


def _knn(train: Floats, labels: Integers, test: Floats, num_classes: int, seed: int) -> Integers:
    """Vote of the nearest neighbours by cosine; their number is chosen leaving one out."""
    unit_train, unit_test = unit_length(train), unit_length(test)
    some = np.random.default_rng(seed).permutation(len(train))[:_ROWS_TO_CHOOSE]
    size = max(1, min(_ROWS_TO_CHOOSE, _SIMILARITIES // len(train)))
    right = np.zeros(len(_NEIGHBOURS))
    for own in (some[block] for block in blocks_of(len(some), size)):
        similarity = unit_train[own] @ unit_train.T  # (n, H) x (H, N) -> (n, N)
        similarity[np.arange(len(own)), own] = -np.inf
        near, closeness = _nearest(similarity, labels, max(_NEIGHBOURS))
        for place, k in enumerate(_NEIGHBOURS):
            voted = _vote(near[:, :k], closeness[:, :k], num_classes)
            right[place] += (voted == labels[own]).sum()
    best = _NEIGHBOURS[int(np.argmax(right))]
    return in_blocks(
        lambda rows: _vote(*_nearest(rows @ unit_train.T, labels, best), num_classes),
        unit_test,
        rows=size,
    )


PROBES: dict[str, Callable[[Floats, Integers, Floats, int, int], Integers]] = {
    "linear": _linear,
    "mlp": _mlp,
    "knn": _knn,
}


def _summed(features: Layers, mixture: Floats) -> Floats:
    """Return the weighted sum of layers, (N, L, H) and (L,) -> (N, H)."""
    summed = np.zeros((features.shape[0], features.shape[2]), np.float32)
    for layer, weight in enumerate(mixture.astype(np.float32)):
        summed += weight * features.layer(layer)
    return summed


def _best_penalty(train: Floats, labels: Integers, seed: int) -> float:
    """Return the penalty that is best on the held-out fifth."""
    fit, held_out = _split(labels, seed)
    model, found = _logistic(_PENALTIES[0]), []
    for penalty in _PENALTIES:  # from strong to weak, each starting at the one before
        _fit(model.set_params(C=1 / penalty, warm_start=True), train[fit], labels[fit])
        found.append(_quality(model, train[held_out], labels[held_out]))
    return _PENALTIES[found.index(max(found))]


def _logistic(penalty: float) -> Any:
    """Return scikit-learn's logistic regression, untrained; it counts the penalty the other way."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / penalty, max_iter=_MAX_ITERATIONS)


def _fit(model: Any, features: Floats, labels: Integers) -> Any:
    """Fit a model, silent of its last iteration: as many are enough to compare upstreams by."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels)


def _network(size: int, seed: int) -> Any:
    """Return scikit-learn's multi-layer perceptron, untrained, for `size` utterances."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (_HIDDEN,),
        alpha=1e-2,
        batch_size=min(_BATCH, size),
        learning_rate_init=3e-3,
        random_state=seed,
    )


def _quality(model: Any, features: Floats, labels: Integers) -> tuple[float, float]:
    """Return accuracy and, to decide between equals, the negative cross-entropy."""
    shares = model.predict_proba(features)  # (N, K)
    own = shares[np.arange(len(labels)), np.searchsorted(model.classes_, labels)]
    accuracy = float((model.classes_[shares.argmax(axis=1)] == labels).mean())
    return accuracy, float(np.log(np.maximum(own, 1e-12)).mean())


def _penalised(
    features: Floats, labels: Integers, weights: Floats, penalty: float
) -> tuple[float, Floats, Floats]:
    """Return the penalised cross-entropy and its gradients: of weights and of logits (N, K)."""
    size = len(features)
    logits = _logits(features, weights)
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    total = odds.sum(axis=1, keepdims=True)
    rows = np.arange(size)
    entropy = float((np.log(total[:, 0]) - logits[rows, labels]).mean(dtype=np.float64))
    errors = odds / total
    errors[rows, labels] -= 1
    errors /= size
    gradient = np.empty(weights.shape)
    gradient[:-1] = features.T @ errors + (penalty / size) * weights[:-1]
    gradient[-1] = errors.sum(axis=0)
    return entropy + penalty / (2 * size) * float(np.sum(weights[:-1] ** 2)), gradient, errors


def _logits(features: Floats, weights: Floats) -> Floats:
    """Return (N, H) x (H + 1, K) -> (N, K), in the precision of the features."""
    single = weights.astype(features.dtype)
    logits: Floats = features @ single[:-1] + single[-1]
    return logits


def _nearest(similarity: Floats, labels: Integers, k: int) -> tuple[Integers, Floats]:
    """Return classes and similarities (n, k) of the k nearest, the nearest first."""
    k = min(k, similarity.shape[1] - 1)
    nearest = np.argpartition(similarity, -k, axis=1)[:, -k:]  # (n, N) -> (n, k)
    closeness = np.take_along_axis(similarity, nearest, axis=1)
    order = np.argsort(-closeness, axis=1, kind="stable")
    classes: Integers = labels[np.take_along_axis(nearest, order, axis=1)]
    return classes, np.take_along_axis(closeness, order, axis=1)


def _vote(classes: Integers, closeness: Floats, num_classes: int) -> Integers:
    """Return the class (n,) that most neighbours have; the nearer one decides between equals."""
    votes = np.zeros((len(classes), num_classes))
    rows = np.repeat(np.arange(len(classes)), classes.shape[1])
    np.add.at(votes, (rows, classes.ravel()), 1 + 1e-3 * closeness.ravel())
    return classes_of(votes)


def _split(labels: Integers, seed: int) -> tuple[Integers, Integers]:
    """Return indices to fit on and a fifth to choose on; every class stays in the first."""
    rank = rank_in_class(labels, np.random.default_rng(seed))
    order = np.lexsort((rank, labels))  # class by class
    held = rank[order] % 5 == 4
    if not held.any():  # fewer than five of every class: hold out a second one where there is one
        held = rank[order] == 1
    if not held.any():
        raise DataError("A probe needs at least two training utterances of some class.")
    return order[~held], order[held]
