import numpy as np
import pytest
import torch
from concept_erasure import LeaceEraser

from spknorm.errors import ConfigError, DataError
from spknorm.probe.erasure import (
    check_variance_left,
    count_directions,
    erase,
    erase_layers,
    fit_layers,
    fit_leace,
    normalise_layers,
    normalise_per_speaker,
)


def _speakers(seed=0, num_speakers=6, each=50, dim=12):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_speakers), each)
    centres = generator.normal(size=(num_speakers, dim))
    mixing = generator.normal(size=(dim, dim))
    return (centres[labels] + generator.normal(size=(len(labels), dim))) @ mixing + 4, labels


def test_the_eraser_is_the_one_of_the_reference_implementation():
    features, labels = _speakers()
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels)).double()
    reference = LeaceEraser.fit(torch.from_numpy(features), one_hot, shrinkage=False, svd_tol=1e-6)
    ours = erase(features, fit_leace(features, labels))
    assert np.abs(ours - reference(torch.from_numpy(features)).numpy()).max() < 1e-9


def test_after_erasure_all_speakers_have_the_same_mean():
    features, labels = _speakers()
    erased = erase(features, fit_leace(features, labels))
    means = np.stack([erased[labels == speaker].mean(axis=0) for speaker in range(6)])
    assert np.abs(means - features.mean(axis=0)).max() < 1e-9


def test_erasure_leaves_what_says_nothing_of_the_speaker():
    features, labels = _speakers()
    generator = np.random.default_rng(1)
    silent = generator.normal(size=(len(labels), 1))
    for speaker in range(6):
        silent[labels == speaker] -= silent[labels == speaker].mean()
    joined = np.hstack([features, silent])
    # Only the part that correlates with what is erased may move, and within speakers nothing does.
    erased = erase(joined, fit_leace(joined, labels))
    assert np.abs(erased[:, -1] - silent[:, 0]).max() < 1e-9


def test_rank_erases_the_strongest_directions_alone():
    features, labels = _speakers()
    eraser = fit_leace(features, labels, rank=2)
    assert eraser.rank == 2
    assert np.linalg.matrix_rank(eraser.matrix, tol=1e-8) == 2
    assert fit_leace(features, labels).rank == 5


@pytest.mark.parametrize("dim", [12, 400])
@pytest.mark.parametrize("present", [0, 3])
def test_directions_count_that_tell_speakers_apart_more_than_permuted_ones_do(dim, present):
    """Also where dimensions are nearly as many as the 480 rows."""
    generator = np.random.default_rng(2)
    labels = np.repeat(np.arange(40), 12)
    features = generator.normal(size=(len(labels), dim))
    features[:, :present] += 4 * generator.normal(size=(40, present))[labels]
    assert count_directions(features, labels) == present
    assert count_directions(features, generator.permutation(labels)) == 0
    assert fit_leace(features, labels, rank="auto").rank == present


def test_of_permuted_speakers_an_erasure_of_its_own_choice_takes_nothing():
    features, labels = _speakers(num_speakers=30, dim=8)
    shuffled = np.random.default_rng(3).permutation(labels)
    assert np.array_equal(erase(features, fit_leace(features, shuffled, rank="auto")), features)
    assert fit_leace(features, shuffled).rank == 8  # a rank of one's own, or all: chance, too


def test_with_more_speakers_than_dimensions_nothing_is_left():
    features, labels = _speakers(num_speakers=30, dim=8)
    erased = erase(features, fit_leace(features, labels))
    assert np.abs(erased - features.mean(axis=0)).max() < 1e-6


def test_erasing_keeps_the_type_and_copes_with_a_dimension_that_never_varies():
    features, labels = _speakers()
    features[:, 3] = 7.0
    single = features.astype(np.float32)
    erased = erase(single, fit_leace(single, labels))
    assert erased.dtype == np.float32
    assert np.allclose(erased[:, 3], 7.0)


def test_z_normalisation_gives_each_speaker_mean_zero_and_deviation_one():
    features, labels = _speakers()
    features[:, 0] = labels
    normalised = normalise_per_speaker(features, [f"speaker {label}" for label in labels])
    for speaker in range(6):
        own = normalised[labels == speaker]
        assert np.allclose(own.mean(axis=0), 0, atol=1e-9)
        assert np.allclose(own[:, 1:].std(axis=0), 1)
        assert (own[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((4, 2)), [0, 0, 0, 0], "Erasure needs at least two classes."),
        (
            np.ones((4, 2)),
            [0, 1],
            "Features of shape (4, 2) and labels of shape (2,): "
            "expected (N, H) and (N,), N at least 1.",
        ),
        (np.array([[np.nan], [1.0]]), [0, 1], "The features hold NaN or infinity."),
    ],
)
def test_what_cannot_be_erased_is_refused(features, labels, message):
    with pytest.raises(DataError) as caught:
        fit_leace(features, labels)
    assert str(caught.value) == message


def _layer_normed(num_speakers, dim=16, each=6):
    features, labels = _speakers(num_speakers=num_speakers, each=each, dim=dim)
    features -= features.mean(axis=1, keepdims=True)
    return (features / features.std(axis=1, keepdims=True))[:, None], labels  # rank dim - 1


@pytest.mark.parametrize("num_speakers", [16, 17, 40])
def test_an_erasure_that_leaves_nothing_is_an_error_and_no_baseline(num_speakers):
    features, labels = _layer_normed(num_speakers)
    erasers = fit_layers(features, labels)
    assert erasers[0].rank == 15  # less than the 16 dimensions, and yet all there are
    erased = erase_layers(features, erasers)
    with pytest.raises(ConfigError) as caught:
        check_variance_left(features, erased, num_classes=num_speakers)
    told = str(caught.value)
    assert told.startswith(f"LEACE of {num_speakers} speakers leaves ")
    assert "which have 16 dimensions (the least is 0.01)" in told
    assert "Set config.downstream_expert.spknorm.erasure_rank" in told


def test_an_erasure_of_some_directions_leaves_enough():
    features, labels = _layer_normed(40)
    erased = erase_layers(features, fit_layers(features, labels, rank=3))
    assert 0.01 < check_variance_left(features, erased, num_classes=40) < 1


def test_one_layer_of_several_that_is_erased_whole_is_enough_for_an_error():
    features, _ = _layer_normed(6)
    erased = np.concatenate([features, features.mean(axis=0, keepdims=True) + 0 * features], axis=1)
    with pytest.raises(ConfigError, match=r"leaves \d\.\de-\d+ of|leaves 0\.0e"):
        check_variance_left(np.repeat(features, 2, axis=1), erased, num_classes=6)


def test_z_normalisation_of_a_speaker_with_one_utterance_is_refused():
    features = np.random.default_rng(0).normal(size=(5, 2, 3))
    with pytest.raises(DataError) as caught:
        normalise_layers(features, ["a", "a", "b", "c", "c"])
    assert str(caught.value) == (
        "z-normalisation takes each speaker's own mean out, which leaves nothing of a single "
        "utterance; 1 of 3 speakers have one alone (such as b). Leave them out, or choose another "
        "baseline."
    )
    assert normalise_layers(features[[0, 1, 3, 4]], ["a", "a", "c", "c"]).shape == (4, 2, 3)
