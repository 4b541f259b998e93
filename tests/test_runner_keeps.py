"""What stays of a run that is complete, what it computed with, and an optimiser without moments."""

import json
import re
import shutil

import pytest
import torch
from tiny_runs import outcome_of, settings_of, train, weights_of
from torch import nn

from spknorm.errors import CheckpointError, ConfigError
from spknorm.method.optim.optimizers import make_optimizer, precondition
from spknorm.method.optim.precision import precision_of
from spknorm.runs import checkpoint
from spknorm.runs.result import read_result
from spknorm.schema import OptimizerConfig, RunnerConfig


@pytest.fixture
def whole(undisturbed):
    return undisturbed("TAP", "literal")


@pytest.fixture
def shrunk(undisturbed):
    """The same run, of which the weights alone are kept."""
    return undisturbed("TAP", "literal", keep="weights")


def names_of(folder):
    return sorted(path.name for path in folder.glob("*.ckpt"))


def test_all_is_kept_by_default(whole):
    assert names_of(whole) == ["dev-best.ckpt", "states-6.ckpt"]


def test_a_run_says_how_many_epochs_its_steps_are(whole):
    first = (whole / "log.log").read_text().splitlines()[0]
    said = re.fullmatch(r"6 steps of 4 utterances: ([\d.]+) epochs of the (\d+) that train", first)
    assert said[1] == f"{6 * 4 / int(said[2]):.1f}"


def test_weights_are_kept_without_what_training_on_takes(whole, shrunk):
    assert names_of(shrunk) == ["dev-best.ckpt"]
    kept, full = (checkpoint.read(one / "dev-best.ckpt") for one in (shrunk, whole))
    assert set(full) - set(kept) == {"Optimizer"}
    for part in ("Upstream", "Featurizer", "Downstream"):
        assert all(torch.equal(one, kept[part][name]) for name, one in full[part].items())
    assert outcome_of(shrunk)[2] == outcome_of(whole)[2]
    assert (shrunk / "dev-best.ckpt").stat().st_size < (
        (whole / "dev-best.ckpt").stat().st_size / 2
    )


@pytest.mark.parametrize(
    ("keep", "names", "trains_on"),
    [
        ("best", ["dev-best.ckpt"], {"dev-best.ckpt"}),
        ("last", ["dev-best.ckpt", "states-2.ckpt"], {"states-2.ckpt"}),
    ],
)
def test_the_best_or_the_last_checkpoint_is_kept_to_train_on_from(
    tiny_hubert, tiny_corpora, tmp_path, keep, names, trains_on
):
    train(tiny_hubert, settings_of(tiny_corpora, keep=keep, total_steps=2), tmp_path)
    assert names_of(tmp_path) == names
    whole = {name for name in names if "Optimizer" in checkpoint.read(tmp_path / name)}
    assert whole == trains_on


def test_without_dev_the_last_weights_are_kept(tiny_hubert, tiny_corpora, tmp_path):
    settings = settings_of(tiny_corpora, keep="weights", eval_dataloaders=["test"], total_steps=2)
    train(tiny_hubert, settings, tmp_path)
    assert names_of(tmp_path) == ["states-2.ckpt"]
    assert "Optimizer" not in checkpoint.read(tmp_path / "states-2.ckpt")


@pytest.mark.parametrize("keep", ["weights", "none"])
def test_a_complete_run_is_not_trained_again(keep, tiny_hubert, tiny_corpora, tmp_path, caplog):
    settings = settings_of(tiny_corpora, keep=keep, strategy="none", total_steps=2)
    train(tiny_hubert, settings, tmp_path)
    assert names_of(tmp_path) == (["dev-best.ckpt"] if keep == "weights" else [])
    before = outcome_of(tmp_path)
    with caplog.at_level("INFO", logger="spknorm"):
        train(tiny_hubert, settings, tmp_path, auto_resume=True)
    assert "is complete: nothing to do" in caplog.text
    assert outcome_of(tmp_path) == before
    longer = settings_of(tiny_corpora, keep=keep, strategy="none", total_steps=8)
    with pytest.raises(ConfigError, match=r"complete run with other settings \(runner\.total_st"):
        train(tiny_hubert, longer, tmp_path, auto_resume=True)
    with pytest.raises(ConfigError, match="holds the"):
        train(tiny_hubert, settings, tmp_path)
    assert outcome_of(tmp_path) == before


