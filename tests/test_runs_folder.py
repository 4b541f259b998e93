"""Result files in, checked records out; whatever is wrong is told by file and key."""

import json

import pytest
from fake_results import make_bench, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spknorm.errors import ConfigError, MissingError
from spknorm.runs import frame, read


@pytest.fixture
def folder(tmp_path):
    """Two finished runs and a summary."""
    return make_bench(tmp_path, methods=(("none", 0.0), ("TAP", 1e-3)), num_folds=1)


def first_result(folder):
    return min(folder.rglob("result.json"))


def change(path, **values):
    """Set dotted keys of a JSON file; a value of ... removes its key."""
    content = json.loads(path.read_text())
    for key, value in values.items():
        *above, last = key.split("__")
        section = content
        for name in above:
            section = section[name]
        if value is ...:
            del section[last]
        else:
            section[last] = value
    write(path, content)


def error_text(folder):
    with pytest.raises(ConfigError) as caught:
        read(folder)
    return str(caught.value)


def test_a_bench_is_read_with_its_curves_audits_and_plan(folder):
    results = read(folder)
    assert [run.result.strategy for run in results.runs] == ["TAP", "none"]
    assert {cell.status for cell in results.planned} == {"complete"}
    run = results.runs[0]
    assert run.history[0].step == 100
    assert run.history[0].log_num_speakers == pytest.approx(7.0992, abs=1e-4)
    assert {row.stage for row in run.probes} == {"raw", "TAP"}
    assert (run.result.fold, run.result.seed, run.result.draw) == ("fold1", 0, None)
    assert results.doubts == ()
    assert len(results.features) == 3


def test_a_single_experiment_folder_is_a_result_too(folder):
    results = read(first_result(folder).parent)
    assert [run.folder for run in results.runs] == ["."]
    assert results.planned == ()


def test_a_run_without_a_test_evaluation_is_left_out(folder):
    change(first_result(folder), test=None)
    assert [run.result.strategy for run in read(folder).runs] == ["none"]


def test_nothing_to_report_on_is_told(tmp_path):
    with pytest.raises(MissingError) as caught:
        read(tmp_path / "nowhere")
    assert str(caught.value) == (
        f"There is no folder {tmp_path / 'nowhere'}: name an experiment's or a benchmark's to "
        "report on."
    )
    with pytest.raises(MissingError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"The folder {tmp_path} holds no result.json, probe.json or summary.json. Name an "
        "experiment folder, or a benchmark folder whose first run has ended."
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"schema": "other/1"}, "`schema` must be spknorm.result/1, but is `'other/1'` (str)."),
        ({"upstream": ...}, "`upstream` is missing."),
        ({"upstream": 5}, "`upstream` must be text, but is `5` (int)."),
        ({"seed": "0"}, "`seed` must be a whole number, but is `'0'` (str)."),
        ({"seed": True}, "`seed` must be a whole number, but is `True` (bool)."),
        ({"frozen": "no"}, "`frozen` must be true or false, but is `'no'` (str)."),
        ({"test": []}, "`test` must be a mapping, but is `[]` (list)."),
        ({"test__wa": 74.2}, "`test.wa` must be between 0 and 1, but is `74.2` (float)."),
        ({"test__ua": None}, "`test.ua` is missing."),
        ({"test__n": 3}, "`test.n` must be the number of utterances in `confusion`, but is 3."),
        ({"test__classes": "neu"}, "`test.classes` must be a list, but is `'neu'` (str)."),
        (
            {"test__confusion": [[1]]},
            "`test.confusion` must have a row and a column for each of the 4 classes, but has 1.",
        ),
        (
            {"test__confusion": [[-1] * 4] * 4},
            "`test.confusion` must be a C x C list of counts (whole numbers from 0), but is "
            "`[[-1, -1, -1, -1], [-1, -1, -1, -1], [-1, -1, -1, -1], [-...` (list).",
        ),
        (
            {"test__by_speaker": {"Ses01_F": 3}},
            "`test.by_speaker.Ses01_F` must be a C x C list of counts (whole numbers from 0), but "
            "is `3` (int).",
        ),
        (
            {"test__by_speaker": {"Ses01_F": [[3]]}},
            "`test.by_speaker.Ses01_F` must have a row and a column for each of the 4 classes, but "
            "has 1.",
        ),
        ({"config": 3}, "`config` must be a mapping, but is `3` (int)."),
    ],
)
def test_a_malformed_result_is_told_by_file_and_key(folder, values, problem):
    path = first_result(folder)
    change(path, **values)
    assert error_text(folder) == f"{path}: {problem}"


def test_numbers_that_are_none_are_refused(folder):
    path = first_result(folder)
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1e999, "unused": '))
    assert error_text(folder) == f"{path}: `seconds` must be a finite number, but is `inf` (float)."
    path.write_text('{"schema": ' + "9" * 5000 + "}")
    assert error_text(folder).startswith(f"{path} ")
    path.write_text("[" * 100_000)
    assert error_text(folder).startswith(f"{path} is not valid JSON: ")


def test_a_malformed_line_of_metrics_is_told_by_its_number(folder):
    path = first_result(folder).with_name("metrics.jsonl")
    path.write_text('{"step": 1, "split": "train"}\nnonsense\n')
    assert error_text(folder).startswith(f"{path}, line 2: is not valid JSON: ")
    path.write_text('{"step": 1, "split": "train", "emotion_loss": "low"}\n')
    assert error_text(folder) == (
        f"{path}, line 1: `emotion_loss` must be a number, but is `'low'` (str)."
    )


