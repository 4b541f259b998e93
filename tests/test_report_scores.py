"""What the averages, intervals, tests and curves of a report are."""

import json

import numpy as np
import pytest
from fake_results import make_bench, set_keys, write

from spknorm import report, runs
from spknorm.report.blocks import records
from spknorm.report.score_tables import (
    accuracy_table,
    adversary_table,
    comparison_table,
    paper_table,
)
from spknorm.report.scores import chance_of, score_blocks, shared_runs
from spknorm.statistics import compare, holm


def blocks_of(folder):
    return score_blocks(runs.read(folder))


def test_averages_are_those_of_the_result_files(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), features=False, probes=False)
    [block] = blocks_of(tmp_path)
    for found in block.estimates:
        results = [
            json.loads(path.read_text())["test"]
            for path in tmp_path.rglob("result.json")
            if f"-{found.method.strategy}-" in path.parent.name
        ]
        for metric in ("wa", "ua", "macro_f1"):
            values = [result[metric] for result in results]
            assert found.scores[metric].mean == pytest.approx(np.mean(values))
            assert found.scores[metric].std == pytest.approx(np.std(values, ddof=1))
        hits = sum(np.trace(result["confusion"]) for result in results)
        assert found.scores["wa"].pooled == pytest.approx(hits / sum(r["n"] for r in results))
        worst = found.spread.worst
        counts = np.sum([r["by_speaker"][worst] for r in results if worst in r["by_speaker"]], 0)
        assert found.spread.worst_ua == pytest.approx(np.mean(counts.diagonal() / counts.sum(1)))


def test_comparisons_pair_the_runs_that_both_have_and_are_corrected_over_the_table(tmp_path):
    make_bench(tmp_path, features=False, probes=False)
    (tmp_path / "hubert_large_ll60k-TAP-lambda0.001-si5-fold2-seed0" / "result.json").unlink()
    [block] = blocks_of(tmp_path)
    none, snp, tap = (one.scores["wa"].test for one in block.estimates)
    assert none is None
    assert (snp.num_pairs, tap.num_pairs) == (5, 4)
    plain = [
        compare(*shared_runs(one, block.estimates[0], "by_speaker"), "wa").p_bootstrap
        for one in block.estimates[1:]
    ]
    assert snp.p_bootstrap >= plain[0]
    assert max(snp.p_bootstrap, tap.p_bootstrap) >= max(plain)
    assert [snp.p_bootstrap, tap.p_bootstrap] == pytest.approx(holm(plain))
    table = comparison_table(block)
    assert [row.cells[-1] for row in table.rows] == ["5", "4"]
    assert "over the 2 tests" in table.notes[0]


def test_without_speakers_there_is_no_interval_and_no_test(tmp_path):
    make_bench(tmp_path, features=False, probes=False)
    for path in tmp_path.rglob("result.json"):
        content = json.loads(path.read_text())
        del content["test"]["by_speaker"]
        write(path, content)
    [block] = blocks_of(tmp_path)
    assert comparison_table(block).rows == ()
    table = accuracy_table(block)
    assert {row.cells[3] for row in table.rows} == {"no interval"}
    assert table.notes[1] == "No interval, and no test: its result files name no speakers."


