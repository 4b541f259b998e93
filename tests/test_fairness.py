"""How unequally speakers are served: numbers, intervals, tests, and where the report shows them."""

import csv
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_results import make_bench

from spknorm import report
from spknorm.errors import DataError
from spknorm.statistics import fairness
from spknorm.statistics.agreement import concordance, sums_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))


def speakers(*recalls, size=400):
    """Two classes; the first is always right, so that UA is (1 + recall) / 2."""
    return {
        f"s{number}": [[size, 0], [size - round(size * recall), round(size * recall)]]
        for number, recall in enumerate(recalls)
    }


EIGHT = (0.2, 0.4, 0.5, 0.5, 0.6, 0.6, 0.7, 0.9)


def test_the_measures_of_known_speakers_are_what_their_names_say():
    found = fairness.measure(speakers(*EIGHT))
    accuracies = [(1 + recall) / 2 for recall in EIGHT]
    assert found["worst"] == pytest.approx(0.6)
    assert found["worst_few"] == pytest.approx((0.6 + 0.7) / 2)  # a quarter of eight
    assert found["spread"] == pytest.approx(0.35)
    pairs = [abs(a - b) for a in accuracies for b in accuracies]
    assert found["gini"] == pytest.approx(np.mean(pairs) / (2 * np.mean(accuracies)))


def test_a_class_that_a_speaker_does_not_have_counts_for_nothing():
    only = {"s0": [[8, 2], [0, 0]], "s1": [[10, 0], [0, 10]]}
    assert fairness.measure(only)["worst"] == pytest.approx(0.8)


def test_intervals_lie_around_and_depend_on_neither_order_nor_call():
    by_speaker = speakers(*EIGHT)
    found = fairness.intervals(by_speaker)
    assert all(one.low < one.value < one.high for one in found.values())
    turned = dict(reversed(list(by_speaker.items())))
    assert fairness.intervals(turned) == found


def test_the_worst_of_few_utterances_is_less_sure_than_of_many():
    few, many = (fairness.intervals(speakers(*EIGHT, size=size)) for size in (10, 1000))
    for name in fairness.MEASURES:
        assert few[name].high - few[name].low > many[name].high - many[name].low


def rated(offset, *, size=60, seed=0):
    """The six sums of a speaker whose predictions are off by an offset."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(size, 1))
    return sums_of(truth, 0.7 * truth + offset + 0.6 * generator.normal(size=(size, 1)))[0]


def raters(*offsets, size=60):
    return {f"s{n}": rated(one, size=size, seed=n) for n, one in enumerate(offsets)}


OFFSETS = (0.0, 0.1, -0.2, 0.3, -0.5, 0.6, 0.9, 1.4)


def test_the_measures_of_ccc_are_those_of_the_speakers_ccc():
    values = sorted(float(concordance(one)) for one in raters(*OFFSETS).values())
    assert fairness.measure(raters(*OFFSETS), "ccc") == pytest.approx(
        {"worst": values[0], "worst_few": np.mean(values[:2]), "spread": values[-1] - values[0]}
    )


def test_intervals_of_ccc_lie_around_and_are_wider_of_few_utterances():
    found = fairness.intervals(raters(*OFFSETS), "ccc")
    assert all(one.low < one.value < one.high for one in found.values())
    turned = dict(reversed(list(raters(*OFFSETS).items())))
    assert fairness.intervals(turned, "ccc") == found
    few, many = (fairness.intervals(raters(*OFFSETS, size=size), "ccc") for size in (10, 1000))
    for name in fairness.MEASURES_OF_CCC:
        assert few[name].high - few[name].low > many[name].high - many[name].low


def test_new_speakers_vary_as_those_who_were_heard():
    """Mean and deviation of Fisher's z; at times the lowest of ten is lower than any was."""
    z = np.linspace(0.2, 1.0, 10)
    drawn = fairness._drawn_ccc(np.tanh(z), 20_000, 0)
    assert drawn.shape == (20_000, 10)
    again = np.arctanh(drawn)
    assert again.mean() == pytest.approx(z.mean(), abs=0.01)
    assert again.std() == pytest.approx(z.std(ddof=1), abs=0.01)
    assert np.mean(drawn.min(axis=1) < np.tanh(z.min())) > 0.2


def test_a_ccc_of_one_is_drawn_without_infinity():
    assert np.isfinite(fairness._drawn_ccc(np.array([1.0, 0.9, 0.8, -1.0]), 50, 0)).all()


