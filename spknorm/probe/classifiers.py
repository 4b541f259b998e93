"""The probes that name a class: logistic regression, a small network, nearest neighbours.

Each takes standardised training features, their labels, test features, the number of classes and a
seed, and returns the predicted classes; what has to be chosen is chosen within the training set.

Legend: N utterances, L layers, H upstream dimension, K classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spknorm.errors import DataError
from spknorm.metrics import classes_of
from spknorm.probe.arrays import Floats, Integers, in_blocks, unit_length

_PENALTIES = (
    1000.0,
    300.0,
    100.0,
    30.0,
    10.0,
    1.0,
)  # of the squared weights, standardised features
_NEIGHBOURS = (1, 5, 15, 50)
_ROWS_TO_CHOOSE = 4096
_HIDDEN = 256
_MAX_EPOCHS = 100
_BATCH = 256


def _linear(train: Floats, labels: Integers, test: Floats, num_classes: int, seed: int) -> Integers:
    """Logistic regression; its penalty is chosen on a fifth of the training utterances."""
    fit, held_out = _split(labels, seed)
    penalty = _best_penalty(train, labels, fit, held_out, num_classes)
    weights = _fit_logistic(train, labels, num_classes, penalty)
    return _winners(_logits(test, weights))


def _weighted(
    train: Floats, labels: Integers, test: Floats, num_classes: int, seed: int
) -> Integers:
    """The linear probe on a learnt, softmax-weighted sum of layers, as in s3prl's Featurizer."""
    fit, held_out = _split(labels, seed)
    penalty = _best_penalty(train.mean(axis=1), labels, fit, held_out, num_classes)
    num_layers, dim = train.shape[1:]

    def loss(flat: Floats) -> tuple[float, Floats]:
        mixture, weights = _softmax(flat[:num_layers]), flat[num_layers:].reshape(dim + 1, -1)
        summed = np.einsum("nlh,l->nh", train, mixture.astype(np.float32))
        value, gradient, errors = _penalised(summed, labels, weights, penalty)
        slope = errors @ weights[:-1].T.astype(np.float32)  # (N, K) x (K, H) -> (N, H)
        by_layer = np.einsum("nlh,nh->l", train, slope)
        of_mixture = mixture * (by_layer - mixture @ by_layer)
        return value, np.concatenate([of_mixture, gradient.ravel()])

    start = np.zeros(num_layers + (dim + 1) * num_classes)
    found = _minimise(loss, start)
    summed = np.einsum("nlh,l->nh", test, _softmax(found[:num_layers]).astype(np.float32))
    return _winners(_logits(summed, found[num_layers:].reshape(dim + 1, -1)))


