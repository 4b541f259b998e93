import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

import spknorm
from spknorm import config
from spknorm.runs.evaluation import Evaluation
from spknorm.runs.journal import Journal
from spknorm.runs.metrics_log import (
    append_metrics,
    keep_metrics,
    read_predictions,
    write_predictions,
)
from spknorm.runs.outcome import result_of
from spknorm.runs.result import Fork, read_result, to_plain, versions
from spknorm.statistics.metrics import confusion_matrix, score_confusion
from spknorm.statistics.targets import Classes

FOUR = Classes(("neu", "hap", "ang", "sad"))


def test_predictions_have_s3prls_names_and_format(tmp_path):
    write_predictions(tmp_path, "test", "fold3", ["a 1", "b"], ["neu", "sad"], ["neu", "ang"])
    assert (tmp_path / "test_fold3_predict.txt").read_text() == "a 1 neu\nb sad\n"
    assert (tmp_path / "test_fold3_truth.txt").read_text() == "a 1 neu\nb ang\n"


def test_predictions_and_ids_must_be_as_many(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_predictions(tmp_path, "dev", "fold1", ["a"], ["neu", "sad"], ["neu"])


def test_ids_of_files_with_names_of_any_bytes_are_written_and_read(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_predictions(tmp_path, "test", "fold1", [name], ["neu"], ["sad"])
    path = tmp_path / "test_fold1_predict.txt"
    assert path.read_bytes() == b"caf\xe9 neu\n"
    assert read_predictions(path) == {name: "neu"}
    Journal(tmp_path, fold="fold1", lines=0).say(f"batch skipped: {name}")
    assert (tmp_path / "log.log").read_bytes() == b"batch skipped: caf\xe9\n"


def test_metrics_are_a_line_each_and_what_is_not_finite_is_null(tmp_path):
    append_metrics(tmp_path, {"step": 1, "grad_norm": {"gate": np.inf}, "loss": float("nan")})
    append_metrics(tmp_path, {"step": 2, "loss": 0.1})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"grad_norm": {"gate": None}, "loss": None, "step": 1},
        {"loss": 0.1, "step": 2},
    ]


def test_metrics_of_a_resumed_run_drop_what_came_after_its_checkpoint(tmp_path):
    for step in range(4):
        append_metrics(tmp_path, {"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a killed process
    keep_metrics(tmp_path, 2)
    append_metrics(tmp_path, {"step": 2, "again": True})
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"step": 0}\n{"step": 1}\n{"again": true, "step": 2}\n'
    )
    keep_metrics(tmp_path, 0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def result(**changes):
    truth, predicted = [0, 1, 2, 3], [0, 1, 2, 0]
    scores = score_confusion(confusion_matrix(truth, predicted, 4))
    expert = SimpleNamespace(
        config=config.parse({}), fold="fold2", num_speakers=3, target=FOUR,
        data=SimpleNamespace(emotion=SimpleNamespace(splitting=None), corpora={}),
        streams=SimpleNamespace(crops=None), speakers_of=lambda part: ["b", "b", "a", "a"],
    )  # fmt: skip
    arguments = {
        "args": {"seed": 5, "upstream": "fbank", "upstream_trainable": True, "expdir": "x"},
        "dev": scores, "test": Evaluation(scores, 1.0, predicted, truth),
        "steps": 20, "best_step": 10, "seconds": 1.23456,
        "final": {"speaker_loss": 1.0, "emotion_loss": float("nan")},
    }  # fmt: skip
    return to_plain(result_of(expert, **{**arguments, **changes}))


def test_the_result_has_exactly_the_promised_keys():
    found = result()
    assert set(found) == {
        "schema", "task", "upstream", "strategy", "update", "adversary", "speaker_lambda", "clip",
        "protocol", "fold", "seed", "draw", "samples_per_label", "frozen",
        "train_feature_extractor", "steps", "best_step", "seconds", "num_speakers", "precision",
        "dev", "test", "final", "corpora", "speaker_crops",
        "versions", "config", "args",
    }  # fmt: skip
    assert set(found["dev"]) == {"wa", "ua", "macro_f1", "n"}
    assert set(found["test"]) == {
        "wa", "ua", "macro_f1", "n", "classes", "confusion", "by_speaker", "ua_over",
    }  # fmt: skip
    assert found["schema"] == "spknorm.result/1"
    assert (found["seed"], found["frozen"], found["fold"]) == (5, False, "fold2")
    assert found["test"]["wa"] == 0.75
    assert np.array(found["test"]["confusion"]).sum() == 4
    assert list(found["test"]["by_speaker"]) == ["a", "b"]


def test_a_forked_run_says_where_from():
    origin = {"folder": "run", "step": 4, "changed": {"args.seed": [1, 2]}}
    found = result(forked_from=Fork(**origin))
    assert set(found) - set(result()) == {"forked_from"}
    assert found["forked_from"] == origin


def test_a_run_that_went_on_with_a_change_says_so_and_is_read_again(tmp_path):
    changes = [{"step": 4, "changed": {"config.optimizer.lr": [0.1, 0.2]}}]
    assert set(result(accepted=changes)) - set(result()) == {"accepted"}
    (tmp_path / "result.json").write_text(
        json.dumps({**result(accepted=changes), "task": "t", "upstream": "u"})
    )
    (one,) = read_result(tmp_path / "result.json").accepted
    assert (one.step, one.changed) == (4, changes[0]["changed"])


def test_the_result_is_plain_json_and_says_what_it_takes_to_run_again():
    found = result()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["final"]["emotion_loss"] is None
    assert found["config"] == config.to_mapping(config.parse({}))
    assert config.parse(found["config"]) == config.parse({})
    assert "expdir" not in found["args"]


def test_a_run_without_dev_or_test_has_null_scores():
    found = result(dev=None, test=None)
    assert found["dev"] is None
    assert found["test"] is None


def test_versions_name_the_packages_that_decide_the_numbers():
    assert set(versions()) == {
        "python", "spknorm", "s3prl", "torch", "torchaudio", "transformers", "numpy",
    }  # fmt: skip
    assert versions()["spknorm"] == spknorm.__version__
