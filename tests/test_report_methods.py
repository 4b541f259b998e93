"""Which runs are averaged together, and what a colleague would call them."""

import json

import numpy as np
import pytest
from fake_results import make_bench, set_keys, write

from spknorm import runs
from spknorm.report.methods import protocols_note, settings_note
from spknorm.report.score_tables import paper_table
from spknorm.report.scores import score_blocks

METHOD = "config__downstream_expert__spknorm"


def blocks_of(folder):
    return score_blocks(runs.read(folder))


def labels_of(block):
    return [one.method.label for one in block.estimates]


def test_runs_of_one_method_differ_in_their_place_in_the_grid_alone(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), erasures=("leace",), shuffled=True, features=False)
    [block] = blocks_of(tmp_path)
    assert [(one.method.label, len(one.rows)) for one in block.estimates] == [
        ("none", 10),
        ("LEACE erasure", 10),
        ("SNP", 10),
        ("SNP, shuffled speakers", 10),
        ("TAP", 10),
    ]
    assert {one.num_planned for one in block.estimates} == {10}
    note = settings_note([one.method for one in block.estimates])
    assert note == "Settings: update literal; λ 0.001."


def test_a_setting_that_differs_makes_two_methods_whose_names_tell_it(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), num_folds=2, features=False, probes=False)
    set_keys(tmp_path, "-seed1", **{f"{METHOD}__ceiling": 0.5})
    set_keys(tmp_path, "-seed0", **{f"{METHOD}__ceiling": 0.25})
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == [
        "none",  # the ceiling of an adversary that is off changes nothing
        "SNP, ceiling 0.25",
        "SNP, ceiling 0.5",
        "TAP, ceiling 0.25",
        "TAP, ceiling 0.5",
    ]
    assert all(one.scores["wa"].test for one in block.estimates if one.method.strategy != "none")


def test_what_frozen_implies_is_said_once_below_and_not_in_every_name(tmp_path):
    make_bench(tmp_path, num_folds=2, features=False, probes=False)
    frozen = {"frozen": True, "args__upstream_trainable": False}
    set_keys(tmp_path, "-fold1", **frozen, config__runner__total_steps=400)
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == ["none", "SNP", "TAP", "none, frozen", "SNP, frozen", "TAP, frozen"]
    note = settings_note([one.method for one in block.estimates])
    assert "total_steps 3000 (fine-tuned), 400 (frozen)" in note


def test_settings_whose_last_word_is_the_same_are_told_apart(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), num_folds=1, methods=(("none", 0.0),), features=False)
    set_keys(tmp_path, "-seed0", config__optimizer__lr=1e-3)
    set_keys(tmp_path, "-seed1", config__optimizer__lr=1e-4)
    set_keys(tmp_path, "-seed1", config__optimizer__groups={"emotion_head": {"lr": 1e-3}})
    set_keys(tmp_path, "-seed0", config__optimizer__groups={"emotion_head": {"lr": 1e-4}})
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == [
        "none, emotion_head.lr 0.0001, optimizer.lr 0.001",
        "none, emotion_head.lr 0.001, optimizer.lr 0.0001",
    ]


def test_settings_that_differ_in_their_seventh_digit_are_not_averaged(tmp_path):
    make_bench(tmp_path, seeds=(0, 1), num_folds=1, methods=(("none", 0.0),), features=False)
    set_keys(tmp_path, "-seed1", config__runner__gradient_clipping=0.30000001)
    set_keys(tmp_path, "-seed0", config__runner__gradient_clipping=0.3)
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == ["none, gradient_clipping 0.3", "none, gradient_clipping 0.30000001"]


@pytest.mark.parametrize("key", ["datarc__num_workers", "datarc__root"])
def test_a_setting_without_effect_does_not_split_a_method(tmp_path, key):
    make_bench(tmp_path, num_folds=2, features=False, probes=False)
    for number in (1, 2):
        where = f"-fold{number}"
        set_keys(tmp_path, where, **{f"config__downstream_expert__{key}": number})
    [block] = blocks_of(tmp_path)
    assert [len(one.rows) for one in block.estimates] == [2, 2, 2]


def test_settings_that_differ_between_protocols_alone_are_said_once_and_split_no_method(tmp_path):
    make_bench(tmp_path, protocols=("si5", "sd"), num_folds=2, features=False, probes=False)
    set_keys(tmp_path, "-sd-", config__runner__total_steps=400)
    blocks = blocks_of(tmp_path)
    assert [labels_of(block) for block in blocks] == [["none", "SNP", "TAP"]] * 2
    table = paper_table(blocks, blocks[0].task, protocols_note(runs.read(tmp_path)))
    assert [row.cells[-1] for row in table.rows[:3]] == ["2 / 1 / –"] * 3  # noqa: RUF001
    assert "Between protocols differ: total_steps 400 (sd), 3000 (si5)." in table.notes


def test_a_setting_that_differs_under_one_protocol_names_a_method_alike_under_all(tmp_path):
    make_bench(tmp_path, protocols=("si5", "sd"), num_folds=2, features=False, probes=False)
    set_keys(tmp_path, "", **{f"{METHOD}__ceiling": 0.25})
    set_keys(tmp_path, "-si5-fold2", **{f"{METHOD}__ceiling": 0.5})
    blocks = blocks_of(tmp_path)
    alike = ["none", "SNP, ceiling 0.25", "TAP, ceiling 0.25"]
    assert labels_of(blocks[1]) == alike
    assert [one for one in labels_of(blocks[0]) if "0.5" not in one] == alike
    table = paper_table(blocks, blocks[0].task)
    [row] = [row for row in table.rows if row.cells[1].endswith("SNP, ceiling 0.25")]
    assert row.cells[-1] == "1 of 2 / 1 / –"  # noqa: RUF001