def _mlp(train: Floats, labels: Integers, test: Floats, num_classes: int, seed: int) -> Integers:
    """One hidden layer; its number of epochs is chosen on a fifth of the training utterances."""
    fit, held_out = _split(labels, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, epochs = _train_mlp(
            train[fit], labels[fit], num_classes, _MAX_EPOCHS, (train[held_out], labels[held_out])
        )
        torch.manual_seed(seed)
        model, _ = _train_mlp(train, labels, num_classes, epochs, None)
    with torch.no_grad():
        return in_blocks(lambda rows: classes_of(model(torch.from_numpy(rows))), test)


def _knn(train: Floats, labels: Integers, test: Floats, num_classes: int, seed: int) -> Integers:
    """Vote of the nearest neighbours by cosine; their number is chosen leaving one out."""
    unit_train, unit_test = unit_length(train), unit_length(test)
    some = np.random.default_rng(seed).permutation(len(train))[:_ROWS_TO_CHOOSE]
    similarity = unit_train[some] @ unit_train.T  # (n, H) x (H, N) -> (n, N)
    similarity[np.arange(len(some)), some] = -np.inf
    right = [
        (_vote(similarity, labels, k, num_classes) == labels[some]).mean() for k in _NEIGHBOURS
    ]
    best = _NEIGHBOURS[int(np.argmax(right))]
    return in_blocks(lambda rows: _vote(rows @ unit_train.T, labels, best, num_classes), unit_test)


PROBES: dict[str, Callable[[Floats, Integers, Floats, int, int], Integers]] = {
    "linear": _linear,
    "mlp": _mlp,
    "knn": _knn,
    "weighted": _weighted,
}


def _best_penalty(
    train: Floats, labels: Integers, fit: Integers, held_out: Integers, num_classes: int
) -> float:
    best, chosen, weights = (-1.0, 0.0), _PENALTIES[0], None
    for penalty in _PENALTIES:  # from strong to weak, each starting at the one before
        weights = _fit_logistic(train[fit], labels[fit], num_classes, penalty, weights)
        logits = torch.from_numpy(_logits(train[held_out], weights))
        found = _quality(logits, labels[held_out])
        if found > best:
            best, chosen = found, penalty
    return chosen


def _fit_logistic(
    features: Floats,
    labels: Integers,
    num_classes: int,
    penalty: float,
    start: Floats | None = None,
) -> Floats:
    """Return weights (H + 1, K), the last row the bias."""
    shape = (features.shape[1] + 1, num_classes)

    def loss(flat: Floats) -> tuple[float, Floats]:
        value, gradient, _ = _penalised(features, labels, flat.reshape(shape), penalty)
        return value, gradient.ravel()

    return _minimise(loss, np.zeros(shape) if start is None else start).reshape(shape)


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


def _winners(scores: Floats) -> Integers:
    return classes_of(scores)


def _minimise(function: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    from scipy.optimize import minimize

    options = {"maxiter": 100, "ftol": 1e-7, "gtol": 1e-5}
    found: Floats = minimize(
        function, start.ravel(), jac=True, method="L-BFGS-B", options=options
    ).x
    return found


def _softmax(values: Floats) -> Floats:
    odds = np.exp(values - values.max())
    shares: Floats = odds / odds.sum()
    return shares


def _train_mlp(
    features: Floats,
    labels: Integers,
    num_classes: int,
    epochs: int,
    held_out: tuple[Floats, Integers] | None,
) -> tuple[nn.Module, int]:
    """Return the model, and the epoch (1-based) that was best on `held_out` if there is one."""
    model = nn.Sequential(
        nn.Linear(features.shape[1], _HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(_HIDDEN, num_classes),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    inputs, targets = torch.from_numpy(features), torch.from_numpy(labels)
    best, best_epoch = (-1.0, 0.0), epochs
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in torch.split(torch.randperm(len(inputs)), _BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        model.eval()
        if held_out is not None:
            with torch.no_grad():
                found = _quality(model(torch.from_numpy(held_out[0])), held_out[1])
            if found > best:
                best, best_epoch = found, epoch
            elif epoch - best_epoch >= 10:
                break
    return model, best_epoch


def _quality(logits: Tensor, labels: Integers) -> tuple[float, float]:
    """Return accuracy and, to decide between equals, the negative cross-entropy."""
    targets = torch.from_numpy(labels)
    accuracy = (logits.argmax(dim=1) == targets).float().mean()
    return float(accuracy), -float(functional.cross_entropy(logits, targets))


def _vote(similarity: Floats, labels: Integers, k: int, num_classes: int) -> Integers:
    """Return the class (n,) with most of the k nearest; the nearer one decides between equals."""
    k = min(k, similarity.shape[1] - 1)
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]  # (n, N) -> (n, k)
    closeness = np.take_along_axis(similarity, nearest, axis=1)
    votes = np.zeros((len(similarity), num_classes))
    rows = np.repeat(np.arange(len(similarity)), k)
    np.add.at(votes, (rows, labels[nearest].ravel()), 1 + 1e-3 * closeness.ravel())
    return _winners(votes)


def _split(labels: Integers, seed: int) -> tuple[Integers, Integers]:
    """Return indices to fit on and a fifth to choose on; every class stays in the first."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    ranked = order[np.argsort(labels[order], kind="stable")]
    starts = np.searchsorted(labels[ranked], labels[ranked], side="left")
    held = (np.arange(len(ranked)) - starts) % 5 == 4
    if not held.any():  # fewer than five of every class: hold out a second one where there is one
        held = (np.arange(len(ranked)) - starts) == 1
    if not held.any():
        raise DataError("A probe needs at least two training utterances of some class.")
    return ranked[~held], ranked[held]
