"""Which runs are averaged together, and what their averages are."""

import json

import numpy as np
import pytest
from fake_results import make_bench, write

from spknorm.report.estimates import chance, curve, estimate
from spknorm.report.leakage import frontiers
from spknorm.report.methods import group_runs
from spknorm.report.results import read_results
from spknorm.report.scores import accuracy_table, comparison_table, paper_table, score_block


def blocks_of(folder):
    return group_runs(read_results(folder))


def set_setting(folder, name, value, *, where):
    """Set a setting of those runs whose folder's name has `where` in it."""
    for path in folder.rglob("result.json"):
        if where in path.parent.name:
            content = json.loads(path.read_text())
            content["config"]["downstream_expert"]["spknorm"][name] = value
            write(path, content)


def test_runs_of_one_method_differ_in_their_place_in_the_grid_alone(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), erasures=("leace",), shuffled=True, features=False)
    [block] = blocks_of(tmp_path)
    assert [(group.method.label, len(group.runs)) for group in block.groups] == [
        ("none", 10),
        ("LEACE erasure", 10),
        ("SNP, literal, λ 0.001", 10),
        ("SNP, literal, λ 0.001, shuffled speaker labels", 10),
        ("TAP, literal, λ 0.001", 10),
    ]
    assert {group.num_planned for group in block.groups} == {10}


def test_a_setting_that_differs_makes_two_methods(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), num_folds=2, features=False, probes=False)
    set_setting(tmp_path, "ceiling", 0.5, where="-seed1")
    [block] = blocks_of(tmp_path)
    assert [group.method.label for group in block.groups] == [
        "none",  # the ceiling of an adversary that is off changes nothing
        "SNP, literal, λ 0.001, ceiling 0.5",
        "SNP, literal, λ 0.001, ceiling 1",  # the default, where none was named
        "TAP, literal, λ 0.001, ceiling 0.5",
        "TAP, literal, λ 0.001, ceiling 1",
    ]
    assert all(found.comparison for found in estimate(block) if found.method.strategy != "none")


def test_a_setting_without_effect_does_not_split_a_method(tmp_path):
    make_bench(tmp_path, num_folds=2, features=False, probes=False)
    for number, path in enumerate(sorted(tmp_path.rglob("result.json"))):
        content = json.loads(path.read_text())
        content["config"]["downstream_expert"]["datarc"]["num_workers"] = number
        write(path, content)
    [block] = blocks_of(tmp_path)
    assert [len(group.runs) for group in block.groups] == [2, 2, 2]


def test_a_half_finished_grid_says_n_of_m(tmp_path):
    make_bench(tmp_path, pending=4, failed=1, features=False, probes=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    waiting = [cell["name"] for cell in summary["cells"] if cell["status"] != "complete"]
    [block] = blocks_of(tmp_path)
    for group in block.groups:
        missing = sum(f"-{group.method.strategy}-" in name for name in waiting)
        assert (len(group.runs), group.num_planned) == (5 - missing, 5)
    scored = score_block(block, estimate(block))
    texts = [row.cells[-1] for row in accuracy_table(scored).rows]
    assert texts == [
        f"{len(group.runs)} of 5" if len(group.runs) < 5 else "5" for group in block.groups
    ]


def test_without_a_plan_the_other_methods_tell_how_many_runs_there_could_be(tmp_path):
    make_bench(tmp_path, features=False, probes=False, summary=False)
    (tmp_path / "hubert_large_ll60k-TAP-lambda0.001-si5-fold2-seed0" / "result.json").unlink()
    [block] = blocks_of(tmp_path)
    assert [(len(group.runs), group.num_planned) for group in block.groups] == [
        (5, 5),
        (5, 5),
        (4, 5),
    ]


def test_averages_are_those_of_the_result_files(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), features=False, probes=False)
    [block] = blocks_of(tmp_path)
    for found in estimate(block):
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
        assert found.intervals["wa"].value == pytest.approx(hits / sum(r["n"] for r in results))
        worst = found.spread.worst
        counts = np.sum([r["by_speaker"][worst] for r in results if worst in r["by_speaker"]], 0)
        assert found.spread.worst_ua == pytest.approx(np.mean(counts.diagonal() / counts.sum(1)))


def test_comparisons_pair_the_runs_that_both_have_and_are_corrected_over_the_table(tmp_path):
    make_bench(tmp_path, features=False, probes=False)
    (tmp_path / "hubert_large_ll60k-TAP-lambda0.001-si5-fold2-seed0" / "result.json").unlink()
    [block] = blocks_of(tmp_path)
    none, snp, tap = estimate(block)
    assert none.comparison is None
    assert (snp.comparison.num_pairs, tap.comparison.num_pairs) == (5, 4)
    assert snp.p_holm >= snp.comparison.p_bootstrap
    assert max(snp.p_holm, tap.p_holm) >= max(
        snp.comparison.p_bootstrap, tap.comparison.p_bootstrap
    )
    table = comparison_table(score_block(block, [none, snp, tap]))
    assert [row.cells[-1] for row in table.rows] == ["5", "4"]
    assert "over the 2 tests" in table.notes[0]


