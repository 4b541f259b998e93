"""This project's tasks from the command line, under our engine and under s3prl's own Runner."""

import json
import re
import shutil

import pytest
import torch
from tiny_upstreams import make_hubert

from spknorm import config
from spknorm.cli import run_downstream
from spknorm.config import combinations

SHORT = (
    "config.runner.total_steps={steps},,config.runner.log_step=1,,config.runner.eval_step=2,,"
    "config.runner.save_step=2,,config.runner.gradient_accumulate_steps=1,,"
    "config.downstream_expert.datarc.num_workers=0,,"
    "config.downstream_expert.speaker_corpus.max_seconds=0.2"
)
NO_START = ",,config.downstream_expert.spknorm.speaker_pretrain_steps=0"
BRIEF_START = ",,config.downstream_expert.spknorm.speaker_pretrain_steps=20"
S3PRLS = (
    ",,config.runner.engine=s3prl,,config.downstream_expert.spknorm.update=reversal,,"
    "config.optimizer.groups=None,,config.downstream_expert.speaker_corpus.micro_batch_size=None,,"
    "config.runner.early_stopping=None"
)


@pytest.fixture
def begin(tiny_corpora, tiny_hubert, tmp_path, monkeypatch):
    """Options of an experiment whose corpora are named by the environment."""
    monkeypatch.setenv("IEMOCAP_ROOT", str(tiny_corpora / "iemocap"))
    monkeypatch.setenv("VOXCELEB1_ROOT", str(tiny_corpora / "voxceleb1"))
    monkeypatch.chdir(tmp_path)
    return ["-d", "emotion_spknorm", "-u", "hubert_local", "-k", str(tiny_hubert)]


