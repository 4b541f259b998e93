import os
import signal
import warnings

import pytest
import torch
import yaml
from command_lines import S3PRL_OPTIONS

from spknorm.cli import arguments, main, process, run_downstream
from spknorm.config import device


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
    monkeypatch.setenv("RANK", "1")  # left over: there is no other process
    assert process.is_leader()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert not process.is_leader()


@pytest.mark.parametrize("device", ["gpu", "CPU", "0", "cuda:", "cuda:x", "mps", "", "cpu "])
def test_a_device_that_is_none_is_told_before_torch_is_loaded(device, capsys, monkeypatch):
    monkeypatch.setattr(process, "prepare", lambda args: pytest.fail("torch would be loaded"))
    for command in (
        lambda: run_downstream(["-d", "emotion", "-u", "fbank", "--device", device]),
        lambda: main(["predict", "x", "y", "--device", device]),
        lambda: main(["audit", "x", "--device", device]),
    ):
        assert command() == 2
        told = capsys.readouterr().err
        assert told == f"spknorm: `--device` must be cpu, cuda or cuda:N, but is `{device}`.\n"


def test_a_gpu_that_is_not_there_is_told_by_every_command(capsys, monkeypatch, no_gpu):
    assert main(["predict", "x", "y", "--device", "cuda"]) == 2
    assert "`--device cuda`: torch sees no GPU here" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert main(["audit", "x", "--device", "cuda:7"]) == 2
    assert "torch sees 2 GPUs here, counted from 0." in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert main(["audit", "x", "--device", "cuda:1"]) == 2
    assert "torch sees 1 GPU here, counted from 0." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("capability", "built", "usable"),
    [
        ((7, 5), ["sm_75", "sm_80", "sm_90"], True),
        ((7, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((8, 6), ["sm_80", "sm_90"], True),
        ((8, 0), ["sm_86"], False),
        ((10, 3), ["sm_90", "sm_100"], True),
        ((12, 1), ["sm_90", "sm_100"], False),
        ((12, 1), ["sm_90", "compute_90"], True),
        ((9, 0), ["sm_90a"], True),
        ((9, 0), [], True),
    ],
)
def test_kernels_serve_later_cards_of_their_generation_and_their_source_all(
    capability, built, usable, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a card")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    reason = device.reason_without_kernels(0)
    assert (reason is None) == usable
    if reason is not None:
        major, minor = capability
        assert reason == (
            f"this torch has no kernels for a card (sm_{major}{minor}), only for "
            f"{', '.join(built)}: install a torch that was built for it"
        )


@pytest.mark.parametrize("seed", ["-1", str(1 << 32)])
def test_a_seed_that_no_generator_takes_is_told(seed, capsys):
    for argv in (["demo", "--seed", seed], ["audit", "x", "--seed", seed]):
        assert main(argv) == 2
    assert run_downstream(["-d", "emotion", "-u", "fbank", "--seed", seed]) == 2
    told = set(capsys.readouterr().err.splitlines())
    assert told == {
        f"spknorm: `--seed` must be a whole number from 0 to 2**32 - 1, but is `{seed}`."
    }


@pytest.mark.parametrize("value", ["1.5", "abc", "", "1e3", "nan"])
@pytest.mark.parametrize(
    ("argv", "option"),
    [
        (["run-downstream", "-d", "emotion", "-u", "fbank"], "--seed"),
        (["run-downstream", "-d", "emotion", "-u", "fbank"], "--upstream_layer_selection"),
        (["run-downstream", "-d", "emotion", "-u", "fbank"], "--local-rank"),
        (["audit", "x"], "--seed"),
        (["audit", "x"], "--max-speakers"),
        (["demo"], "--seed"),
        (["splits", "x.csv"], "--groups"),
    ],
)
def test_what_is_no_whole_number_is_one_line(argv, option, value, capsys):
    assert main([*argv, f"{option}={value}"]) == 2
    assert capsys.readouterr().err == (
        f"spknorm: `{option}` must be a whole number, but is `{value}`.\n"
    )


@pytest.mark.parametrize(
    ("argv", "option"),
    [(["predict", "x", "y"], "--window"), (["predict", "x", "y"], "--hop"), (["demo"], "--rho")],
)
def test_what_is_no_number_is_one_line(argv, option, capsys):
    assert main([*argv, option, "long"]) == 2
    told = capsys.readouterr().err
    assert told == f"spknorm: `{option}` must be a number, but is `long`.\n"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "0.00001"])
