import os

import torch
import yaml
from command_lines import S3PRL_OPTIONS

from spknorm.cli import (
    arguments,
    process,
)


def test_settings_are_written_as_s3prl_does(tmp_path):
    args = arguments.parse(["-p", str(tmp_path), "-u", "fbank", "-g", str(tmp_path / "m.yaml")])
    (tmp_path / "m.yaml").write_text("a: 1\n")
    process.write_settings(args, {"runner": {"total_steps": 1}})
    [written] = tmp_path.glob("args_*.yaml")
    assert yaml.safe_load(written.read_text()) == vars(args)
    [written] = tmp_path.glob("config_*.yaml")
    assert yaml.safe_load(written.read_text()) == {"runner": {"total_steps": 1}}
    assert [path.read_text() for path in tmp_path.glob("m_*.yaml")] == ["a: 1\n"]


def test_the_namespace_has_s3prl_s_fields_and_no_others(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    args = arguments.parse(["-d", "emotion", "-u", "fbank"])
    process.prepare(args)
    assert set(vars(args)) == {
        option.split()[-1].removeprefix("--").replace("-", "_") for option in S3PRL_OPTIONS
    }
    assert args.local_rank == 1
    assert args.device in ("cpu", "cuda")
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ


def test_seeds_are_set_as_in_s3prl():
    import random

    import numpy as np

    draws = []
    for _ in range(2):
        process.seed(arguments.parse(["--seed", "3"]))
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert torch.backends.cudnn.deterministic


def test_only_torchrun_s_first_process_is_the_leader(monkeypatch):
    assert process.is_leader()
    monkeypatch.setenv("RANK", "1")
    assert not process.is_leader()