def test_an_experiment_from_training_to_a_recording(begin, tiny_corpora, tmp_path, capsys):
    assert run_downstream([*begin, "-v", "fold2", "-o", SHORT.format(steps=2) + BRIEF_START]) == 0
    expdir = tmp_path / "result/downstream/emotion_spknorm-hubert_local-TAP-fold2"
    result = json.loads((expdir / "result.json").read_text())
    assert (result["fold"], result["steps"], result["strategy"]) == ("fold2", 2, "TAP")
    tested = (expdir / "test_fold2_predict.txt").read_text()

    # the same command with -a and more steps goes on
    again = [*begin, "-v", "fold2", "-a", "-o"]
    assert run_downstream([*again, SHORT.format(steps=4) + BRIEF_START]) == 0
    assert json.loads((expdir / "result.json").read_text())["steps"] == 4

    # with -a and another setting it is refused, and told which
    capsys.readouterr()
    other = SHORT.format(steps=4) + BRIEF_START + ",,config.optimizer.lr=0.5"
    assert run_downstream([*again, other]) == 2
    assert "config.optimizer.lr was 0.0001, is 0.5" in capsys.readouterr().err

    # evaluation of the best step, from anywhere, by -e and by -i
    best = expdir / "dev-best.ckpt"
    tested = (expdir / "test_fold2_predict.txt").read_text()
    assert run_downstream(["-m", "evaluate", "-e", str(best)]) == 0
    assert (expdir / "test_fold2_predict.txt").read_text() == tested
    elsewhere = ["-p", "elsewhere", "-v", "fold2", "-o", SHORT.format(steps=4) + BRIEF_START]
    assert run_downstream(["-m", "evaluate", "-i", str(best), *begin, *elsewhere]) == 0
    assert (tmp_path / "elsewhere" / "test_fold2_predict.txt").read_text() == tested

    # one recording
    wav = next((tiny_corpora / "iemocap").rglob("*.wav"))
    capsys.readouterr()
    assert run_downstream(["-m", "inference", "-t", str(wav), "-e", str(best)]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(rf"{wav.stem} (neu|hap|ang|sad)", told)


def test_a_run_reads_its_configuration_once(begin, monkeypatch):
    checked = []
    check = combinations.check_combinations
    monkeypatch.setattr(config, "check_combinations", lambda one: checked.append(one) or check(one))
    monkeypatch.setattr(config, "_PARSED", {})
    assert run_downstream([*begin, "-p", "x", "-o", SHORT.format(steps=2) + NO_START]) == 0
    assert len(checked) == 1


def test_a_second_run_does_not_write_over_the_first(begin, capsys):
    argv = [*begin, "-p", "x", "-o", SHORT.format(steps=2) + NO_START]
    assert run_downstream(argv) == 0
    assert run_downstream(argv) == 2
    assert "go on with it (-a), or choose another folder" in capsys.readouterr().err


def test_s3prl_s_own_runner_trains_and_evaluates_the_task(begin, tmp_path):
    options = ["-p", "x", "-o", SHORT.format(steps=2) + NO_START + S3PRLS]
    assert run_downstream([*begin, *options]) == 0
    saved = torch.load(tmp_path / "x" / "states-2.ckpt", weights_only=True)
    assert "Spknorm" not in saved  # not our engine's
    assert saved["Args"].upstream_trainable is True
    tested = (tmp_path / "x" / "test_fold1_predict.txt").read_text()
    assert run_downstream(["-m", "evaluate", "-e", "x"]) == 0
    assert (tmp_path / "x" / "test_fold1_predict.txt").read_text() == tested


def test_under_s3prl_s_runner_a_frozen_upstream_that_was_given_weights_keeps_them(begin, tmp_path):
    short = ["-o", SHORT.format(steps=2) + NO_START + S3PRLS]
    assert run_downstream([*begin, "-p", "first", *short]) == 0
    start = tmp_path / "first" / "states-2.ckpt"
    given = torch.load(start, weights_only=True)["Upstream"]
    assert run_downstream([*begin, "--frozen", "-i", str(start), "-p", "x", *short]) == 0
    saved = torch.load(tmp_path / "x" / "states-2.ckpt", weights_only=True)
    assert (saved["Step"], saved["Downstream"]["num_batches"]) == (2, 2)  # begun anew
    assert saved["Upstream"].keys() == given.keys()
    assert all(torch.equal(saved["Upstream"][key], value) for key, value in given.items())
    tested = (tmp_path / "x" / "test_fold1_predict.txt").read_text()
    assert run_downstream(["-m", "evaluate", "-e", "x"]) == 0
    assert (tmp_path / "x" / "test_fold1_predict.txt").read_text() == tested
    assert run_downstream([*begin, "--frozen", "-p", "y", *short]) == 0
    assert "Upstream" not in torch.load(tmp_path / "y" / "states-2.ckpt", weights_only=True)


def test_the_speaker_probe_keeps_s3prl_s_defaults(begin, tmp_path):
    argv = ["-d", "speaker_probe", *begin[2:], "-p", "x", "-o", SHORT.format(steps=2)]
    assert run_downstream(argv) == 0
    saved = torch.load(tmp_path / "x" / "states-2.ckpt", weights_only=True)
    assert "Upstream" not in saved  # frozen
    assert saved["Args"].upstream_feature_selection == "hidden_states"


def test_a_missing_speaker_corpus_of_the_probe_is_told_at_once(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOXCELEB1_ROOT", raising=False)
    assert run_downstream(["-d", "speaker_probe", "-u", "hubert_base"]) == 2
    assert "The speaker corpus VoxCeleb1 was not found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_step_of_tap_on_a_full_size_hubert_base(begin, tmp_path):
    base = make_hubert(tmp_path / "base.pt", base=True)
    options = (SHORT.format(steps=1) + NO_START).replace("eval_step=2", "eval_step=1")
    argv = [
        "-d",
        "emotion_spknorm",
        "-u",
        "hubert_local",
        "-k",
        str(base),
        "-p",
        "x",
        "-o",
        options,
    ]
    assert run_downstream(argv) == 0
    before = torch.load(base, weights_only=True)["model_weight"]
    assert sum(weight.numel() for weight in before.values()) > 94_000_000
    after = torch.load(tmp_path / "x" / "dev-best.ckpt", weights_only=True)["Upstream"]
    for layer in (0, 11):
        key = f"encoder.layers.{layer}.fc1.weight"
        assert not torch.equal(before[key], after[f"model.{key}"])
    line = json.loads((tmp_path / "x" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["step"] == 1
    assert line["speaker_loss"] > 0
    shutil.rmtree(tmp_path / "x")  # half a gigabyte
    base.unlink()