def test_corpora_that_differ_under_cross_alone_name_no_method_elsewhere(tmp_path):
    make_bench(tmp_path, protocols=("si5", "sd"), num_folds=2, features=False, probes=False)
    section = "config__downstream_expert__datarc"
    for fold, other in (("fold1", "emodb"), ("fold2", "savee")):
        changed = {"protocol": "cross", f"{section}__protocol": "cross"}
        set_keys(tmp_path, f"-si5-{fold}", **changed, **{f"{section}__test_on": [other]})
    labels = {block.protocol: labels_of(block) for block in blocks_of(tmp_path)}
    assert labels["sd"] == ["none", "SNP", "TAP"]
    assert "none, test_on ['emodb']" in labels["cross"]


@pytest.mark.parametrize("classes", [("happy", "sad"), ("one", "two", "three", "four")])
def test_runs_of_other_classes_are_another_method(classes, tmp_path):
    make_bench(tmp_path, num_folds=3, features=False, probes=False)
    size = len(classes)
    for path in tmp_path.glob("*-fold3-*/result.json"):
        result = json.loads(path.read_text())
        test = result["test"]
        by_speaker = {name: np.array(one)[:size, :size] for name, one in test["by_speaker"].items()}
        confusion = sum(by_speaker.values())
        test["by_speaker"] = {name: one.tolist() for name, one in by_speaker.items()}
        test |= {"classes": classes, "confusion": confusion.tolist(), "n": int(confusion.sum())}
        test["wa"] = float(confusion.trace() / confusion.sum())
        test.pop("ua_over", None)
        path.write_text(json.dumps(result))
    [block] = blocks_of(tmp_path)
    assert f"none, predicts {'/'.join(classes)}" in labels_of(block)
    assert "none, predicts neu/hap/ang/sad" in labels_of(block)
    assert len(block.estimates) == 6


def test_lambdas_of_one_strategy_are_in_its_names(tmp_path):
    methods = (("none", 0.0), ("TAP", 0.0), ("TAP", 1e-3), ("TAP", 1e-2), ("SNP", 1e-3))
    make_bench(tmp_path, methods=methods, num_folds=2, features=False, probes=False)
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == ["none", "SNP", "TAP, λ 0", "TAP, λ 0.001", "TAP, λ 0.01"]


def test_a_method_whose_adversary_did_nothing_is_not_called_by_its_name_alone(tmp_path):
    methods = (("none", 0.0), ("SNP", 1e-3), ("TAP", 1e-6))
    make_bench(tmp_path, methods=methods, num_folds=2, features=False, probes=False)
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == ["none", "SNP", "TAP (no effect)"]
    set_keys(tmp_path, "-TAP-lambda1e-06-si5-fold1", adversary__without_effect=False)
    [block] = blocks_of(tmp_path)
    assert labels_of(block)[-1] == "TAP (no effect in 1 of 2 runs)"
    set_keys(tmp_path, "-TAP-", adversary="ascent")  # a result of before it was measured
    [block] = blocks_of(tmp_path)
    assert labels_of(block)[-1] == "TAP"


def test_a_method_that_climbs_in_adapters_says_so(tmp_path):
    make_bench(tmp_path, num_folds=2, erasures=("leace",), features=False, probes=False)
    set_keys(tmp_path, "-fold1", config__upstream__lora={"rank": 8, "alpha": 16.0})
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == [
        "none", "none in LoRA", "LEACE erasure", "LEACE erasure in LoRA", "SNP", "SNP in LoRA",
        "TAP", "TAP in LoRA",
    ]  # fmt: skip


def test_texts_from_files_never_give_two_methods_one_name(tmp_path):
    make_bench(tmp_path, methods=(("none", 0.0), ("SNP", 1e-3)), num_folds=1, features=False)
    set_keys(tmp_path, "-SNP-", strategy="LEACE erasure")
    set_keys(tmp_path, "-none-", **{f"{METHOD}__erasure": "leace"})
    [block] = blocks_of(tmp_path)
    assert len({*labels_of(block)}) == 2


def test_a_half_finished_grid_says_n_of_m(tmp_path):
    make_bench(tmp_path, pending=4, failed=1, features=False, probes=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    waiting = [cell["name"] for cell in summary["cells"] if cell["status"] != "complete"]
    [block] = blocks_of(tmp_path)
    for one in block.estimates:
        missing = sum(f"-{one.method.strategy}-" in name for name in waiting)
        assert (len(one.rows), one.num_planned) == (5 - missing, 5)


def test_without_a_plan_the_other_methods_tell_how_many_runs_there_could_be(tmp_path):
    make_bench(tmp_path, features=False, probes=False, summary=False)
    (tmp_path / "hubert_large_ll60k-TAP-lambda0.001-si5-fold2-seed0" / "result.json").unlink()
    [block] = blocks_of(tmp_path)
    assert [(len(one.rows), one.num_planned) for one in block.estimates] == [(5, 5), (5, 5), (4, 5)]


def test_old_results_that_leave_settings_out_are_named_without_them(tmp_path):
    make_bench(tmp_path, num_folds=1, features=False, probes=False)
    for path in tmp_path.rglob("result.json"):
        content = json.loads(path.read_text())
        del content["args"], content["versions"], content["frozen"]
        write(path, content)
    [block] = blocks_of(tmp_path)
    assert labels_of(block) == ["none", "SNP", "TAP"]