@pytest.mark.parametrize("flat", ["truth", "predicted", "both"])
def test_a_speaker_of_whom_nothing_varies_gives_no_nan(flat):
    truth, predicted = np.random.default_rng(0).normal(size=(2, 30, 1))
    one = sums_of(0 * truth if flat != "predicted" else truth, 0 * predicted
                  if flat != "truth" else predicted)[0]  # fmt: skip
    found = fairness.intervals({**raters(*OFFSETS), "odd": one}, "ccc")
    assert all(np.isfinite([one.low, one.value, one.high]).all() for one in found.values())


def test_speakers_who_are_alike_are_not_told_to_differ_by_anything_up_to_two():
    found = fairness.intervals(raters(*[0.0] * 10, size=100), "ccc")["spread"]
    assert found.low < found.value < found.high < 0.6


def test_an_interval_of_ccc_over_few_speakers_is_refused():
    with pytest.raises(
        DataError, match=r"^An interval over speakers needs \d of them, but there are 2\.$"
    ):
        fairness.intervals(raters(0.0, 0.1), "ccc")


def test_a_method_that_lifts_every_speaker_helps_the_worst_and_one_that_swaps_them_does_not():
    lifted = fairness.compare(speakers(*(recall + 0.1 for recall in EIGHT)), speakers(*EIGHT))
    for found in lifted.values():
        assert found.difference == pytest.approx(0.05)
        assert found.low > 0
        assert found.p_bootstrap < 0.05
    swapped = fairness.compare(speakers(*reversed(EIGHT)), speakers(*EIGHT))
    for found in swapped.values():
        assert found.difference == 0.0
        assert found.p_bootstrap == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: fairness.intervals(speakers(0.5, 0.5, 0.5)),
            "An interval over speakers needs 4 of them, but there are 3.",
        ),
        (
            lambda: fairness.compare(speakers(*EIGHT), speakers(*EIGHT[1:])),
            "A paired test needs the same speakers on both sides; unpaired: s7.",
        ),
        (lambda: fairness.measure({}), "There is no speaker to compare."),
    ],
)
def test_what_has_no_answer_is_refused(call, text):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == text


@pytest.mark.slow
def test_two_stages_cover_more_and_err_less_than_drawing_speakers_alone():
    from coverage_of_fairness import simulate

    found = simulate(10, 100, num_datasets=60)["worst"]
    assert found["coverage"] > found["coverage_of_one_stage"]
    assert found["coverage"] > 0.8
    assert found["false_positives"] < 0.1


def test_the_report_tells_the_worst_the_quarter_gini_and_spread_in_every_form(
    tmp_path, no_pictures
):
    make_bench(tmp_path, seeds=(0, 1), probes=False, features=False)
    report.build(tmp_path)
    markdown, page, latex = (
        (tmp_path / name).read_text() for name in ("table.md", "report.html", "table.tex")
    )
    for title in ("Among speakers, protocol si5", "Does it help the worst speaker? Protocol si5"):
        assert f"## {title}\n" in markdown
        assert title in page
        assert f"\\caption{{{title}." in latex
    rows = [line.split(" | ") for line in markdown.splitlines() if line.startswith("| hubert")]
    (level,) = [row for row in rows if row[1] == "TAP" and "3 of 10" in row[3]]
    assert re.fullmatch(r"Ses0\d\\_[FM] \d\d\.\d \(\d\d\.\d to \d\d\.\d\)", level[2])
    assert re.search(
        r"TAP: worst Ses0\d_[FM] \d\d\.\d \(\d\d\.\d to \d\d\.\d\), worst quarter", page
    )
    assert page.index('<section id="speakers"') < page.index("Does it help the worst speaker")
    with io.StringIO((tmp_path / "table.csv").read_text()) as file:
        records = {(row["method"], row["metric"]): row for row in csv.DictReader(file)}
    for name in fairness.MEASURES:
        assert float(records["none", f"ua_{name}"]["low"]) < float(
            records["none", f"ua_{name}"]["pooled"]
        )
    test = records["TAP", "ua_worst"]
    gained = float(test["pooled"]) - float(records["none", "ua_worst"]["pooled"])
    assert float(test["difference"]) == pytest.approx(gained)
    assert test["pairs"] == "10"
    assert records["TAP", "ua_gini"]["difference"] == ""


def test_of_too_few_speakers_there_are_numbers_without_intervals_and_no_test(tmp_path, no_pictures):
    make_bench(tmp_path, num_folds=1, probes=False, features=False)
    report.build(tmp_path)
    markdown = (tmp_path / "table.md").read_text()
    assert re.search(r"\| none \| Ses01\\_[FM] \d\d\.\d \| \d\d\.\d, 1 of 2 \|", markdown)
    assert "Does it help the worst speaker" not in markdown