def test_chance_is_the_largest_class_and_one_over_the_number_of_classes(tmp_path):
    make_bench(tmp_path, num_folds=1, features=False, probes=False)
    path = min(tmp_path.rglob("result.json"))
    content = json.loads(path.read_text())
    counts = [[6, 0, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    content["test"] |= {"confusion": counts, "n": 10, "wa": 0.9, "by_speaker": {}}
    write(path, content)
    table = runs.frame(tmp_path)
    assert chance_of(table[table["n"] == 10]) == (0.6, pytest.approx(1 / 3), "neu")


def test_a_curve_averages_folds_first_and_its_band_is_over_draws(tmp_path):
    folder = make_bench(
        tmp_path,
        methods=(("none", 0.0),),
        protocols=("low_resource",),
        num_samples=(50, 500, 1000),
        draws=(0, 1),
        num_folds=2,
        features=False,
    )
    [block] = blocks_of(folder)
    [one] = block.estimates
    rows, found = one.rows, one.curve
    assert found.num_samples == (50, 500, 1000)
    assert found.num_runs == (4, 4, 4)
    of_50 = rows[rows["samples_per_label"] == 50]
    by_draw = [np.mean(of_50[of_50["draw"] == draw]["wa"]) for draw in (0, 1)]
    assert found.mean[0] == pytest.approx(np.mean(by_draw))
    assert found.std[0] == pytest.approx(np.std(by_draw, ddof=1))
    area = 450 * (found.mean[0] + found.mean[1]) / 2 + 500 * (found.mean[1] + found.mean[2]) / 2
    assert found.areas == pytest.approx((area / 1000, area / 950))


def test_a_curve_over_another_range_has_no_area_of_the_papers(tmp_path):
    options = {"protocols": ("low_resource",), "num_folds": 1, "features": False}
    make_bench(tmp_path, num_samples=(5, 10, 20), **options)
    [block] = blocks_of(tmp_path)
    found = block.estimates[0].curve
    assert found.areas[0] is None
    area = 5 * (found.mean[0] + found.mean[1]) / 2 + 10 * (found.mean[1] + found.mean[2]) / 2
    assert found.areas[1] == pytest.approx(area / 15)


def test_ours_stand_before_the_papers_rows(tmp_path):
    upstreams = ("hubert_base", "wavlm_large")
    make_bench(tmp_path, upstreams=upstreams, num_folds=2, features=False, probes=False)
    blocks = blocks_of(tmp_path)
    table = paper_table(blocks, blocks[0].task)
    assert [row.kind for row in table.rows] == ["ours"] * 6 + ["paper"] * 13
    assert [row.cells[1] for row in table.rows[:6]] == [
        f"{upstream}, {label}" for upstream in upstreams for label in ("none", "SNP", "TAP")
    ]
    assert table.rows[-1].cells[1:6] == ("HuBERT Large + TAP", "74.2", "81.0", "64.9", "68.3")


def test_runs_that_are_outstanding_are_counted_in_the_table(tmp_path):
    make_bench(tmp_path, pending=4, features=False, probes=False)
    [block] = blocks_of(tmp_path)
    counts = [len(one.rows) for one in block.estimates]
    assert sum(counts) == 11
    texts = [row.cells[-1] for row in accuracy_table(block).rows]
    assert texts == [f"{count} of 5" if count < 5 else "5" for count in counts]


def test_a_mark_stands_in_every_form_of_the_table(tmp_path):
    methods = (("none", 0.0), ("TAP", 1e-6))
    make_bench(tmp_path, methods=methods, num_folds=2, features=False, probes=False)
    [block] = blocks_of(tmp_path)
    tables = [accuracy_table(block), comparison_table(block), paper_table([block], block.task)]
    for table in tables:
        assert "TAP (no effect)" in table.rows[-14 if table.name == "paper" else -1].cells[1]
    assert {row["method"] for row in records([block])} == {"none", "TAP (no effect)"}


def test_what_the_adversary_did_stands_beside_what_came_of_it(tmp_path):
    methods = (("none", 0.0), ("SNP", 1e-3), ("TAP", 1e-6))
    make_bench(tmp_path, methods=methods, num_folds=2, features=False, probes=False)
    [block] = blocks_of(tmp_path)
    table = adversary_table(block)
    assert [row.cells[1:5] for row in table.rows] == [
        ("SNP", "91", "8.0", "40.0"), ("TAP (no effect)", "91", "0.0", "40.0")
    ]  # fmt: skip
    set_keys(tmp_path, "", adversary=None)
    [block] = blocks_of(tmp_path)
    assert adversary_table(block).rows == ()


def test_the_bench_prints_a_row_per_size_with_marks_and_doubts(tmp_path):
    methods = (("none", 0.0), ("TAP", 1e-6))
    make_bench(tmp_path, methods=methods, protocols=("low_resource",), num_samples=(50, 100),
               num_folds=2, draws=(0,), features=False, probes=False)  # fmt: skip
    lines = report.text(tmp_path).splitlines()
    assert [line.split("  ")[1].strip() for line in lines[1:5]] == [
        "none", "none", "TAP (no effect)", "TAP (no effect)"
    ]  # fmt: skip
    assert "low_resource n=50 " in lines[1]
    assert lines[-1].startswith("Doubt: hubert_large_ll60k, TAP (low_resource): in 4 of 4 runs")
