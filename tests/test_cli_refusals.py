import importlib
import os
from hashlib import sha256

import pytest
from command_lines import fail
from stock_trees import make_iemocap

from spknorm.cli import (
    process,
    run_downstream,
    settings,
)

pytestmark = pytest.mark.usefixtures("corpus_roots")


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
            ["-d", "emotion_spknorm", "-u", "hubert", "-o", "config.optimizer.lrr=null"],
            "spknorm: `config.optimizer.lrr` is not a known setting. Did you mean `lr`? Known "
            "here: betas, eps, fused, groups, lr, momentum, name, torch_optim_name, weight_decay.",
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


def test_the_folder_of_an_earlier_run_is_told_before_torch_is_loaded(
    iemocap_folds, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(process, "prepare", lambda args: pytest.fail("torch would be loaded"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "states-2.ckpt").write_bytes(b"")
    none = "config.downstream_expert.spknorm.strategy=none"
    argv = ["-d", "emotion_spknorm", "-u", "fbank", "-p", str(tmp_path / "run"), "-o", none]
    assert fail(argv, capsys) == (
        2,
        f"spknorm: {tmp_path}/run holds the checkpoints of an earlier run (states-2.ckpt): go on "
        "with it (-a), or choose another folder (-n or -p).",
    )


def test_an_experiment_of_several_runs_is_sent_to_the_bench(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.yaml").write_text("name: e\nupstreams: [fbank]\nvariants: [{strategy: none}]\n")
    assert fail(["-d", "emotion_spknorm", "-u", "fbank", "-c", "e.yaml"], capsys) == (
        2,
        "spknorm: e.yaml is an experiment of several runs: start it with `spknorm bench e.yaml` "
        "(--dry-run shows the commands of its runs).",
    )


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
    task, way_out, iemocap_folds, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = "config.runner.engine=s3prl,,config.optimizer.groups=None,,"
    options += "config.downstream_expert.spknorm.strategy=none,,config.runner.early_stopping=None"
    status, text = fail(["-d", task, "-u", "fbank", "-o", options], capsys)
    assert status == 2
    assert text.startswith("spknorm: s3prl's own Runner never ends on several processes")
    assert text.endswith(way_out)


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


def test_an_upstream_of_another_package_is_one_line(tmp_path, capsys, monkeypatch):
    from spknorm.upstreams.emotion2vec import package

    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    argv = ["-d", "emotion_spknorm", "-u", "emotion2vec_plus_base", "-p", str(tmp_path / "x")]
    status, text = fail(argv, capsys)
    assert status == 2
    assert text.splitlines()[-1] == (
        "spknorm: The upstream `emotion2vec_plus_base` needs the package funasr, which is not "
        "installed: pip install --no-deps funasr (what its other models need is not used here)."
    )


@pytest.mark.fault("folder")
def test_a_folder_in_use_is_refused_before_torch_is_loaded(tmp_path, capsys, monkeypatch):
    from spknorm.files import FolderLock

    monkeypatch.setattr(process, "prepare", lambda args: pytest.fail("torch would be loaded"))
    with FolderLock(tmp_path):
        argv = ["-d", "emotion_spknorm", "-u", "hubert", "-p", str(tmp_path)]
        status, text = fail(argv, capsys)
    assert status == 2
    assert f"The folder {tmp_path} is in use by process {os.getpid()}" in text


def test_a_gpu_that_is_not_there_is_refused(tmp_path, capsys, no_gpu):
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
    address = "https://huggingface.co/s3prl/converted_ckpts/resolve/main/hubert_base_ls960.pt"
    assert text.splitlines()[-1] == (
        f"spknorm: The upstream `hubert_base` needs {address}, which could not be downloaded "
        "(OSError) and is not in "
        f"{tmp_path / 'cache'} either. Download it elsewhere and put it there as "
        f"{sha256(address.encode()).hexdigest()}.hubert_base_ls960.pt, or name it with "
        "-k and a *_local upstream, or name a folder with earlier downloads with --cache_dir."
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


def test_a_temporary_folder_that_is_not_there_is_told_where_s3prl_s_processes_need_it(
    iemocap_folds, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "prepare", lambda args: pytest.fail("torch would be loaded"))
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    status, text = fail(["-d", "emotion", "-u", "fbank"], capsys)
    assert status == 2
    assert text == (
        "spknorm: TMPDIR is `/nonexistent`, which is no folder that can be written: s3prl's "
        "data-loading processes could hand over nothing. Make it, name another, or unset TMPDIR."
    )
    with pytest.raises(pytest.fail.Exception, match="torch would be loaded"):  # ours need none
        run_downstream(["-d", "emotion_spknorm", "-u", "fbank"])


@pytest.mark.parametrize("task", ["emotion_spknorm", "emotion"])
def test_a_layer_that_the_upstream_does_not_have_is_told(
    task, tiny_hubert, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("IEMOCAP_ROOT", str(make_iemocap(tmp_path / "iemocap")))
    argv = ["-d", task, "-u", "hubert_local", "-k", str(tiny_hubert), "--device", "cpu"]
    argv += ["-s", "hidden_states", "-l", "99", "-p", str(tmp_path / "run")]
    status, text = fail(argv, capsys)
    assert status == 2
    assert text.endswith(
        "spknorm: `-l 99`: the upstream `hubert_local` has no layer of that number in "
        "`hidden_states` (-s)."
    )
