"""Scores against scikit-learn's own functions and against cases worked out by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from spknorm.errors import ConfigError, DataError
from spknorm.statistics.metrics import confusion_matrix, measure, only_class, score_confusion

LABELS = st.integers(min_value=0, max_value=3)


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=60))
def test_scores_equal_those_of_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    scores = score_confusion(confusion_matrix(truth, predicted, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns of predicted classes without truth
        assert scores.wa == pytest.approx(accuracy_score(truth, predicted))
        assert scores.ua == pytest.approx(balanced_accuracy_score(truth, predicted))
        assert scores.macro_f1 == pytest.approx(
            f1_score(truth, predicted, average="macro", zero_division=0)
        )
    assert scores.n == len(pairs)
    expected = sklearn_confusion(truth, predicted, labels=range(4))
    assert scores.confusion.tolist() == expected.tolist()


def test_unweighted_accuracy_leaves_out_classes_without_an_utterance():
    scores = score_confusion(confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], 4))
    assert scores.wa == 0.75
    assert scores.ua == pytest.approx((2 / 3 + 1) / 2)


def test_scores_are_plain_floats_that_json_accepts():
    scores = score_confusion(confusion_matrix([0, 1], [0, 1], 2))
    assert [type(value) for value in scores[:4]] == [float, float, float, int]


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match=r"^There is no utterance to score\.$"):
        score_confusion(confusion_matrix([], [], 4))


def test_lengths_that_differ_are_an_error():
    with pytest.raises(DataError, match=r"^There are 2 true labels but 1 predictions\.$"):
        score_confusion(confusion_matrix([0, 1], [0], 4))


def test_an_index_outside_the_classes_is_an_error():
    message = r"^Class indices run from 0 to 3, but 0 to 4 were given\.$"
    with pytest.raises(DataError, match=message):
        confusion_matrix([0, 4], [0, 1], 4)


def test_a_matrix_that_is_not_square_is_an_error():
    message = r"^A confusion matrix is square, but this one has shape \(1, 2\)\.$"
    with pytest.raises(DataError, match=message):
        score_confusion([[1, 2]])


def test_many_matrices_are_measured_at_once_as_each_alone():
    stack = np.random.default_rng(0).integers(0, 5, (6, 4, 4))
    stack[0, 2] = 0
    for metric in ("wa", "ua", "macro_f1"):
        alone = [getattr(score_confusion(one), metric) for one in stack]
        assert measure(stack, metric).tolist() == alone


def test_an_unknown_metric_is_an_error():
    message = r"^`metric` must be one of wa, ua, macro_f1, but is `acc`\.$"
    with pytest.raises(ConfigError, match=message):
        measure(np.eye(2), "acc")


def test_one_class_alone_is_told_where_there_were_several():
    assert only_class([[0, 3], [0, 2]]) == 1
    assert only_class([[1, 2], [0, 2]]) is None
    assert only_class([[0, 0], [0, 2]]) is None  # all there was
