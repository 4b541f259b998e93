"""Runs that were stopped go on, and give what they would have given."""

import signal

import pytest
from killed_runs import (
    KilledError,
    at_step,
    kill,
    metrics_of,
    same_weights,
)
from tiny_runs import outcome_of, settings_of, train

from spknorm.errors import CheckpointError, ConfigError
from spknorm.runner.engine import SpknormRunner
from spknorm.runs import checkpoint
from spknorm.runs.resume import held

STRATEGIES = [("none", "literal"), ("SNP", "literal"), ("TAP", "reversal"), ("TAP", "literal")]


@pytest.mark.parametrize(("strategy", "update"), STRATEGIES)
@pytest.mark.parametrize(
    "step", [4, pytest.param(1, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_bit_for_bit(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch, strategy, update, step
):
    mapping = settings_of(tiny_corpora, strategy=strategy, update=update)
    with at_step(monkeypatch, step, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert same_weights(tmp_path, undisturbed(strategy, update))
    assert outcome_of(tmp_path) == outcome_of(undisturbed(strategy, update))


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(
    ("strategy", "update"), [("none", "literal"), ("SNP", "literal"), ("SNP", "relative")]
)
def test_a_killed_run_on_cached_features_goes_on_bit_for_bit(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, strategy, update, trainable
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    cached = {"upstream": {"cache": "auto"}}
    mapping = settings_of(tiny_corpora, strategy=strategy, update=update, other=cached)
    flags = {"upstream_trainable": trainable}
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path / "run", **flags)
    train(tiny_hubert, mapping, tmp_path / "run", resume=True, **flags)
    train(tiny_hubert, mapping, tmp_path / "whole", **flags)
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    assert outcome_of(tmp_path / "run") == outcome_of(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["SNP", "TAP"])
@pytest.mark.parametrize(
    ("update", "method"),
    [
        ("adaptive", {"ascent_lr": 1e-5}),
        (
            "relative",
            {"speaker_lambda": 3.0, "relative_to": "loss", "speaker_catch_up": 0.002},
        ),
        ("relative", {"speaker_lambda": 0.3, "relative_to": "step"}),
    ],
)
def test_a_killed_adaptive_or_relative_run_goes_on_bit_for_bit(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch, strategy, update, method
):
    mapping = settings_of(tiny_corpora, strategy=strategy, update=update, method=method)
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    whole = undisturbed(strategy, update, method=method)
    assert same_weights(tmp_path, whole)
    assert outcome_of(tmp_path) == outcome_of(whole)
    batches = [line["speaker_batches"] for line in metrics_of(whole) if line["split"] == "train"]
    assert (max(batches) > 1) == ("speaker_catch_up" in method)


def test_dropout_accumulation_crops_and_schedules_survive_a_kill_bit_for_bit(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    options = {
        "gradient_accumulate_steps": 2,
        "log_step": 3,
        "method": {"speaker_steps": 2, "schedule": "dann", "adversary": "confusion"},
        "expert": {
            "modelrc": {"speaker_head": {"dropout": 0.5, "batch_norm": True}},
            "speaker_corpus": {"max_seconds": 0.1},
        },
        "other": {
            "scheduler": {"name": "linear_schedule_with_warmup", "num_warmup_steps": 2},
        },
    }
    mapping = settings_of(tiny_corpora, update="literal", **options)
    whole = undisturbed("TAP", "literal", **options)
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert same_weights(tmp_path, whole)
    assert outcome_of(tmp_path) == outcome_of(whole)
    rates = [line["lr"] for line in metrics_of(whole) if line["split"] == "train"]
    assert rates == pytest.approx([7.5e-5, 0.0])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
@pytest.mark.fault("signal")
def test_a_signal_finishes_the_step_saves_and_says_so_by_its_status(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch, number, status
):
    mapping = settings_of(tiny_corpora)
    with (
        at_step(monkeypatch, 3, lambda: signal.raise_signal(number)),
        pytest.raises(SystemExit) as ended,
    ):
        train(tiny_hubert, mapping, tmp_path)
    assert ended.value.code == status
    assert checkpoint.latest(tmp_path)[0].name == "states-3.ckpt"
    assert "interrupted at step 3, which was saved" in (tmp_path / "log.log").read_text()
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert outcome_of(tmp_path) == outcome_of(undisturbed("TAP", "literal"))


@pytest.mark.fault("signal")
def test_a_signal_within_an_evaluation_leaves_it_to_the_resumed_run(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    mapping = settings_of(tiny_corpora)
    predict, calls = SpknormRunner._predict, []

    def interrupted_once(self, split):
        calls.append(split)
        if len(calls) in (2, 5):  # dev at step 4; test, after dev at 4 and 6
            signal.raise_signal(signal.SIGTERM)
        return predict(self, split)

    monkeypatch.setattr(SpknormRunner, "_predict", interrupted_once)
    for _ in range(2):
        with pytest.raises(SystemExit):
            train(tiny_hubert, mapping, tmp_path, resume=True)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert calls == ["dev", "dev", "dev", "dev", "test", "test"]
    assert outcome_of(tmp_path) == outcome_of(undisturbed("TAP", "literal"))


def test_a_complete_run_is_left_as_it_is(undisturbed, tiny_hubert, tiny_corpora):
    folder = undisturbed("SNP", "literal")
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}
    train(tiny_hubert, settings_of(tiny_corpora, strategy="SNP"), folder, resume=True)
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"} == before


def test_more_steps_go_on_as_if_they_had_been_asked_for_at_once(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    train(tiny_hubert, settings_of(tiny_corpora, total_steps=4), tmp_path)
    train(tiny_hubert, settings_of(tiny_corpora), tmp_path, resume=True)
    assert same_weights(tmp_path, undisturbed("TAP", "literal"))
    assert outcome_of(tmp_path) == outcome_of(undisturbed("TAP", "literal"))


@pytest.mark.fault("changed settings")
def test_other_settings_are_named_and_refused_or_accepted_as_asked(
    tiny_hubert, tiny_corpora, tmp_path
):
    train(tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path)
    changed = settings_of(tiny_corpora, method={"speaker_lambda": 0.5})
    with pytest.raises(ConfigError) as refused:
        train(tiny_hubert, changed, tmp_path, resume=True, seed=7)
    assert str(refused.value) == (
        "The run cannot go on with other settings: args.seed was 1337, is 7; "
        "config.downstream_expert.spknorm.speaker_lambda was 0.001, is 0.5. Put them back, start "
        "a new experiment (-n or -p), or set config.runner.on_config_change to fork or accept."
    )
    changed["runner"]["on_config_change"] = "accept"
    train(tiny_hubert, changed, tmp_path, resume=True)
    assert checkpoint.latest(tmp_path)[1]["Step"] == 6


def test_leftovers_of_killed_writes_are_removed(tmp_path):
    (tmp_path / ".states-2.ckpt.abc.tmp").write_bytes(b"half")
    with held(tmp_path):
        assert not list(tmp_path.glob(".*.tmp"))


def test_a_checkpoint_of_s3prls_runner_is_not_gone_on_from(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    states = checkpoint.read(undisturbed("TAP", "literal") / "states-6.ckpt")
    del states["Spknorm"]
    checkpoint.save(tmp_path / "states-6.ckpt", states)
    with pytest.raises(CheckpointError, match=r"is not one of spknorm's engine"):
        train(tiny_hubert, settings_of(tiny_corpora), tmp_path, resume=True)
