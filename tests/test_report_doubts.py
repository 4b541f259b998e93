"""What speaks against the tables is said beside them."""

import json
import shutil

from fake_results import make_bench, set_keys, write

from spknorm import report, runs
from spknorm.report.doubts import doubts_of
from spknorm.report.scores import score_blocks

PLAIN = {"num_folds": 2, "features": False, "probes": False}


def doubts(folder):
    found = runs.read(folder)
    return doubts_of(found, score_blocks(found))


def test_a_sound_bench_is_not_doubted(tmp_path):
    make_bench(tmp_path, num_folds=2, features=False)
    assert doubts(tmp_path) == []


def test_an_adversary_without_effect_is_told_with_its_reason_in_every_form(tmp_path, no_pictures):
    make_bench(tmp_path, methods=(("none", 0.0), ("SNP", 1e-3), ("TAP", 1e-6)), **PLAIN)
    text = (
        "hubert_large_ll60k, TAP (si5): in 2 of 2 runs the adversary had no effect, so that the "
        "row shows training without it. The shared part moved by less than 1 % of what the "
        "emotion loss moved it."
    )
    assert doubts(tmp_path) == [text]
    report.build(tmp_path)
    assert text in (tmp_path / "report.html").read_text()
    markdown = (tmp_path / "table.md").read_text()
    assert text.replace("_", "\\_") in markdown
    for name in ("table.md", "table.tex", "table.csv", "report.html"):
        content = (tmp_path / name).read_text()
        assert "TAP (no effect)" in content
        assert "SNP (no effect)" not in content


def test_runs_that_saw_other_corpora_are_named(tmp_path):
    make_bench(tmp_path, **PLAIN)
    for number in (1, 2):  # folds differ in their parts, and so in their digests
        set_keys(tmp_path, f"-fold{number}", corpora={"emotion": {"digest": f"fold {number}"}})
    assert doubts(tmp_path) == []
    [path] = set_keys(tmp_path, "-TAP-lambda0.001-si5-fold2", corpora__emotion__digest="other")
    [doubt] = doubts(tmp_path)
    assert doubt.startswith("Runs of protocol si5 saw different emotion corpora")
    assert path.parent.name in doubt
    assert "fold1" not in doubt


def test_a_run_of_which_a_file_held_other_audio_of_the_same_size_is_named(tmp_path):
    make_bench(tmp_path, **PLAIN)
    set_keys(tmp_path, "", corpora={"emotion": {"digest": "a", "content": "b"}})
    earlier = {"emotion": {"digest": "a"}}  # of a version that did not keep it
    set_keys(tmp_path, "-SNP-lambda0.001-si5-fold1", corpora=earlier)
    assert doubts(tmp_path) == []
    [path] = set_keys(tmp_path, "-TAP-lambda0.001-si5-fold2", corpora__emotion__content="c")
    [doubt] = doubts(tmp_path)
    assert doubt.startswith("Runs of protocol si5 saw different emotion corpora")
    assert path.parent.name in doubt


def test_runs_that_saw_other_speaker_corpora_are_named(tmp_path):
    make_bench(tmp_path, **PLAIN)
    set_keys(tmp_path, "", corpora={"emotion": None, "speaker": {"digest": "a"}})
    set_keys(tmp_path, "-none-", corpora={"emotion": None, "speaker": None})
    assert doubts(tmp_path) == []
    [path] = set_keys(tmp_path, "-SNP-lambda0.001-si5-fold1", corpora__speaker__digest="b")
    [doubt] = doubts(tmp_path)
    assert doubt.startswith("Runs of protocol si5 saw different speaker corpora")
    assert path.parent.name in doubt


def test_a_run_that_was_copied_into_the_bench_is_told(tmp_path):
    make_bench(tmp_path, **PLAIN)
    run = "hubert_large_ll60k-TAP-lambda0.001-si5-fold2-seed0"
    shutil.copytree(tmp_path / run, tmp_path / "backup")
    assert doubts(tmp_path) == [
        f"hubert_large_ll60k, TAP (si5): backup, {run} have one fold and seed and count as 2 runs. "
        "Is one a copy of the other? Then move it away."
    ]


def test_results_that_name_no_corpora_are_not_doubted_for_it(tmp_path):
    make_bench(tmp_path, **PLAIN)
    set_keys(tmp_path, "-TAP-", corpora={"emotion": {"digest": "a"}})
    assert doubts(tmp_path) == []


def test_rows_that_clip_differently_are_not_on_equal_footing(tmp_path):
    make_bench(tmp_path, **PLAIN)
    set_keys(tmp_path, "", config__runner__clip="group")
    assert doubts(tmp_path) == []
    set_keys(tmp_path, "-none-", config__runner__clip="joint")
    assert doubts(tmp_path) == [
        "The rows of protocol si5 are not on equal footing: gradients are clipped in different "
        "ways (joint: none; group: SNP, TAP). Set runner.clip to the same for all."
    ]


def test_what_auto_clipped_before_it_was_the_same_for_all_is_doubted(tmp_path):
    make_bench(tmp_path, **PLAIN)
    set_keys(tmp_path, "", config__runner__clip="auto")
    assert doubts(tmp_path) == []
    set_keys(tmp_path, "", config__downstream_expert__spknorm={"strategy": "none"})
    [doubt] = doubts(tmp_path)
    assert "(joint: none; group: SNP, TAP)" in doubt


def test_a_run_that_does_not_say_how_it_clipped_is_not_doubted_for_it(tmp_path):
    make_bench(tmp_path, **PLAIN)
    set_keys(tmp_path, "-none-", config__runner__clip="stage")
    assert doubts(tmp_path) == []
    set_keys(tmp_path, "-SNP-", config__runner__clip="joint")
    [doubt] = doubts(tmp_path)
    assert "(stage: none; joint: SNP)" in doubt


def test_what_a_run_recorded_of_its_clipping_goes_before_the_setting(tmp_path):
    make_bench(tmp_path, **PLAIN)
    set_keys(tmp_path, "", config__runner__clip="auto")
    set_keys(tmp_path, "-none-", config__runner__clip="stage", clip="stage")
    assert doubts(tmp_path) == []  # auto has come to that since there is an `ascent_clip`
    set_keys(tmp_path, "-TAP-", clip="joint")
    [doubt] = doubts(tmp_path)
    assert "(stage: none, SNP; joint: TAP)" in doubt


def test_an_audit_that_left_methods_out_is_not_complete(tmp_path):
    make_bench(tmp_path, num_folds=2, features=False)
    for path in tmp_path.glob("*-TAP-*/probe.json"):
        path.unlink()
    assert doubts(tmp_path) == [
        "The leakage audit is not complete: nothing was probed of hubert_large_ll60k, TAP."
    ]


def test_an_audit_that_was_stopped_is_told(tmp_path):
    make_bench(tmp_path, num_folds=1, features=False)
    path = next(tmp_path.glob("*-TAP-*/probe.json"))
    write(path, json.loads(path.read_text()) | {"complete": False})
    assert doubts(tmp_path) == [
        f"{path.parent.name}: its leakage audit was stopped before its end: audit it again."
    ]