def test_what_was_shrunk_cannot_be_trained_on(shrunk, tiny_hubert, tiny_corpora, tmp_path):
    shutil.copytree(shrunk, tmp_path, dirs_exist_ok=True)
    longer = settings_of(tiny_corpora, total_steps=8)
    with pytest.raises(CheckpointError, match="holds weights alone"):
        train(tiny_hubert, longer, tmp_path, init_ckpt=str(tmp_path / "dev-best.ckpt"))


@pytest.mark.parametrize(
    ("settings", "device", "capability", "precision"),
    [
        ({"precision": "auto"}, "cpu", None, "fp32"),
        ({"precision": "auto"}, "cuda", (9, 0), "bf16"),
        ({"precision": "auto"}, "cuda", (8, 0), "bf16"),
        ({"precision": "auto"}, "cuda", (7, 5), "fp32"),
        ({"precision": "bf16"}, "cpu", None, "bf16"),
        ({"precision": "fp32"}, "cuda", (9, 0), "fp32"),
        ({"precision": "auto", "fp16": True}, "cuda", (9, 0), "fp16"),
    ],
)
def test_auto_is_bf16_where_that_is_native(settings, device, capability, precision, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert precision_of(RunnerConfig(**settings), torch.device(device)) == precision


def test_result_and_log_say_what_it_was_computed_with(tiny_hubert, tiny_corpora, tmp_path):
    with_held_out = {"ceiling": 1.0, "held_out_every": 1}
    dropped = {"upstream": {"cache": "off", "checkpoint_activations": True}}
    settings = settings_of(
        tiny_corpora, precision="auto", method=with_held_out, other=dropped, total_steps=2
    )
    train(tiny_hubert, settings, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["precision"] == "fp32"
    assert result["computing"] == {
        "device": "cpu", "precision": "fp32", "attention": ["of each utterance by products"],
        "tf32": [], "fused": False, "compiled": False, "recorded": False, "most_frames": None,
        "recomputes": True, "keeps_on_host": False,
    }  # fmt: skip
    assert read_result(tmp_path / "result.json").computing.recomputes
    assert (tmp_path / "log.log").read_text().splitlines()[-1] == (
        "computed in fp32 on cpu, attention of each utterance by products, activations recomputed"
    )


def test_a_run_whose_features_are_looked_up_names_no_attention(tiny_hubert, tiny_corpora, tmp_path):
    frozen = {"upstream_trainable": False, "upstream_feature_selection": "hidden_states"}
    settings = settings_of(tiny_corpora, strategy="none", total_steps=2)
    train(tiny_hubert, settings, tmp_path, **frozen)
    assert (tmp_path / "log.log").read_text().splitlines()[-1] == "computed in fp32 on cpu"


ADAFACTOR = {"optimizer": {"torch_optim_name": "Adafactor", "lr": 0.01, "groups": None}}


def test_adafactor_trains_keeps_almost_no_state_and_goes_on_bit_for_bit(
    tiny_hubert, tiny_corpora, tmp_path
):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    settings = settings_of(tiny_corpora, update="relative", other=ADAFACTOR, total_steps=4)
    train(tiny_hubert, settings, whole)
    shorter = settings_of(tiny_corpora, update="relative", other=ADAFACTOR, total_steps=2)
    train(tiny_hubert, shorter, halves)
    train(tiny_hubert, settings, halves, resume=True)
    ours, theirs = weights_of(whole), weights_of(halves)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    state = checkpoint.latest(whole)[1]["Optimizer"]["emotion"]["state"]
    held = sum(one.numel() for each in state.values() for one in each.values())
    weights = sum(one.numel() for one in weights_of(whole).values())
    assert held < weights / 4


def test_adafactor_s_means_of_rows_and_columns_give_the_size_of_each_weight():
    torch.manual_seed(0)
    matrix = nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))
    config = OptimizerConfig(torch_optim_name="Adafactor", lr=0.01)
    optimizer = make_optimizer(config, {"upstream": [matrix]})
    rows, columns = torch.rand(3, 1).double() + 0.1, torch.rand(1, 4).double() + 0.1
    matrix.grad = rows * columns  # rank one: its factors say all of it
    optimizer.step()
    matrix.grad = torch.ones_like(matrix)
    precondition([matrix], optimizer)
    size = rows * columns
    expected = 1 / (size / size.square().mean().sqrt() + 0.01)
    torch.testing.assert_close(matrix.grad, expected)
