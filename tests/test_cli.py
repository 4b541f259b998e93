import argparse
import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from stock_trees import make_iemocap

from spknorm.cli import (
    arguments,
    checks,
    commands,
    experiment,
    overrides,
    process,
    run_downstream,
    settings,
)
from spknorm.cli import resume as resuming
from spknorm.errors import USER_ERRORS, ConfigError, MissingError

REPOSITORY = Path(__file__).parent.parent

S3PRL_OPTIONS = {
    "-m --mode",
    "-t --evaluate_split",
    "-o --override",
    "--backend",
    "--local_rank --local-rank",
    "-e --past_exp",
    "-i --init_ckpt",
    "-c --config",
    "-d --downstream",
    "-v --downstream_variant",
    "--hub",
    "-u --upstream",
    "-k --upstream_ckpt",
    "-g --upstream_model_config",
    "-r --upstream_refresh",
    "-f --upstream_trainable",
    "-s --upstream_feature_selection",
    "-l --upstream_layer_selection",
    "--upstream_feature_normalize",
    "--upstream_model_name",
    "--upstream_revision",
    "-n --expname",
    "-p --expdir",
    "-a --auto_resume",
    "--push_to_hf_hub",
    "--hf_hub_org",
    "--seed",
    "--device",
    "--cache_dir",
    "--verbose",
    "--disable_cudnn",
}
OWN_OPTIONS = {"--frozen", "--skip-bad"}


def options_of(parser):
    return {" ".join(action.option_strings) for action in parser._actions} - {"-h --help"}


def fail(argv, capsys):
    """Return exit status and the text on stderr of a command that must not load s3prl's hub."""
    status = run_downstream(argv)
    return status, capsys.readouterr().err.strip()


@pytest.fixture(autouse=True)
def corpora(tmp_path_factory, monkeypatch):
    """Folders that stand for the corpora: to be found is all that is asked of them here."""
    for variable in ("IEMOCAP_ROOT", "VOXCELEB1_ROOT"):
        monkeypatch.setenv(variable, str(tmp_path_factory.mktemp(variable)))


# The surface


def test_the_options_are_s3prl_s_and_two_more():
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    assert options_of(parser) == S3PRL_OPTIONS | OWN_OPTIONS


def test_every_option_of_stock_s3prl_is_there_under_the_same_name(monkeypatch):
    """Reads the option table out of s3prl's own parser instead of trusting the list above."""
    importlib.import_module("spknorm.compat")
    stock = importlib.import_module("s3prl.run_downstream")
    stock_parser = []
    parse = argparse.ArgumentParser.parse_args

    def remember(self, *args, **options):
        stock_parser.append(self)
        raise InterruptedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", remember)
    with pytest.raises(InterruptedError):
        stock.get_downstream_args()
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    theirs = {
        tuple(a.option_strings): a for a in stock_parser[0]._actions if a.dest not in ("help",)
    }
    own = argparse.ArgumentParser()
    arguments.add_arguments(own)
    ours = {string: action for action in own._actions for string in action.option_strings}
    for strings, action in theirs.items():
        for string in strings:
            mine = ours[string]
            assert (mine.dest, mine.type, mine.choices and set(mine.choices)) == (
                action.dest,
                action.type,
                action.choices and set(action.choices),
            )
            assert type(mine) is type(action)
    filled_in_later = {
        "upstream_trainable",
        "upstream_feature_selection",
        "device",
        "mode",  # required there
    }
    for action in theirs.values():
        if action.dest not in filled_in_later:
            assert ours[action.option_strings[0]].default == action.default, action.dest


