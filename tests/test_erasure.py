import numpy as np
import pytest
import torch
from concept_erasure import LeaceEraser

from spknorm.erasure import erase, fit_leace, normalise_per_speaker
from spknorm.errors import DataError


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
