from pathlib import Path

import numpy as np
import pytest

from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError
from spknorm.probe import Pooled, run_probe, verification
from spknorm.probe.arrays import Layers, scale_of
from spknorm.probe.audit.pooling import stored
from spknorm.probe.audit.questions import Question, sample
from spknorm.probe.erasure import erase, fit_leace
from spknorm.probe.verification import equal_error_rate


def standardise(train, test):
    scale = scale_of(train)
    return scale.apply(train), scale.apply(test)


def _planted(separation, *, num_classes=10, each=400, dim=16, seed=0):
    """Gaussian speakers whose Bayes classifier is known: the nearest true centre."""
    generator = np.random.default_rng(seed)
    centres = separation * generator.normal(size=(num_classes, dim))

    def draw(count):
        labels = np.repeat(np.arange(num_classes), count)
        noise = generator.normal(size=(len(labels), dim))
        return Pooled((5 + 3 * (centres[labels] + noise)).astype(np.float32), labels)

    train, test = draw(each), draw(100)
    distances = (((test.features - 5) / 3)[:, None] - centres) ** 2
    bayes = float((distances.sum(axis=-1).argmin(axis=1) == test.labels).mean())
    return train, test, bayes


@pytest.mark.parametrize("separation", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_probe_finds_what_a_bayes_classifier_would_within_3_points(kind, separation):
    train, test, bayes = _planted(separation)
    assert abs(run_probe(kind, train, test).score - bayes) < 0.03


@pytest.mark.parametrize("kind", ["linear", "mlp", "knn"])
def test_shuffled_labels_give_chance(kind):
    train, test, _ = _planted(1.0)
    control = run_probe(kind, train, test, control="shuffled")
    assert control.chance == pytest.approx(0.1)
    assert control.low <= control.chance + 0.03
    assert control.score < 0.15


def test_nearest_neighbours_find_well_separated_speakers():
    train, test, bayes = _planted(1.0)
    assert abs(run_probe("knn", train, test).score - bayes) < 0.05


def test_erased_features_give_chance_for_the_linear_probe():
    train, test, _ = _planted(0.5)
    eraser = fit_leace(train.features, train.labels)
    found = run_probe(
        "linear",
        Pooled(erase(train.features, eraser), train.labels),
        Pooled(erase(test.features, eraser), test.labels),
    )
    assert abs(found.score - 0.1) < 0.03


def test_what_erasure_left_of_nothing_is_not_blown_up():
    train, test, _ = _planted(0.5, num_classes=30, each=20)
    eraser = fit_leace(train.features, train.labels)
    erased = [Pooled(erase(p.features, eraser), p.labels) for p in (train, test)]
    for kind in ("linear", "mlp", "knn"):
        assert run_probe(kind, *erased).score == pytest.approx(1 / 30, abs=1e-9)
    assert run_probe("eer", *erased).score == pytest.approx(0.5)


def test_the_weighted_probe_finds_the_layer_that_knows():
    train, test, bayes = _planted(0.5)
    generator = np.random.default_rng(1)

    def hide(pooled):
        noise = generator.normal(size=(len(pooled.labels), 2, 16))
        layers = np.concatenate([noise, pooled.features[:, None]], axis=1)
        return Pooled(layers.astype(np.float32), pooled.labels)

    assert abs(run_probe("weighted", hide(train), hide(test)).score - bayes) < 0.05


def test_the_equal_error_rate_is_the_one_of_two_known_gaussians():
    scores = np.random.default_rng(0).normal(size=100_000)
    same = np.arange(len(scores)) % 2 == 0
    scores[same] += 2.0  # EER of N(2, 1) against N(0, 1) is Phi(-1)
    order = np.argsort(-scores)
    rate = equal_error_rate(scores[order], same[order], np.ones(len(scores)))
    assert rate == pytest.approx(0.15866, abs=0.005)


@pytest.mark.parametrize(
    ("scores", "same", "rate"),
    [
        ([3.0, 2.0, 1.0, 0.0], [True, True, False, False], 0.0),
        ([3.0, 2.0, 1.0, 0.0], [False, False, True, True], 1.0),
        ([1.0, 1.0, 1.0, 1.0], [True, True, False, False], 0.5),
        ([3.0, 2.0, 1.0, 0.0], [True, False, True, False], 0.5),
    ],
)
def test_the_equal_error_rate_of_a_few_trials(scores, same, rate):
    found = equal_error_rate(np.array(scores), np.array(same), np.ones(4))
    assert found == pytest.approx(rate)


def test_verification_knows_speakers_and_nothing_after_shuffling():
    train, test, _ = _planted(1.0)
    found = run_probe("eer", train, test)
    assert found.low <= found.score <= found.high < 0.25
    assert found.chance == 0.5
    control = run_probe("eer", train, test, control="shuffled")
    assert control.low <= 0.5 <= control.high


@pytest.mark.parametrize("probe", ["linear", "knn", "eer"])
@pytest.mark.parametrize(("speakers", "has"), [(2, False), (3, False), (4, True)])
def test_of_too_few_speakers_no_probe_has_an_interval(probe, speakers, has):
    draw = np.random.default_rng(0)
    labels = np.arange(12 * speakers) % speakers
    parts = [
        Pooled(draw.normal(labels[:, None], 1.0, (len(labels), 8)).astype(np.float32), labels)
        for _ in range(2)
    ]
    found = run_probe(probe, *parts)
    assert 0 <= found.score <= 1
    assert (found.low is not None, found.high is not None) == (has, has)


def test_many_utterances_are_verified_on_drawn_trials(monkeypatch):
    train, test, _ = _planted(1.0)
    every = run_probe("eer", train, test)
    monkeypatch.setattr(verification, "MAX_TRIALS", 10_000)
    drawn = run_probe("eer", train, test)
    assert drawn.n <= 20_000 < every.n
    assert drawn.score == pytest.approx(every.score, abs=0.01)


@pytest.mark.parametrize("kind", ["linear", "mlp", "knn", "eer"])
def test_the_same_seed_gives_the_same_score(kind):
    train, test, _ = _planted(0.5, each=40)
    assert run_probe(kind, train, test, seed=3) == run_probe(kind, train, test, seed=3)


def test_a_probe_leaves_the_global_random_state_alone():
    import torch

    train, test, _ = _planted(0.5, each=40)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run_probe("mlp", train, test)
    assert torch.rand(1) == expected


def test_the_interval_draws_whole_clusters():
    train, test, _ = _planted(0.5)
    by_utterance = run_probe("linear", train, test._replace(clusters=np.arange(len(test.labels))))
    by_speaker = run_probe("linear", train, test)
    assert by_speaker.score == by_utterance.score
    width = by_utterance.high - by_utterance.low
    assert by_speaker.high - by_speaker.low > 2 * width


def test_chance_is_what_the_most_frequent_class_gives():
    train, test, _ = _planted(0.5, num_classes=2, each=50)
    keep = np.r_[0:50, 50:60]
    uneven = Pooled(train.features[keep], train.labels[keep])
    found = run_probe("linear", uneven, Pooled(test.features[:150], test.labels[:150]))
    assert found.chance == pytest.approx(100 / 150)


def test_a_flat_dimension_stays_flat():
    train = np.array([[1.0, 3.0], [2.0, 3.0]], dtype=np.float32)
    scaled, _ = standardise(train, train)
    assert scaled.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


_GOOD = Pooled(np.eye(6, dtype=np.float32), np.array([0, 0, 0, 1, 1, 1]))


@pytest.mark.parametrize(
    ("kind", "control", "train", "test", "error", "message"),
    [
        (
            "svm",
            None,
            _GOOD,
            _GOOD,
            ConfigError,
            "A probe is one of linear, mlp, knn, weighted, eer, but not 'svm'.",
        ),
        (
            "linear",
            "chance",
            _GOOD,
            _GOOD,
            ConfigError,
            "A control is None or 'shuffled', but not 'chance'.",
        ),
        (
            "linear",
            None,
            _GOOD,
            Pooled(_GOOD.features, _GOOD.labels[:2]),
            DataError,
            "The test features have shape (6, 6) and 2 labels; the probe linear takes (N, H) and N "
            "labels, N at least 1.",
        ),
        (
            "linear",
            None,
            Pooled(_GOOD.features + np.inf, _GOOD.labels),
            _GOOD,
            DataError,
            "The training features hold NaN or infinity.",
        ),
        (
            "linear",
            None,
            _GOOD,
            Pooled(_GOOD.features[:, :3], _GOOD.labels),
            DataError,
            "Training features (6, 6) and test features (6, 3) must agree but for the number of "
            "utterances.",
        ),
        (
            "linear",
            None,
            _GOOD,
            Pooled(_GOOD.features, _GOOD.labels + 1),
            DataError,
            "1 of the test classes have no training utterance; a probe cannot name them.",
        ),
        (
            "linear",
            None,
            Pooled(_GOOD.features, _GOOD.labels * 0),
            Pooled(_GOOD.features, _GOOD.labels * 0),
            DataError,
            "A probe needs at least two classes.",
        ),
        (
            "mlp",
            None,
            Pooled(_GOOD.features[2:4], np.array([0, 1])),
            _GOOD,
            DataError,
            "A probe needs at least two training utterances of some class.",
        ),
        (
            "eer",
            None,
            _GOOD,
            Pooled(_GOOD.features[2:4], np.array([0, 1])),
            DataError,
            "Verification needs two speakers and two utterances of one of them in the test set.",
        ),
    ],
)
def test_what_cannot_be_probed_is_refused(kind, control, train, test, error, message):
    with pytest.raises(error) as caught:
        run_probe(kind, train, test, control=control)
    assert str(caught.value) == message


def test_a_weighted_probe_of_mapped_arrays_is_that_of_the_array(tmp_path):
    """As an audit's cache has them: read a layer at a time, given back as it goes."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    places = generator.normal(0, 1, (4, 3, 8))
    features = (places[labels] + generator.normal(0, 1, (120, 3, 8))).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    test = np.arange(120) % 5 == 0
    found = []
    for source in (Layers.of(features), stored([mapped[row : row + 1] for row in range(120)])):
        parts = [Pooled(source[np.flatnonzero(rows)], labels[rows]) for rows in (~test, test)]
        found.append(run_probe("weighted", *parts))
    assert found[0] == found[1]
    assert found[0].score > 0.8
    assert found[0] == run_probe(
        "weighted",
        Pooled(features[~test], labels[~test]),
        Pooled(features[test], labels[test]),
    )


def test_features_are_standardised_block_by_block_as_in_one_piece(monkeypatch):
    features = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    features[:, 2] = 7.0
    whole = standardise(features, features[:5])
    monkeypatch.setattr("spknorm.probe.arrays._BLOCK_ROWS", 7)
    pieces = standardise(features, features[:5])
    for one, other in zip(whole, pieces, strict=True):
        assert np.allclose(one, other, atol=1e-6)
    assert not whole[0][:, 2].any()


def test_a_sample_takes_the_same_share_of_every_class_and_loses_none():
    classes = np.repeat(np.arange(5), [400, 200, 100, 8, 2])
    truth = np.repeat(np.arange(5), [40, 20, 10, 1, 1])
    parts = [
        tuple(Utterance(id=f"{part}{n}", path=Path("x")) for n in range(len(labels)))
        for part, labels in (("a", classes), ("b", truth))
    ]
    question = Question("speaker", "speaker", *parts, classes, truth, truth)
    drawn = sample(question, 391, seed=1)
    assert np.bincount(drawn.classes).tolist() == [200, 100, 50, 4, 2]
    assert np.bincount(drawn.truth).tolist() == [20, 10, 5, 1, 1]
    assert drawn.held_out == 72
    assert [int(u.id[1:]) for u in drawn.test] == sorted(int(u.id[1:]) for u in drawn.test)
    assert np.array_equal(drawn.classes, classes[[int(u.id[1:]) for u in drawn.train]])
    assert sample(question, 391, seed=1).train == drawn.train
    assert sample(question, 391, seed=2).train != drawn.train
    assert sample(question, None, seed=1).train == question.train