def test_without_speakers_there_is_no_interval_and_no_test(tmp_path):
    make_bench(tmp_path, features=False, probes=False)
    for path in tmp_path.rglob("result.json"):
        content = json.loads(path.read_text())
        del content["test"]["by_speaker"]
        write(path, content)
    [block] = blocks_of(tmp_path)
    scored = score_block(block, estimate(block))
    assert comparison_table(scored) is None
    assert {row.cells[3] for row in accuracy_table(scored).rows} == {"–"}  # noqa: RUF001


def test_chance_is_the_largest_class_and_one_over_the_number_of_classes(tmp_path):
    make_bench(tmp_path, num_folds=1, features=False, probes=False)
    path = min(tmp_path.rglob("result.json"))
    content = json.loads(path.read_text())
    counts = [[6, 0, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    content["test"] |= {"confusion": counts, "n": 10, "wa": 0.9, "by_speaker": {}}
    write(path, content)
    run = next(run for run in read_results(tmp_path).runs if run.n == 10)
    assert chance([run]) == (0.6, pytest.approx(1 / 3), "neu")


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
    runs = block.groups[0].runs
    found = curve(runs)
    assert found.num_samples == (50, 500, 1000)
    assert found.num_runs == (4, 4, 4)
    by_draw = [np.mean([r.wa for r in runs if (r.samples_per_label, r.draw) == (50, d)])
               for d in (0, 1)]  # fmt: skip
    assert found.mean[0] == pytest.approx(np.mean(by_draw))
    assert found.std[0] == pytest.approx(np.std(by_draw, ddof=1))
    area = 450 * (found.mean[0] + found.mean[1]) / 2 + 500 * (found.mean[1] + found.mean[2]) / 2
    assert found.paper_auc == pytest.approx(area / 1000)
    assert found.normalised_auc == pytest.approx(area / 950)


def test_a_curve_over_another_range_has_no_area_of_the_papers(tmp_path):
    options = {"protocols": ("low_resource",), "num_folds": 1, "features": False}
    make_bench(tmp_path, num_samples=(5, 10, 20), **options)
    [block] = blocks_of(tmp_path)
    found = curve(block.groups[0].runs)
    assert found.paper_auc is None
    area = 5 * (found.mean[0] + found.mean[1]) / 2 + 10 * (found.mean[1] + found.mean[2]) / 2
    assert found.normalised_auc == pytest.approx(area / 15)


def test_ours_stand_under_the_papers_row_that_they_repeat(tmp_path):
    upstreams = ("hubert_base", "hubert_large_ll60k", "wavlm_large")
    make_bench(tmp_path, upstreams=upstreams, num_folds=2, features=False, probes=False)
    blocks = blocks_of(tmp_path)
    table = paper_table([score_block(block, estimate(block)) for block in blocks], blocks[0].task)
    names = [row.cells[1] for row in table.rows]
    assert names.index("hubert_base, none") == names.index("HuBERT Base") + 1
    assert (
        names.index("hubert_large_ll60k, TAP, literal, λ 0.001")
        == names.index("HuBERT Large + TAP") + 1
    )
    assert names[-3:] == [
        f"wavlm_large, {label}"
        for label in ("none", "SNP, literal, λ 0.001", "TAP, literal, λ 0.001")
    ]
    assert [row.kind for row in table.rows].count("paper") == 13
    assert table.rows[names.index("HuBERT Large + TAP")].cells[2:6] == (
        "74.2", "81.0", "64.9", "68.3")  # fmt: skip


def test_leakage_stands_beside_the_accuracy_of_all_runs_of_a_method(tmp_path):
    make_bench(tmp_path, erasures=("leace",), num_folds=2, features=False)
    for path in sorted(tmp_path.rglob("probe.json"))[1:]:
        if "fold2" in path.parent.name:
            path.unlink()  # audited on one fold alone
    results = read_results(tmp_path)
    [frontier] = frontiers(results, group_runs(results))
    assert [point.method.label for point in frontier.points] == [
        "none",
        "LEACE erasure",
        "SNP, literal, λ 0.001",
        "TAP, literal, λ 0.001",
    ]
    assert {(point.leakage.n, point.wa.n) for point in frontier.points} == {(1, 2)}
    assert frontier.axis == "Linear probe, last layer, speaker corpus; WA under si5"
    assert frontier.raw == pytest.approx(0.607, abs=0.02)
    assert frontier.chance == 0.0008


def test_a_frozen_upstream_without_adversary_leaks_what_the_raw_one_does(tmp_path):
    make_bench(tmp_path, erasures=("leace",), num_folds=1, features=False)
    for path in tmp_path.rglob("result.json"):
        write(path, json.loads(path.read_text()) | {"frozen": True})
        probe = path.with_name("probe.json")
        content = json.loads(probe.read_text())
        if "-none-" in path.parent.name or "-leace-" in path.parent.name:
            content["rows"] = [row for row in content["rows"] if row["stage"] == "raw"]
            write(probe, content)
    results = read_results(tmp_path)
    [frontier] = frontiers(results, group_runs(results))
    assert [point.method.full_label for point in frontier.points] == [
        "none, frozen",  # and nothing of the erasure, which was not probed
        "SNP, literal, λ 0.001, frozen",
        "TAP, literal, λ 0.001, frozen",
    ]
    assert frontier.points[0].leakage.mean == pytest.approx(0.607, abs=0.02)