@pytest.mark.parametrize("command", [["run_downstream.py"], ["-m", "spknorm.run_downstream"]])
def test_help_is_quick_small_and_loads_neither_torch_nor_the_hub(command):
    code = (
        "import pathlib, runpy, sys, time\n"
        f"argv = {command!r}\n"
        "sys.argv = [argv[-1], '--help']\n"
        "try:\n"
        "    runpy.run_module(argv[1], run_name='__main__') if argv[0] == '-m' else "
        "runpy.run_path(argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "loaded = sorted({'torch', 's3prl', 's3prl.hub', 'torchaudio'} & set(sys.modules))\n"
        "memory = pathlib.Path('/proc/self/status').read_text()\n"
        "peak = int(memory.partition('VmHWM:')[2].split()[0]) / 1024\n"
        "print(status, loaded, peak, time.process_time(), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    status, loaded, megabytes, seconds = result.stderr.rsplit(" ", 3)
    assert (status, loaded) == ("0", "[]")
    assert float(megabytes) < 120
    assert float(seconds) < 0.6  # of this process: the machine may be busy with others
    assert "-u NAME" in result.stdout


def test_importing_the_package_loads_neither_torch_nor_s3prl():
    code = "import spknorm, spknorm.cli, sys; print({'torch', 's3prl'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert result.stdout == "set()\n"


def test_entry_scripts_are_three_statements():
    import ast

    for path in ("run_downstream.py", "spknorm/run_downstream.py"):
        body = ast.parse((REPOSITORY / path).read_text()).body
        assert len([node for node in body if not isinstance(node, ast.Expr)]) == 3


def test_each_command_has_help(capsys):
    for name in commands.SUBCOMMANDS:
        with pytest.raises(SystemExit) as ended:
            commands.main([name, "--help"])
        assert ended.value.code == 0
        assert f"spknorm {name}" in capsys.readouterr().out


# Overrides


def test_overrides_are_read_as_literals():
    text = (
        "config.optimizer.lr=1.0e-3 ,, config.optimizer.name='AdamW',,"
        "config.runner.eval_dataloaders=['dev', 'test'],,args.seed=3,,args.expname=a=b,,"
        "config.a=None"
    )
    assert overrides.parse_overrides(text) == [
        (("config", "optimizer", "lr"), 1e-3),
        (("config", "optimizer", "name"), "AdamW"),
        (("config", "runner", "eval_dataloaders"), ["dev", "test"]),
        (("args", "seed"), 3),
        (("args", "expname"), "a=b"),
        (("config", "a"), None),
    ]
    assert overrides.parse_overrides("None") == overrides.parse_overrides(None) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(0.9, [1, (2,)])", [0.9, [1, [2]]]),
        ("{'a': (1,)}", {"a": [1]}),
        ("{1: 2}", "{1: 2}"),
        ("{1, 2}", "{1, 2}"),
        ("b'x'", "b'x'"),
        ("1j", "1j"),
    ],
)
def test_values_are_what_a_configuration_file_can_hold(text, value):
    assert overrides.parse_overrides(f"config.a={text}") == [(("config", "a"), value)]


@pytest.mark.parametrize("value", ["__import__('os').system('touch canary')", "(" * 9999, "1 +"])
def test_what_is_no_literal_is_text_and_not_run(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert overrides.parse_overrides(f"config.a={value}") == [(("config", "a"), value)]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "piece",
    ["lr=3", "config.lr", "config=3", "args=3", "args.a.b=3", "config..a=1", "=", "config.=1"],
)
def test_a_malformed_override_is_named(piece):
    with pytest.raises(ConfigError) as caught:
        overrides.parse_overrides(f"args.seed=1,,{piece}")
    assert str(caught.value) == (
        f"`-o`: `{piece}` is not of the form config.a.b=value or args.x=value "
        "(pieces are separated by `,,`)."
    )


def test_an_override_makes_sections_but_not_out_of_values():
    config = {"optimizer": {"lr": 1, "groups": None}}
    changes = overrides.parse_overrides("config.optimizer.groups.gate.lr=2,,config.new.a=3")
    overrides.apply_to_config(changes, config)
    assert config == {"optimizer": {"lr": 1, "groups": {"gate": {"lr": 2}}}, "new": {"a": 3}}
    with pytest.raises(ConfigError) as caught:
        overrides.apply_to_config(overrides.parse_overrides("config.optimizer.lr.x=1"), config)
    assert str(caught.value) == (
        "`-o`: `config.optimizer.lr` is a single value, so that `config.optimizer.lr.x` cannot be "
        "set."
    )


