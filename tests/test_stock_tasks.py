"""s3prl's own tasks through our command line, under s3prl's own Runner, on today's libraries."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import stock_trees
import torch
import yaml

from spknorm import registry
from spknorm.cli import run_downstream
from spknorm.config import load_yaml

SHORT = (
    "config.runner.total_steps={steps},,config.runner.log_step=1,,config.runner.eval_step=2,,"
    "config.runner.save_step=2,,config.runner.gradient_accumulate_steps=1,,"
    "config.downstream_expert.datarc.num_workers=0"
)
TASKS = {
    "emotion": ("IEMOCAP_ROOT", stock_trees.make_iemocap),
    "voxceleb1": ("VOXCELEB1_ROOT", stock_trees.make_voxceleb1),
    "fluent_commands": ("FLUENT_COMMANDS_ROOT", stock_trees.make_fluent_commands),
}
PREDICTIONS = {
    "emotion": "{}_fold2_predict.txt",
    "voxceleb1": "{}_predict.txt",
    "fluent_commands": "{}_predict.csv",
}
SAYS = {
    "emotion": r"speech (neu|hap|ang|sad)",
    "voxceleb1": r"speech id1\d{4}",
    "fluent_commands": r"speech (de)?activate lights kitchen",
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Return the roots of the three corpora by task."""
    folder = tmp_path_factory.mktemp("corpora")
    return {task: make(folder / task) for task, (_, make) in TASKS.items()}


@pytest.fixture
def task(request, roots, monkeypatch, tmp_path):
    """Return the name of a task whose corpus is found by the environment."""
    name = request.param
    monkeypatch.setenv(TASKS[name][0], str(roots[name]))
    monkeypatch.chdir(tmp_path)
    return name


def lines_of(expdir):
    """Return what the task logged: (split, step, value)."""
    pattern = re.compile(r"(\w+) at step (\d+): (\S+)")
    return [match.groups() for match in map(pattern.fullmatch, open_log(expdir)) if match]


def open_log(expdir):
    return (expdir / "log.log").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, indirect=True)
def test_a_stock_task_trains_resumes_evaluates_and_infers(task, tiny_hubert, tmp_path, capsys):
    expdir = tmp_path / "expdir"
    begin = ["-d", task, "-u", "hubert_local", "-k", str(tiny_hubert), "-p", str(expdir)]
    begin += ["-v", "fold2"] if task == "emotion" else []

    assert run_downstream([*begin, "-o", SHORT.format(steps=2)]) == 0
    assert (expdir / "states-2.ckpt").exists()
    assert ("train", "2") in {line[:2] for line in lines_of(expdir)}
    [written] = expdir.glob("config_*.yaml")
    assert yaml.safe_load(written.read_text())["runner"]["total_steps"] == 2
    saved = torch.load(expdir / "states-2.ckpt", weights_only=True)
    assert set(saved) == {
        "Optimizer",
        "Step",
        "Epoch",
        "Args",
        "Config",
        "Featurizer",
        "Downstream",
    }
    assert saved["Args"].upstream_trainable is False
    assert saved["Args"].upstream_feature_selection == "hidden_states"

    # -a with more steps: the checkpoint's settings, and -o on top
    assert run_downstream([*begin, "-a", "-o", SHORT.format(steps=4)]) == 0
    assert ("train", "4") in {line[:2] for line in lines_of(expdir)}
    assert [line[:2] for line in lines_of(expdir)].count(("train", "1")) == 1

    # -e needs nothing else; a folder gives its newest checkpoint
    more = "config.runner.total_steps=6"
    assert run_downstream(["-e", str(expdir), "-o", more]) == 0
    assert (expdir / "states-6.ckpt").exists()

    # -m evaluate, by -e and by -i, gives what training gave for the same weights
    predictions = expdir / PREDICTIONS[task].format("test")
    trained = predictions.read_text()
    for option in (["-e", str(expdir)], ["-i", str(expdir / "states-6.ckpt"), *begin]):
        predictions.unlink()
        assert run_downstream(["-m", "evaluate", "-t", "test", *option]) == 0
        assert predictions.read_text() == trained

    # -m inference on a file of another rate, with two channels
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000)
    capsys.readouterr()
    assert run_downstream(["-m", "inference", "-t", str(speech), "-e", str(expdir)]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(SAYS[task], told)
    assert (expdir / "inference.txt").read_text() == told + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("task", ["emotion"], indirect=True)
@pytest.mark.parametrize("upstream", ["fbank", "mfcc"])
def test_a_stock_task_trains_on_spectral_features(task, upstream, tmp_path):
    argv = ["-d", task, "-u", upstream, "-p", str(tmp_path / "x"), "-o", SHORT.format(steps=2)]
    assert run_downstream(argv) == 0
    assert (tmp_path / "x" / "states-2.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["emotion"], indirect=True)
def test_a_stock_task_fine_tunes_an_upstream(task, tiny_hubert, tmp_path):
    argv = ["-d", task, "-u", "hubert_local", "-k", str(tiny_hubert), "-p", str(tmp_path / "x")]
    argv += ["-f", "-s", "last_hidden_state", "-o", SHORT.format(steps=2)]
    assert run_downstream(argv) == 0
    before = torch.load(tiny_hubert, weights_only=True)["model_weight"]
    after = torch.load(tmp_path / "x" / "states-2.ckpt", weights_only=True)["Upstream"]
    key = "encoder.layers.0.fc1.weight"
    assert not torch.equal(before[key], after[f"model.{key}"])


@pytest.mark.parametrize("task", ["emotion"], indirect=True)
def test_a_truncated_checkpoint_is_named_and_the_one_before_is_used(
    task, tiny_hubert, tmp_path, caplog
):
    expdir = tmp_path / "expdir"
    begin = ["-d", task, "-u", "hubert_local", "-k", str(tiny_hubert), "-p", str(expdir)]
    assert run_downstream([*begin, "-o", SHORT.format(steps=2)]) == 0
    content = (expdir / "states-2.ckpt").read_bytes()
    (expdir / "states-3.ckpt").write_bytes(content[: len(content) // 2])
    again = ["-e", str(expdir), "-o", "config.runner.total_steps=4"]
    assert run_downstream(again) == 0
    assert "states-3.ckpt" in caplog.text
    assert ("train", "3") in {line[:2] for line in lines_of(expdir)}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["fluent_commands"], indirect=True)
def test_s3prl_s_own_command_runs_with_compat_alone(task, roots, tmp_path):
    config = load_yaml(registry.config_path(task))
    config["downstream_expert"]["datarc"]["file_path"] = str(roots[task])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code = "import spknorm.compat; from s3prl.run_downstream import main; main()"
    stock = [sys.executable, "-c", code, "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(registry.plugin_root())}
    train = ["-m", "train", "-d", task, "-u", "fbank", "-c", "config.yaml", "-n", "stock"]
    more = ",,config.runner.total_steps=4"
    for argv in (
        [*train, "-o", SHORT.format(steps=2)],
        [*train, "-a", "-o", SHORT.format(steps=2) + more],
        ["-m", "evaluate", "-e", "result/downstream/stock/states-4.ckpt"],
    ):
        subprocess.run([*stock, *argv], check=True, env=environment, cwd=tmp_path)
    assert (tmp_path / "result/downstream/stock/states-4.ckpt").exists()
    assert (tmp_path / "result/downstream/stock/test_predict.csv").exists()
