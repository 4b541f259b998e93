import argparse
import json
import re

import pytest
import torch
from command_lines import fail

from spknorm.cli import (
    arguments,
    overrides,
)
from spknorm.cli import resume as resuming
from spknorm.config import effects
from spknorm.config.weights import MARKS, check_weights, note_weights
from spknorm.errors import CheckpointError, MissingError
from spknorm.upstreams import build

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


def test_the_weights_that_a_run_began_with_stay_with_it(earlier, tmp_path):
    began = ["-i", str(earlier / "states-5.ckpt"), "-d", "emotion_spknorm"]
    args = arguments.parse([*began, "-p", str(tmp_path / "run")])
    note_weights(args)
    mark = args.initial_weights
    assert re.fullmatch(r"earlier/states-5\.ckpt, digest [0-9a-f]{12}", mark)
    (tmp_path / "run").mkdir()
    state = {"Args": args, "Config": {}, "Step": 1, "Downstream": {}}
    torch.save(state, tmp_path / "run" / "states-1.ckpt")
    for argv, config in (
        (["-e", str(tmp_path / "run")], None),
        (["-a", "-p", "x"], {"runner": {}}),
    ):
        args = arguments.parse([*argv, "-d", "emotion_spknorm"])
        args.past_exp = str(tmp_path / "run")
        merged, _ = resuming.resume(args, [], config)
        assert merged.initial_weights == mark
        assert merged.init_ckpt == str(tmp_path / "run" / "states-1.ckpt")
    args = arguments.parse(["-d", "emotion_spknorm", "-k", "https://x/y.pt"])
    note_weights(args)
    assert not {*MARKS} & {*vars(args)}


def test_a_frozen_upstream_s_file_that_was_replaced_is_refused(earlier, tmp_path):
    (tmp_path / "k.pt").write_bytes(b"one")
    args = arguments.parse(["-d", "emotion_spknorm", "-u", "hubert_local", "--frozen"])
    args.upstream_ckpt, args.upstream_trainable = str(tmp_path / "k.pt"), False
    note_weights(args)
    check_weights(args)
    state = {"Args": args, "Config": {}, "Step": 1, "Downstream": {}}
    torch.save(state, tmp_path / "states-1.ckpt")
    (tmp_path / "k.pt").write_bytes(b"two")
    again = arguments.parse(["-e", str(tmp_path)])
    with pytest.raises(CheckpointError) as refused:
        resuming.resume(again, [], None)
    assert str(refused.value) == (
        f"{tmp_path}/k.pt is not the file that this run began with (its digest was 7692c3ad3540, "
        "is 3fc4ccfe7458), and the weights of a frozen upstream are not in the run's checkpoints: "
        "put the first file back, or begin a new experiment."
    )
    with pytest.raises(CheckpointError, match="is not the file that this run began with"):
        build(args)
    args.upstream_trainable = True  # whose weights are in its checkpoints
    check_weights(args)


@pytest.mark.parametrize(
    "changed", ["config.json", "model-00002-of-00002.safetensors", "spknorm_gate.pt", "base"]
)
@pytest.mark.parametrize("by_address", [False, True])
def test_a_frozen_upstream_s_folder_that_was_changed_is_refused(changed, by_address, tmp_path):
    folder = tmp_path / "model"
    (folder / "base").mkdir(parents=True)
    names = ["config.json", "model-00001-of-00002.safetensors", "spknorm_gate.pt", "vocab.json"]
    for name in [*names, "model-00002-of-00002.safetensors", "base/model.safetensors"]:
        (folder / name).write_bytes(b"one")
    about = {"base_model_name_or_path": str(folder / "base")}
    (folder / "adapter_config.json").write_text(json.dumps(about))
    named = ["-u", f"hf:{folder}"] if by_address else ["-u", "hf_hubert_custom", "-k", str(folder)]
    args = arguments.parse(["-d", "emotion_spknorm", *named, "--frozen"])
    args.upstream_trainable = False
    note_weights(args)
    check_weights(args)
    (folder / "vocab.json").write_bytes(b"two")  # which no upstream reads
    check_weights(args)
    state = {"Args": args, "Config": {}, "Step": 1, "Downstream": {}}
    torch.save(state, tmp_path / "states-1.ckpt")
    file = folder / (f"{changed}/model.safetensors" if changed == "base" else changed)
    file.write_bytes(b"two")
    said = re.escape(f"{folder} is not the folder, with the files, that this run began with (its d")
    with pytest.raises(CheckpointError, match=said):
        resuming.resume(arguments.parse(["-e", str(tmp_path)]), [], None)
    with pytest.raises(CheckpointError, match=said):
        build(args)
    args.upstream_trainable = True
    check_weights(args)


def test_a_result_keeps_the_upstream_s_digest_for_whoever_loads_it_from_there():
    """An audit reads a run's command line in result.json and asks no checkpoint."""
    assert {*MARKS} <= {*effects.ARGUMENTS}


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