def test_an_unknown_argument_is_named_with_the_nearest():
    args = arguments.parse([])
    with pytest.raises(ConfigError) as caught:
        overrides.apply_to_args(overrides.parse_overrides("args.sead=1"), args)
    assert str(caught.value) == "`-o`: there is no argument `args.sead`. Did you mean `args.seed`?"


# Defaults


def prepared(*argv):
    """Return arguments and configuration as they stand before anything is loaded."""
    args = arguments.parse(list(argv))
    changes = overrides.parse_overrides(args.override)
    overrides.apply_to_args(changes, args)
    config = settings.new_config(args, changes)
    settings.fill_in(args, config)
    checks.check(args, config)
    return args, config


def test_a_task_and_an_upstream_are_enough():
    args, config = prepared("-d", "emotion_spknorm", "-u", "hubert_large_ll60k")
    assert args.mode == "train"
    assert args.upstream_trainable is True
    assert args.upstream_feature_selection == "last_hidden_state"
    assert args.expname == "emotion_spknorm-hubert_large_ll60k-TAP-fold1"
    assert args.expdir == f"result/downstream/{args.expname}"
    assert args.config == str(REPOSITORY / "downstream" / "emotion_spknorm" / "config.yaml")
    assert config == yaml.safe_load(Path(args.config).read_text())
    assert (args.seed, args.device) == (1337, None)


def test_frozen_turns_fine_tuning_off():
    snp = "config.downstream_expert.spknorm.strategy=SNP"
    args, _ = prepared(
        "-d", "emotion_spknorm", "-u", "hubert", "--frozen", "-v", "fold3", "-o", snp
    )
    assert args.upstream_trainable is False
    assert args.expname == "emotion_spknorm-hubert-SNP-frozen-fold3"


def test_an_argument_given_by_override_beats_the_default():
    override = "args.upstream_trainable=False,,args.upstream_feature_selection='hidden_states'"
    args, _ = prepared("-d", "emotion_spknorm", "-u", "hubert", "-o", override)
    assert args.upstream_trainable is False
    assert args.upstream_feature_selection == "hidden_states"


def test_a_layer_is_selected_from_all_hidden_states():
    args, _ = prepared("-d", "emotion_spknorm", "-u", "hubert", "-l", "4")
    assert args.upstream_feature_selection == "hidden_states"


@pytest.fixture
def iemocap(tmp_path, monkeypatch):
    """An empty tree that looks like IEMOCAP with s3prl's folds, named by the environment."""
    for session in range(1, 6):
        folder = tmp_path / "meta_data" / f"Session{session}"
        folder.mkdir(parents=True)
        (folder / "train_meta_data.json").write_text("{}")
    monkeypatch.setenv("IEMOCAP_ROOT", str(tmp_path))
    return tmp_path


def test_stock_tasks_keep_s3prl_s_defaults(iemocap):
    args, config = prepared("-d", "emotion", "-u", "hubert", "-v", "fold2")
    assert args.upstream_trainable is False
    assert args.upstream_feature_selection == "hidden_states"
    assert args.expname == "emotion-hubert-fold2"
    data = config["downstream_expert"]["datarc"]
    assert (data["root"], data["meta_data"]) == (str(iemocap), str(iemocap / "meta_data"))


