"""A run that is gone on with by other settings: in a fork, which leaves the first folder alone."""

import json
import shutil

import pytest
import tiny_runs
import torch

from spknorm.cli import run_downstream
from spknorm.errors import ConfigError
from spknorm.runs import checkpoint

CHANGE = {"method": {"speaker_lambda": 0.5}}


def forking(corpora, **options):
    return tiny_runs.settings_of(corpora, on_config_change="fork", **{**CHANGE, **options})


def content_of(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def run_once(tiny_hubert, tiny_corpora, tmp_path_factory):
    """The folder of a run of four steps."""
    folder = tmp_path_factory.mktemp("once") / "run"
    tiny_runs.train(tiny_hubert, tiny_runs.settings_of(tiny_corpora, total_steps=4), folder)
    return folder


@pytest.fixture
def run(run_once, tmp_path):
    """A copy of it of the test's own."""
    return shutil.copytree(run_once, tmp_path / "run")


@pytest.mark.fault("changed settings")
def test_a_fork_goes_on_with_the_new_settings_and_leaves_the_first_run_alone(
    run, tiny_hubert, tiny_corpora, caplog
):
    before, fork = content_of(run), run.with_name("run-fork1")
    tiny_runs.train(tiny_hubert, forking(tiny_corpora), run, resume=True)
    assert content_of(run) == before
    key = "config.downstream_expert.spknorm.speaker_lambda"
    assert f"Other settings than those of {run}: {key} was 0.001, is 0.5." in caplog.text
    assert f"From its step 4 on the run goes on in {fork}; {run} stays as it is." in caplog.text
    result = json.loads((fork / "result.json").read_text())
    origin = {"folder": "run", "step": 4, "changed": {key: [0.001, 0.5]}}
    assert (result["forked_from"], result["steps"], result["speaker_lambda"]) == (origin, 6, 0.5)
    log = (fork / "log.log").read_text().splitlines()
    assert log[0] == f"forked from run at step 4: {key} was 0.001, is 0.5"
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (run, fork)]
    assert lines[1][:6] == lines[0][:6]
    rates = [json.loads(line).get("speaker_lambda") for line in lines[1]]
    assert [rate for rate in rates if rate] == [1e-3] * 4 + [0.5] * 2
    states = checkpoint.latest(fork)[1]
    assert (states["Step"], states["Args"].expdir) == (6, str(fork))


@pytest.mark.fault("changed settings")
def test_a_fork_has_the_weights_that_accepting_the_change_would_have_given(
    run, tiny_hubert, tiny_corpora, tmp_path
):
    """Two ways to the same end; the accepted one overwrites the first run."""
    tiny_runs.train(tiny_hubert, forking(tiny_corpora), run, resume=True)
    accepting = tiny_runs.settings_of(tiny_corpora, on_config_change="accept", **CHANGE)
    tiny_runs.train(tiny_hubert, accepting, run, resume=True)
    ours, theirs = tiny_runs.weights_of(tmp_path / "run-fork1"), tiny_runs.weights_of(run)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.fault("changed settings")
def test_the_same_settings_find_their_fork_and_others_get_one_of_their_own(
    run, tiny_hubert, tiny_corpora
):
    names = lambda: sorted(path.name for path in run.parent.iterdir())  # noqa: E731
    tiny_runs.train(tiny_hubert, forking(tiny_corpora, total_steps=5), run, resume=True)
    tiny_runs.train(tiny_hubert, forking(tiny_corpora), run, resume=True)
    assert names() == ["run", "run-fork1"]
    assert checkpoint.latest(run.with_name("run-fork1"))[1]["Step"] == 6
    before = content_of(run.with_name("run-fork1"))
    tiny_runs.train(tiny_hubert, forking(tiny_corpora), run, resume=True)  # complete
    tiny_runs.train(tiny_hubert, forking(tiny_corpora), run, resume=True, seed=7)
    assert content_of(run.with_name("run-fork1")) == before
    assert names() == ["run", "run-fork1", "run-fork2"]
    # and without other settings the first run itself goes on
    same = tiny_runs.settings_of(tiny_corpora, on_config_change="fork", total_steps=5)
    tiny_runs.train(tiny_hubert, same, run, resume=True)
    assert checkpoint.latest(run)[1]["Step"] == 5
    assert names() == ["run", "run-fork1", "run-fork2"]


@pytest.mark.fault("changed settings")
def test_a_best_step_that_the_fork_never_saw_is_not_its_own(run, tiny_hubert, tiny_corpora):
    """A run that was killed between a new best and the next checkpoint."""
    states = checkpoint.read(run / "dev-best.ckpt")
    checkpoint.save(run / "dev-best.ckpt", {**states, "Step": 5})
    tiny_runs.train(tiny_hubert, forking(tiny_corpora), run, resume=True)
    fork = run.with_name("run-fork1")
    assert checkpoint.read(fork / "dev-best.ckpt")["Step"] == 6
    assert json.loads((fork / "result.json").read_text())["best_step"] == 6


@pytest.mark.fault("changed settings")
def test_a_learning_rate_that_was_changed_counts(run, tiny_hubert, tiny_corpora):
    """The optimiser's state in the checkpoint has the rate of before."""
    rates = {"optimizer": {"lr": 0.25, "groups": {"upstream": {"lr": 0.0}}}}
    tiny_runs.train(tiny_hubert, forking(tiny_corpora, other=rates), run, resume=True)
    fork = run.with_name("run-fork1")
    lines = (fork / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line).get("lr") for line in lines[-4:]] == [0.25, 0.25, None, None]


@pytest.mark.fault("changed settings")
def test_a_run_without_a_step_left_is_not_forked(run, tiny_hubert, tiny_corpora):
    with pytest.raises(ConfigError, match="has done all 4 steps, so that a fork with other"):
        tiny_runs.train(tiny_hubert, forking(tiny_corpora, total_steps=4), run, resume=True)
    assert [path.name for path in run.parent.iterdir()] == ["run"]


@pytest.mark.fault("changed settings")
def test_the_command_line_forks_before_it_writes_into_the_folder(
    tiny_hubert, tiny_corpora, tmp_path, capsys
):
    options = (
        "config.runner.{}=1,,config.runner.save_step=1,,config.runner.eval_step=1,,"
        f"config.downstream_expert.datarc.root={tiny_corpora / 'iemocap'},,"
        f"config.downstream_expert.speaker_corpus.root={tiny_corpora / 'voxceleb1'},,"
        "config.downstream_expert.spknorm.speaker_pretrain_steps=0,,"
        "config.downstream_expert.datarc.num_workers=0,,config.runner.total_steps={}{}"
    )
    run = tmp_path / "run"
    command = ["-m", "train", "-d", "emotion_spknorm", "-u", "hubert_local", "-a"]
    command += ["-k", str(tiny_hubert), "-p", str(run), "--device", "cpu", "-o"]
    assert run_downstream([*command, options.format("log_step", 1, "")]) == 0
    before = content_of(run)
    change = ",,config.runner.on_config_change=fork,,config.optimizer.lr=0.25"
    for steps in (2, 3):
        assert run_downstream([*command, options.format("log_step", steps, change)]) == 0
        assert content_of(run) == before
    fork = tmp_path / "run-fork1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-fork1"]
    assert list(fork.glob("config_*.yaml"))
    result = json.loads((fork / "result.json").read_text())
    assert (result["steps"], result["forked_from"]["step"]) == (3, 1)
    assert result["forked_from"]["changed"]["config.optimizer.lr"][1] == 0.25
    assert capsys.readouterr().err.count("spknorm: ") == 0
