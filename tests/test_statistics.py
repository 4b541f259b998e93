"""Statistics against known answers, the paper's curves and simulated speakers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spknorm.errors import DataError
from spknorm.statistics import (
    compare,
    holm,
    interval,
    mean_std,
    pool_speakers,
    speaker_spread,
    wilcoxon,
)
from spknorm.statistics.curves import normalised_auc, paper_auc
from spknorm.statistics.metrics import score_confusion

POINTS = [50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
# HuBERT Large, digitised from the paper's figure 2 to +-0.1
CURVES = {
    63.9: [57.2, 59.0, 63.2, 66.1, 67.9, 67.1, 69.0, 69.9, 71.1, 70.8, 71.4],
    64.2: [54.2, 59.6, 64.2, 65.7, 67.9, 67.8, 70.2, 69.2, 70.3, 72.2, 72.0],
    64.9: [58.9, 60.6, 64.6, 66.9, 68.1, 68.9, 69.9, 70.8, 71.4, 72.1, 72.1],
}
BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "coverage_of_intervals.py"


def simulate(**options):
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.simulate(**options)


def speakers(*rights, n=10):
    """Two classes of n utterances each; `rights` of both are right, speaker by speaker."""
    return {f"s{i}": [[k, n - k], [n - k, k]] for i, k in enumerate(rights)}


@pytest.mark.parametrize("expected", CURVES)
def test_the_auc_of_the_papers_curves_is_the_papers_auc(expected):
    assert paper_auc(POINTS, CURVES[expected]) == pytest.approx(expected, abs=0.1)


def test_a_perfect_classifier_scores_95_by_the_papers_auc_and_100_by_the_normalised_one():
    assert paper_auc(POINTS, [100.0] * 11) == pytest.approx(95)
    assert normalised_auc(POINTS, [100.0] * 11) == pytest.approx(100)


@pytest.mark.parametrize("points", [[50, 100], [50, 1000, 900], [100, 1000], [1000], []])
def test_a_curve_with_other_ends_has_no_auc_of_the_papers(points):
    assert paper_auc(points, [50.0] * len(points)) is None


@pytest.mark.parametrize(("points", "area"), [([5, 20], 50.0), ([7], None), ([], None)])
def test_the_normalised_auc_is_of_any_width(points, area):
    assert normalised_auc(points, [50.0] * len(points)) == area


@pytest.mark.parametrize("metric", ["wa", "ua"])
def test_intervals_cover_95_percent_of_simulated_corpora_and_the_test_keeps_its_level(metric):
    rates = simulate(num_datasets=500, metric=metric, num_resamples=300)
    assert 0.92 <= rates.coverage <= 0.98
    assert 0.03 <= rates.false_positives <= 0.07
    assert rates.coverage_over_utterances < 0.80
    assert rates.coverage_of_percentiles < 0.92


def test_a_real_difference_between_variants_is_found():
    generator = np.random.default_rng(0)
    base = generator.integers(40, 70, 10)
    old = speakers(*base, n=100)
    new = speakers(*(base + 8 + generator.integers(-3, 4, 10)), n=100)
    found = compare({("fold1", 0): new}, {("fold1", 0): old}, "ua")
    assert found.difference == pytest.approx(0.08, abs=0.02)
    assert found.low > 0
    assert found.p_bootstrap < 0.001


def test_variants_that_agree_on_every_speaker_differ_by_nothing():
    same = {("fold1", 0): speakers(3, 5, 9, 7)}
    assert compare(same, same, "wa") == (0.0, 0.0, 0.0, 1.0, 1.0, 4, 1)


def test_a_difference_that_is_the_same_for_every_speaker_is_as_sure_as_their_number():
    found = compare({1: speakers(5, 6, 7, 8)}, {1: speakers(4, 5, 6, 7)}, "wa")
    assert found.difference == pytest.approx(0.1)
    assert found.p_bootstrap == 2 / 2**4  # of all ways to flip their signs two are as far out


def test_the_wilcoxon_pairs_runs_and_is_scipys():
    rights = np.random.default_rng(1).integers(2, 9, (2, 10, 4))
    new, old = ({i: speakers(*row) for i, row in enumerate(side)} for side in rights)
    wa = [
        [score_confusion(sum(map(np.array, one.values()))).wa for one in s.values()]
        for s in (new, old)
    ]
    expected = stats.wilcoxon(np.round(np.subtract(*wa), 12)).pvalue
    found = compare(new, old, "wa")
    assert found.p_wilcoxon == pytest.approx(expected)
    assert found.num_pairs == 10


def test_five_folds_of_one_seed_cannot_be_significant_by_wilcoxon():
    assert wilcoxon([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx(1 / 16)
    assert wilcoxon([0.0, 0.0]) == 1.0


def test_the_value_of_an_interval_is_the_metric_over_all_utterances():
    counts = speakers(3, 5, 9, 7)
    total = score_confusion(sum(np.array(one) for one in counts.values()))
    for metric in ("wa", "ua", "macro_f1"):
        found = interval(counts, metric)
        assert found.value == pytest.approx(getattr(total, metric))
        assert 0 < found.low < found.value < found.high < 1


def test_an_interval_depends_on_neither_the_order_of_speakers_nor_the_call():
    counts = speakers(3, 5, 9, 7)
    backwards = dict(reversed(counts.items()))
    assert interval(counts, "ua") == interval(backwards, "ua") == interval(counts, "ua")


@pytest.mark.parametrize("rights", [10, 0])
def test_an_interval_of_all_or_nothing_has_exact_bounds_over_speakers(rights):
    found = interval(speakers(*[rights] * 4), "wa")
    exact = stats.binomtest(4 * rights // 10, 4).proportion_ci(0.95, "exact")
    assert found == pytest.approx((rights / 10, exact.low, exact.high))


def test_a_wider_level_gives_a_wider_interval():
    narrow, wide = (interval(speakers(3, 5, 9, 7), "wa", level=level) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_confusions_of_a_speaker_add_up_over_runs():
    pooled = pool_speakers([speakers(3, 4), {"s1": [[1, 0], [0, 1]], "a": [[1, 0], [0, 0]]}])
    assert list(pooled) == ["a", "s0", "s1"]
    assert pooled["s1"].tolist() == [[5, 6], [6, 5]]


def test_the_worst_speaker_and_the_spread_are_named():
    spread = speaker_spread(speakers(9, 4, 6))
    assert spread.worst == "s1"
    assert spread.worst_ua == pytest.approx(0.4)
    assert spread.spread == pytest.approx(0.5)


def test_mean_and_deviation_over_runs_use_n_minus_1():
    assert mean_std([1.0, 3.0]) == (2.0, pytest.approx(2**0.5), 2)
    assert mean_std([0.5]) == (0.5, 0.0, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_std([]), "There is no run to average."),
        (lambda: speaker_spread({}), "There is no speaker to compare."),
        (
            lambda: interval(speakers(3), "wa"),
            "An interval over speakers needs 4 of them, but there is 1.",
        ),
        (
            lambda: interval(speakers(0, 10), "wa"),
            "An interval over speakers needs 4 of them, but there are 2.",
        ),
        (
            lambda: compare({1: speakers(3, 4, 5)}, {1: speakers(4, 5, 6)}, "wa"),
            "An interval over speakers needs 4 of them, but there are 3.",
        ),
        (
            lambda: compare({1: speakers(3)}, {2: speakers(3)}, "wa"),
            "A paired test needs the same runs on both sides; unpaired: 1.",
        ),
        (
            lambda: compare({1: speakers(3, 4)}, {1: speakers(3, 4, 5)}, "wa"),
            "A paired test needs the same speakers on both sides; unpaired: s2.",
        ),
    ],
)
def test_input_without_an_answer_is_refused(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message