def test_an_experiment_s_file_says_only_what_differs(tmp_path):
    (tmp_path / "x.yaml").write_text("downstream_expert: {spknorm: {strategy: SNP}}")
    args, config = prepared(
        "-d", "emotion_spknorm", "-u", "hubert", "-c", str(tmp_path / "x.yaml"), "--skip-bad"
    )
    own = yaml.safe_load((REPOSITORY / "downstream/emotion_spknorm/config.yaml").read_text())
    own["downstream_expert"]["spknorm"]["strategy"] = "SNP"
    own["downstream_expert"]["datarc"]["skip_bad"] = True
    assert config == own
    assert args.config == str(tmp_path / "x.yaml")


def test_a_stock_task_s_file_is_the_whole_configuration(tmp_path, iemocap):
    (tmp_path / "x.yaml").write_text("runner: {total_steps: 3}")
    _, config = prepared("-d", "emotion", "-u", "hubert", "-c", str(tmp_path / "x.yaml"))
    assert set(config) == {"runner", "downstream_expert"}


# Errors: one text, the status, and nothing written or loaded


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (
            ["-u", "hubert"],
            "spknorm: `-d` is missing: a new experiment needs a task and an upstream, such as "
            "-d emotion_spknorm -u hubert_base. (-e continues an earlier one.)",
        ),
        (
            ["-d", "emotion_spknorm", "-u", "hubert", "-f", "--frozen"],
            "spknorm: `-f` and `--frozen` exclude each other: leave one out.",
        ),
        (
            ["-d", "emotion_spknorm", "-u", "hubert", "-v", "fold6"],
            "spknorm: `test_fold` must be one of fold1, fold2, fold3, fold4, fold5, but is "
            "`fold6`. Choose it with -v or config.downstream_expert.datarc.test_fold.",
        ),
        (
            [
                *["-d", "emotion_spknorm", "-u", "hubert", "-v", "fold1"],
                *["-o", "config.downstream_expert.datarc.test_fold=fold2"],
            ],
            "spknorm: `-v fold1` has no effect, since the configuration says `test_fold: fold2`: "
            "remove one of the two.",
        ),
        (
            ["-d", "emotion_spknorm", "-u", "hubert", "-l", "3", "-s", "last_hidden_state"],
            "spknorm: `-l` has no effect with `-s last_hidden_state`: leave one out.",
        ),
        (
            ["-d", "emotion_spknorm", "-u", "hubert", "--push_to_hf_hub", "True"],
            "spknorm: `--push_to_hf_hub` is no longer possible: huggingface_hub has no Repository "
            "any more. Upload the experiment folder afterwards: hf upload NAME FOLDER",
        ),
        (
            ["-d", "emotion_spknorm", "-u", "hubert_local"],
            "spknorm: The upstream `hubert_local` needs a checkpoint: name it with -k.",
        ),
        (
            ["-d", "emotion_spknorm", "-u", "hubert_local", "-k", "no.pt"],
            "spknorm: `-k no.pt`: there is no such checkpoint file.",
        ),
        (
            ["-d", "emotion_spknorm", "-u", "hubert", "-i", "no.ckpt"],
            "spknorm: `-i no.ckpt`: there is no such file.",
        ),
        (
            ["-m", "evaluate", "-d", "emotion_spknorm", "-u", "hubert", "-p", "x"],
            "spknorm: `-m evaluate` needs trained weights: name a checkpoint with -e or -i, such "
            "as -e x/dev-best.ckpt.",
        ),
        (["-e", "no"], "spknorm: `-e no`: there is no such checkpoint or experiment folder."),
        (
            ["-d", "emotion_spknorm", "-u", "hubert", "-c", "no.yaml"],
            "spknorm: There is no configuration file no.yaml. Name one with -c.",
        ),
        (
            ["-d", "asr", "-u", "hubert"],
            "spknorm: There is no default configuration for the task `asr` (there is for emotion, "
            "emotion_spknorm, fluent_commands, voxceleb1). Name one with -c.",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_text_before_anything_is_written(
    argv, text, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "prepare", lambda args: pytest.fail("torch would be loaded"))
    monkeypatch.setattr(
        settings.registry, "tasks", lambda: ("emotion_spknorm",)
    )  # whatever else is added
    assert fail(argv, capsys) == (2, text)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_corpus_of_a_stock_task_has_three_ways_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOXCELEB1_ROOT", raising=False)
    status, text = fail(["-d", "voxceleb1", "-u", "fbank"], capsys)
    assert status == 2
    assert text == (
        "spknorm: The task `voxceleb1` needs VoxCeleb1 (the folder with dev/ and test/), but "
        "VOXCELEB1_ROOT is not set either. Say where it is in one of three ways: export "
        "VOXCELEB1_ROOT=DIR, or -o config.downstream_expert.datarc.file_path=DIR, or "
        "`file_path: DIR` in the file given by -c. Without the corpus, `spknorm demo FOLDER` "
        "writes generated ones in the same layouts."
    )
    monkeypatch.setenv("VOXCELEB1_ROOT", "nowhere")
    assert "`nowhere` is no folder" in fail(["-d", "voxceleb1", "-u", "fbank"], capsys)[1]
    monkeypatch.setenv("VOXCELEB1_ROOT", str(tmp_path))
    assert "identification list is neither" in fail(["-d", "voxceleb1", "-u", "fbank"], capsys)[1]
    monkeypatch.setenv("IEMOCAP_ROOT", str(tmp_path))
    told = fail(["-d", "emotion", "-u", "fbank"], capsys)[1]
    assert told.endswith(f"python -m s3prl.downstream.emotion.IEMOCAP_preprocess {tmp_path}")


@pytest.mark.parametrize(
    ("variable", "role", "key"),
    [("IEMOCAP_ROOT", "emotion", "datarc"), ("VOXCELEB1_ROOT", "speaker", "speaker_corpus")],
)
def test_a_missing_corpus_is_told_before_torch_is_loaded(
    variable, role, key, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(variable)
    monkeypatch.setattr(process, "prepare", lambda args: pytest.fail("torch would be loaded"))
    argv = ["-d", "emotion_spknorm", "-u", "hubert_large_ll60k"]
    status, text = fail(argv, capsys)
    assert status == 2
    assert text.startswith(f"spknorm: The {role} corpus ")
    assert f"export {variable}=FOLDER" in text
    assert f"-o config.downstream_expert.{key}.corpus=demo" in text
    if role == "speaker":  # without an adversary there is no need for one
        none = ["-o", "config.downstream_expert.spknorm.strategy=none"]
        with pytest.raises(pytest.fail.Exception, match="torch would be loaded"):
            run_downstream([*argv, *none])


@pytest.mark.parametrize(
    ("task", "way_out"),
    [
        ("emotion", "without torchrun."),
        ("emotion_spknorm", "or with config.runner.engine=spknorm."),
    ],
)
def test_s3prl_s_own_runner_is_not_started_on_several_processes(
    task, way_out, iemocap, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = "config.runner.engine=s3prl,,config.optimizer.groups=None,,"
    options += "config.downstream_expert.spknorm.strategy=none"
    status, text = fail(["-d", task, "-u", "fbank", "-o", options], capsys)
    assert status == 2
    assert text.startswith("spknorm: s3prl's own Runner never ends on several processes")
    assert text.endswith(way_out)


def test_a_full_disk_ends_with_one_text(capsys):
    def command():
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")

    assert experiment.told(command) == 5
    told = "spknorm: /data/x takes no more data (No space left on device).\n"
    assert capsys.readouterr().err == told

    def other():
        raise OSError(errno.EACCES, "no")

    with pytest.raises(OSError, match="no"):
        experiment.told(other)


def test_inference_needs_an_audio_file(tmp_path, capsys, monkeypatch):
    (tmp_path / "x.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    argv = ["-m", "inference", "-d", "emotion_spknorm", "-u", "hubert", "-i", "x.ckpt"]
    assert fail(argv, capsys) == (
        2,
        "spknorm: `-m inference` needs an audio file, but `-t test` is none.",
    )


def test_an_unknown_upstream_is_named_with_the_nearest(tmp_path, capsys):
    argv = ["-d", "emotion_spknorm", "-u", "hubert_bas", "-p", str(tmp_path / "x")]
    status, text = fail(argv, capsys)
    assert status == 2
    assert text.splitlines()[-1].startswith(
        "spknorm: s3prl.hub has no upstream `hubert_bas`. Did you mean `hubert_base`"
    )
    assert not list((tmp_path / "x").glob("*.yaml"))


def test_a_folder_in_use_is_refused_before_torch_is_loaded(tmp_path, capsys, monkeypatch):
    from spknorm.files import FolderLock

    monkeypatch.setattr(process, "prepare", lambda args: pytest.fail("torch would be loaded"))
    with FolderLock(tmp_path):
        argv = ["-d", "emotion_spknorm", "-u", "hubert", "-p", str(tmp_path)]
        status, text = fail(argv, capsys)
    assert status == 2
    assert f"The folder {tmp_path} is in use by process {os.getpid()}" in text


def test_a_gpu_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    argv = ["-d", "emotion_spknorm", "-u", "fbank", "-p", str(tmp_path), "--device", "cuda:0"]
    assert fail(argv, capsys) == (
        2,
        "spknorm: `--device cuda:0`: torch sees no GPU here. Leave it out, or choose cpu.",
    )


def test_an_upstream_that_cannot_be_downloaded_is_one_clear_text(tmp_path, capsys, monkeypatch):
    importlib.import_module("spknorm.compat")
    download = importlib.import_module("s3prl.util.download")

    def no_network(*args, **options):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(download, "_download_url_to_file", no_network)
    monkeypatch.setattr(download, "_download_url_to_file_requests", no_network)
    monkeypatch.setattr(download, "_download_dir", download._download_dir)
    monkeypatch.setenv("IEMOCAP_ROOT", str(make_iemocap(tmp_path / "iemocap")))
    argv = ["-d", "emotion", "-u", "hubert_base", "-p", str(tmp_path / "x")]
    status, text = fail([*argv, "--cache_dir", str(tmp_path / "cache")], capsys)
    assert status == 2
    assert text.splitlines()[-1] == (
        "spknorm: The upstream `hubert_base` needs https://huggingface.co/s3prl/converted_ckpts/"
        "resolve/main/hubert_base_ls960.pt, which could not be downloaded (OSError) and is not in "
        f"{tmp_path / 'cache'} either. Give it a file with -k and a *_local upstream, or a folder "
        "with earlier downloads with --cache_dir."
    )


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["-u", "hf_hubert_custom", "-k", "nobody/nothing"], "nobody/nothing"),
        (["-u", "nobody/nothing", "--hub", "huggingface"], "nobody/nothing"),
    ],
)
def test_a_model_that_the_hugging_face_hub_does_not_give_is_one_clear_text(
    options, name, tmp_path, capsys, caplog
):
    argv = ["-d", "emotion_spknorm", *options, "-p", str(tmp_path / "x")]
    status, text = fail(argv, capsys)  # the tests run with HF_HUB_OFFLINE=1
    assert status == 2
    assert text.splitlines()[-1].startswith(
        f"spknorm: The upstream `{options[1]}` needs `{name}`, which is neither a folder here nor "
        "in the Hugging Face cache, and could not be downloaded ("
    )
    assert ("runs the Python code of the repository" in caplog.text) == ("--hub" in options)


def test_the_demo_corpora_are_written_where_asked(tmp_path, capsys, monkeypatch):
    import spknorm.demo

    def make(folder, *, rho, seed, progress):
        progress(1, 2)
        assert (rho, seed) == (0.5, 3)
        return spknorm.demo.DemoRoots(folder / "iemocap", folder / "voxceleb1", folder / "list")

    monkeypatch.setattr(spknorm.demo, "make_demo_corpora", make)
    assert commands.main(["demo", str(tmp_path), "--rho", "0.5", "--seed", "3"]) == 0
    told = f"export IEMOCAP_ROOT={tmp_path}/iemocap VOXCELEB1_ROOT={tmp_path}/voxceleb1\n"
    assert capsys.readouterr().out == told


def test_an_export_says_where_it_is_and_what_it_lacks(tmp_path, capsys, monkeypatch):
    export = importlib.import_module("spknorm.export")
    calls = []

    def write(expdir, out, *, formats):
        calls.append((expdir, out, formats))
        return export.Exported(tmp_path / "out", None, False, "its head has two layers")

    monkeypatch.setattr(export, "export", write)
    monkeypatch.setattr(
        export, "push", lambda folder, name, *, private: f"{folder.name} -> {name} {private}"
    )
    assert commands.main(["export", str(tmp_path), "--push", "me/model"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/out",
        "without the emotion classifier for transformers: its head has two layers",
        "out -> me/model True",
    ]
    assert commands.main(["export", str(tmp_path), "--out", "x", "--format", "s3prl"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out\n"
    assert calls == [
        (tmp_path, None, ("s3prl", "transformers")),
        (tmp_path, Path("x"), ("s3prl",)),
    ]


def test_predictions_are_printed_or_written(tmp_path, capsys, monkeypatch):
    predict = importlib.import_module("spknorm.predict")
    row = predict.Row(Path("a.wav"), 0.0, 1.5, "hap", {"neu": 0.25, "hap": 0.75})

    def rows(predictor, paths, *, window_seconds, hop_seconds, failed):
        assert (predictor, paths) == ((tmp_path, "cpu"), [Path("a.wav"), Path("b.wav")])
        assert (window_seconds, hop_seconds) == (4.0, 2.0)
        if failed is not None:
            failed[Path("b.wav")] = "no audio"
        yield row

    monkeypatch.setattr(predict, "load", lambda path, device: (path, device))
    monkeypatch.setattr(predict, "predict_files", rows)
    argv = ["predict", str(tmp_path), "a.wav", "b.wav", "--window", "4", "--hop", "2"]
    assert commands.main(argv) == 0
    assert capsys.readouterr().out == (
        "path,start,end,emotion,neu,hap\na.wav,0.0,1.5,hap,0.25,0.75\n"
    )
    out = tmp_path / "out.jsonl"
    assert commands.main([*argv, "--skip-bad", "--out", str(out)]) == 3  # b.wav was left out
    assert capsys.readouterr().out == f"1 rows in {out}\n"
    assert '"emotion": "hap"' in out.read_text()


def test_an_audit_prints_its_table(tmp_path, capsys, monkeypatch):
    audit = importlib.import_module("spknorm.audit")
    calls = {}

    def probe(folders, *, tell, **options):
        tell("hearing")
        calls.update(options, folders=folders)
        return ["row"]

    monkeypatch.setattr(audit, "audit", probe)
    monkeypatch.setattr(audit, "table", lambda rows: f"table of {len(rows)}")
    argv = ["audit", str(tmp_path), "--label", "gender", "--every-layer", "--max-speakers", "9"]
    assert commands.main(argv) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("table of 1\n", "hearing\n")
    assert calls == {
        "folders": [tmp_path],
        "every_run": False,
        "every_layer": True,
        "labels": ("gender",),
        "max_speakers": 9,
        "seed": 0,
        "device": "cpu",
    }


@pytest.mark.parametrize("error", USER_ERRORS)
def test_a_user_s_error_ends_with_its_status(error, capsys):
    def command():
        raise error("what happened")

    assert experiment.told(command) == error.exit_code
    assert capsys.readouterr().err == "spknorm: what happened\n"


def test_any_other_error_keeps_its_traceback():
    def command():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        experiment.told(command)


def test_an_interrupted_command_ends_as_the_shell_says():
    def command():
        raise KeyboardInterrupt

    assert experiment.told(command) == 130


# Continuing


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


# The process


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