def test_a_line_that_is_being_written_is_not_read(folder):
    path = first_result(folder).with_name("metrics.jsonl")
    path.write_text('{"step": 1, "split": "train"}\n{"step": 2, "spl')
    run = read(folder).runs[0]
    assert [step.step for step in run.history] == [1]


def test_a_malformed_audit_or_summary_is_told(folder):
    probe = first_result(folder).with_name("probe.json")
    rows = json.loads(probe.read_text())["rows"]
    change(probe, rows=[rows[0] | {"layer": True}])
    assert error_text(folder) == (
        f"{probe}: `rows[0].layer` must be head, weighted or the number of a layer, but is `True` "
        "(bool)."
    )
    change(probe, rows=[rows[0], {"upstream": "x"}])
    assert error_text(folder) == f"{probe}: `rows[1].stage` is missing."
    probe.unlink()
    summary = folder / "summary.json"
    change(summary, cells=[{"name": "a", "status": "lost"}])
    assert error_text(folder) == (
        f"{summary}: `cells[0].status` must be one of complete, failed, pending, but is `'lost'` "
        "(str)."
    )


def test_scores_that_do_not_fit_their_predictions_are_doubted(folder):
    path = first_result(folder)
    wa = json.loads(path.read_text())["test"]["wa"]
    (path.parent / "test_fold1_truth.txt").write_text("a.wav neu\nb c.wav hap\n")
    (path.parent / "test_fold1_predict.txt").write_text("b c.wav hap\na.wav sad\n")
    change(path, test__wa=0.5)
    right = json.loads(path.read_text())["test"]["confusion"]
    share = sum(right[i][i] for i in range(4)) / sum(map(sum, right))
    assert share == pytest.approx(wa)
    assert read(folder).doubts == (
        f"{path.parent.name}: test.wa is 0.5000, but its confusion matrix gives {share:.4f}.",
    )
    change(path, test__wa=wa)
    assert read(folder).doubts == (
        f"{path.parent.name}: test.wa is {wa:.4f}, but test_fold1_predict.txt and "
        "test_fold1_truth.txt give 0.5000.",
    )


def test_a_run_that_names_one_class_alone_is_doubted(folder):
    path = first_result(folder)
    test = json.loads(path.read_text())["test"]
    sizes = [sum(row) for row in test["confusion"]]
    change(
        path,
        test__confusion=[[0, size, 0, 0] for size in sizes],
        test__wa=sizes[1] / sum(sizes),
    )
    assert (
        f"{path.parent.name}: every test utterance was classified as {test['classes'][1]}, so that "
        "its scores say nothing of the method."
    ) in read(folder).doubts


def test_a_forked_run_is_doubted(folder):
    path = first_result(folder)
    change(path, forked_from={"folder": "other", "step": 40, "changed": {}})
    assert read(folder).doubts == (
        f"{path.parent.name}: forked from other after step 40; the steps up to there had other "
        "settings than those given.",
    )


def test_texts_that_cannot_be_written_or_turn_the_line_around_are_replaced(folder):
    change(first_result(folder), upstream="a\ud800b\u202ec\x00d\ne")
    assert read(folder).runs[0].result.upstream == "a\ufffdb\ufffdc\ufffdd e"


def test_a_frame_has_a_row_per_run_and_a_column_per_setting(folder):
    path = first_result(folder)
    adversary = {"ascent_share": 0.004, "without_effect": True, "doubts": ["It slept."]}
    change(path, adversary=adversary, corpora={"emotion": {"digest": "ab"}, "speaker": None})
    runs = frame(folder)
    assert list(runs["strategy"]) == ["TAP", "none"]
    assert list(runs["folder"]) == [run.folder for run in read(folder).runs]
    assert list(runs["downstream_expert.spknorm.speaker_lambda"]) == [0.001, 0.0]
    assert list(runs["adversary.without_effect"]) == [True, None]
    assert list(runs["adversary.doubts"]) == [("It slept.",), None]
    assert list(runs["corpora.emotion"]) == ["ab", None]
    assert list(runs["update"]) == ["literal", "literal"]
    expected = [
        json.loads(file.read_text())["test"]["wa"] for file in sorted(folder.rglob("result.json"))
    ]
    assert list(runs.groupby("strategy")["wa"].mean()) == expected
    assert list(runs["args.upstream_ckpt"]) == [None, None]


def test_a_result_of_before_the_adversarys_effect_was_measured_is_read(folder):
    change(first_result(folder), adversary="ascent")
    assert read(folder).runs[0].result.adversary is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_hostile_result_is_read_or_refused_by_name_and_never_crashes(folder, data):
    path = first_result(folder)
    before = path.read_text()
    content = json.loads(before)
    section = data.draw(st.sampled_from([content, content["test"]]))
    key = data.draw(st.sampled_from(sorted(section)))
    section[key] = data.draw(json_values)
    path.write_text(json.dumps(content))
    try:
        read(folder)
    except ConfigError as error:
        assert str(path) in str(error)
    finally:
        path.write_text(before)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), name=st.sampled_from(["probe.json", "result.json"]))
def test_arbitrary_bytes_are_refused_by_name(folder, content, name):
    path = first_result(folder).with_name(name)
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        assert str(path) in error_text(folder)
    finally:
        path.write_bytes(before)
