import argparse

import pytest
import torch
from command_lines import fail

from spknorm.cli import (
    arguments,
    overrides,
)
from spknorm.cli import resume as resuming
from spknorm.errors import MissingError

pytestmark = pytest.mark.usefixtures("corpus_roots")


@pytest.fixture
def earlier(tmp_path):
    """The folder of an earlier experiment of a stock task, with one checkpoint."""
    folder = tmp_path / "earlier"
    folder.mkdir()
    saved = argparse.Namespace(
        downstream="emotion",
        upstream="fbank",
        expdir="/elsewhere",
        seed=7,
        mode="train",
        device="gpu",
    )
    state = {"Args": saved, "Config": {"runner": {"total_steps": 5}}, "Step": 5, "Downstream": {}}
    torch.save(state, folder / "states-5.ckpt")
    return folder


def test_a_checkpoint_s_settings_beat_the_command_line_but_not_overrides(earlier):
    args = arguments.parse(["-e", str(earlier), "--seed", "1", "-m", "evaluate", "--device", "cpu"])
    changes = overrides.parse_overrides("config.runner.total_steps=9,,args.verbose=True")
    merged, config = resuming.resume(args, changes, None)
    assert (merged.seed, merged.upstream) == (7, "fbank")  # the checkpoint's
    assert (merged.mode, merged.device) == ("evaluate", "cpu")  # the command line's
    assert (config["runner"]["total_steps"], merged.verbose) == (9, True)  # -o's
    assert merged.init_ckpt == str(earlier / "states-5.ckpt")
    assert merged.expdir == str(earlier)  # the folder was moved


def test_auto_resume_continues_only_where_there_is_something(earlier, tmp_path):
    args = arguments.parse(["-a", "-p", str(earlier)])
    resuming.look_for_checkpoint(args)
    assert args.past_exp == str(earlier)
    for argv in (["-a", "-p", str(tmp_path / "none")], ["-p", str(earlier)], ["-a"]):
        args = arguments.parse(argv)
        resuming.look_for_checkpoint(args)
        assert args.past_exp is None


def test_settings_that_a_checkpoint_overrules_are_named(earlier, caplog):
    args = arguments.parse(["-e", str(earlier), "-d", "emotion"])
    resuming.resume(args, [], {"runner": {"total_steps": 8}, "optimizer": {"lr": 1}})
    assert caplog.messages == [
        "The checkpoint's configuration is kept, so these settings have no effect: "
        "config.optimizer, config.runner.total_steps. Give them with -o, or start anew with "
        "another -n."
    ]


def test_our_engine_gets_the_new_settings_to_compare(earlier):
    args = arguments.parse(["-e", str(earlier), "-d", "emotion_spknorm", "--seed", "1"])
    new = {"runner": {"total_steps": 8}}
    merged, config = resuming.resume(args, [], new)
    assert config is new
    assert (merged.seed, merged.init_ckpt) == (1, str(earlier / "states-5.ckpt"))


def test_a_file_that_is_no_experiment_s_checkpoint_is_refused(tmp_path, capsys):
    torch.save({"Step": 1, "Args": 3, "Config": 4, "Downstream": 5}, tmp_path / "x.ckpt")
    status, text = fail(["-e", str(tmp_path / "x.ckpt")], capsys)
    assert status == 5
    assert "is no checkpoint of an experiment: it has no arguments and configuration" in text
    (tmp_path / "x.ckpt").write_text("nothing")
    assert fail(["-e", str(tmp_path / "x.ckpt")], capsys)[0] == 5
    with pytest.raises(MissingError):
        resuming.resume(arguments.parse(["-e", str(tmp_path / "none")]), [], None)