@pytest.mark.parametrize("before", [[], ["--window=1"]])
def test_windows_that_cannot_be_are_told_before_a_model_is_loaded(before, value, capsys):
    option = "--hop" if before else "--window"
    assert main(["predict", "x", "y", *before, f"{option}={value}"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("spknorm: `window_seconds` must be at least 0.025 and `hop_seconds`")


@pytest.mark.parametrize("value", ["1", "0", "-3"])
def test_too_few_groups_are_refused(value, capsys):
    argv = ["splits", "demo", "--protocol", "loso-group", f"--groups={value}"]
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert told == f"spknorm: `--groups` must be 2 or more, but is `{value}`.\n"


@pytest.mark.parametrize("value", ["1", "0", "-1"])
def test_too_few_speakers_to_be_told_apart_are_refused(value, capsys):
    assert main(["audit", "x", "--max-speakers", value]) == 2
    assert capsys.readouterr().err == (
        f"spknorm: `--max-speakers` must be 2 or more, to be told apart, but is `{value}`.\n"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: COMMAND. See `spknorm --help`."),
        (["predict"], "the following arguments are required: EXPDIR, FILE_OR_FOLDER. See `spknorm "
         "predict --help`."),
        (["predict", "", "x"], "An argument behind `predict` is empty: is a variable of the shell "
         "unset?"),
        (["run-downstream", "-p", ""], "An argument behind `-p` is empty: is a variable of the "
         "shell unset?"),
        (["report", "x", "--to", "y"], "unrecognized arguments: --to y. See `spknorm --help`."),
        (["audit", "x", "--seed"], "argument --seed: expected one argument. See `spknorm audit "
         "--help`."),
    ],
)  # fmt: skip
def test_what_argparse_complains_of_is_one_line_too(argv, message, capsys):
    assert main(argv) == 2
    assert capsys.readouterr().err == f"spknorm: {message}\n"


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        ("args.seed=abc", "`args.seed` must be a whole number, but is `abc`."),
        ("args.seed=1.5", "`args.seed` must be a whole number, but is `1.5`."),
        ("args.upstream_layer_selection=last", "`args.upstream_layer_selection` must be a whole"),
        ("args.auto_resume=maybe", "`args.auto_resume` must be true or false, but is `maybe`."),
        ("args.mode=teach", "`args.mode` must be one of train, evaluate, inference, but is"),
    ],
)
def test_an_argument_by_override_is_checked_as_the_option_is(piece, message, capsys):
    assert run_downstream(["-d", "emotion", "-u", "fbank", "-o", piece]) == 2
    assert capsys.readouterr().err.startswith(f"spknorm: `-o`: {message}")


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGUSR1", 138)])
def test_before_training_a_signal_ends_a_run_and_usr1_puts_its_job_back(
    tmp_path, monkeypatch, number, status
):
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\necho $* >> {tmp_path}/called\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name, value in (("JOB_ID", "9"), ("ARRAY_JOB_ID", "9"), ("ARRAY_TASK_ID", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(SystemExit) as ended, process.leaving_in_order():
        signal.raise_signal(getattr(signal, number))
    assert ended.value.code == status
    called = tmp_path / "called"
    assert (called.read_text() if called.exists() else "") == (
        "requeue 9_2\n" if number == "SIGUSR1" else ""
    )
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["report", "{}"], "name an experiment's or a benchmark's to report on."),
        (["audit", "{}"], "name that of a finished experiment or of a benchmark."),
        (["bench", "--status", "{}"], "name a bench's, the one with summary.json in it."),
        (["export", "{}"], "name the folder of a finished experiment, the one with result.json i"),
        (["predict", "{}", "x.wav"], "name the folder of a finished experiment, the one with res"),
        (["serve", "{}"], "name the folder of a finished experiment, the one with result.json in"),
    ],
)
def test_a_folder_that_is_a_file_or_not_there_is_told_as_that(argv, told, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "x.wav").write_text("")
    words = [str(tmp_path / word) if word == "x.wav" else word for word in argv]
    assert main([word.format(tmp_path / "a.yaml") for word in words]) == 2
    assert capsys.readouterr().err.startswith(f"spknorm: {tmp_path}/a.yaml is a file: {told}")
    assert main([word.format(tmp_path / "none") for word in words]) == 2
    assert capsys.readouterr().err.startswith(
        f"spknorm: There is no folder {tmp_path}/none: {told}"
    )


@pytest.mark.usefixtures("corpus_roots")
def test_a_folder_in_place_of_a_file_is_told_as_that(tmp_path, capsys):
    argv = ["-d", "emotion_spknorm", "-p", str(tmp_path / "x")]
    assert run_downstream([*argv, "-u", "fbank", "--frozen", "-i", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (f"spknorm: `-i {tmp_path}`: it is a folder: name a file.\n")
    assert run_downstream([*argv, "-u", "hubert_local", "-k", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"spknorm: `-k {tmp_path}`: it is a folder, and `hubert_local` takes a file; a folder of "
        f"transformers goes with -u hf:{tmp_path}.\n"
    )


def test_what_python_says_of_the_grammar_of_s3prl_is_silenced():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        process.hush()
        compile('"a" is "b"', "/site/s3prl/upstream/expert.py", "exec")
        assert caught == []
        compile('"a" is "b"', "/site/mine/expert.py", "exec")
        assert [one.category for one in caught] == [SyntaxWarning]
