import argparse
import builtins
import importlib
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest
import soundfile
import torch

import spknorm.compat
from spknorm.compat import audio_files, hugging_face, torch_and_torchaudio
from spknorm.errors import CheckpointError

torchaudio = importlib.import_module("torchaudio")  # not before compat


def run_python(code, **environment):
    """Return the finished process of a fresh interpreter."""
    import os

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd=Path(__file__).parent.parent,
    )


@pytest.fixture(scope="module")
def fresh():
    """A process that imported everything; before that, a fork of it torchaudio without compat."""
    # torch 2.15 is built for CUDA 13.2, torchaudio 2.11 for 13.0: stage that disagreement.
    # s3prl.utility.helper comes before compat, and is corrected all the same.
    return run_python(
        """
        import os
        import sys
        import torch
        torch.version.cuda = "99.9"
        if not (child := os.fork()):
            try:
                import torchaudio
            except BaseException as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        import s3prl.utility.helper as helper
        before = isinstance
        import spknorm.compat
        from spknorm.compat.expressions import read_expression
        assert torch.version.cuda == "99.9"
        assert helper.eval is read_expression
        helper.hack_isinstance()
        assert isinstance is before
        import s3prl.hub, s3prl.nn, s3prl.downstream.runner, s3prl.run_downstream
        for name in ("hubert_large_ll60k", "wav2vec2", "wavlm", "hf_hubert_custom", "fbank"):
            assert callable(getattr(s3prl.hub, name))
        assert "transformers" not in sys.modules  # which takes as long as all else
        """
    )


def test_everything_imports_again_in_a_fresh_process_whatever_came_first(fresh):
    assert fresh.returncode == 0, fresh.stderr


def test_without_compat_torchaudio_refuses_another_cuda(fresh):
    if torch.ops._torchaudio.cuda_version() is None:
        return  # a torchaudio without CUDA has nothing to compare
    assert "compiled with different CUDA versions" in fresh.stdout


def test_applying_twice_changes_nothing():
    hooks, load = list(sys.meta_path), torchaudio.load
    spknorm.compat.apply()
    assert sys.meta_path == hooks
    assert torchaudio.load is load


def test_what_a_library_still_has_is_left_alone(monkeypatch):
    marker = object()
    monkeypatch.setattr(torchaudio, "set_audio_backend", marker)
    monkeypatch.setattr(torchaudio, "info", marker)
    torch_and_torchaudio.apply()
    assert torchaudio.set_audio_backend is marker
    assert torchaudio.info is marker


def test_torchaudio_load_is_replaced_only_where_torchcodec_does_not_work(monkeypatch):
    marker = object()
    monkeypatch.setattr(torchaudio, "load", marker)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", sys)
    monkeypatch.setattr(torchaudio, "save", marker)
    torch_and_torchaudio.apply()
    assert torchaudio.load is torchaudio.save is marker
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    torch_and_torchaudio.apply()
    assert (torchaudio.load, torchaudio.save) == (audio_files.load, audio_files.save)


def test_the_names_that_left_huggingface_hub_are_there(monkeypatch):
    import huggingface_hub

    hugging_face.apply()
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "abc")
    saved = []
    monkeypatch.setattr(huggingface_hub, "login", lambda token: saved.append(token))
    assert huggingface_hub.HfFolder.get_token() == "abc"
    huggingface_hub.HfFolder.save_token(None)
    huggingface_hub.HfFolder.save_token("def")
    assert saved == ["def"]
    with pytest.raises(NotImplementedError, match="--push_to_hf_hub cannot push"):
        huggingface_hub.Repository(local_dir="x")


def test_a_snapshot_takes_its_former_arguments():
    calls = []

    def download(repo_id, *, revision=None, token=None):
        calls.append((repo_id, revision, token))

    former = hugging_face._with_former_arguments(download)
    former("a/b", "main", use_auth_token=True)
    former("a/b", use_auth_token="secret")
    assert calls == [("a/b", "main", None), ("a/b", None, "secret")]


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("insecure", ["0", "1"])
def test_checkpoints_are_loaded_with_weights_only(tmp_path, monkeypatch, insecure):
    import s3prl.upstream.hubert.convert as convert
    import s3prl.upstream.roberta.convert as roberta

    if insecure == "1":
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"task_cfg": Touch(tmp_path / "canary")}, tmp_path / "bad.pt")
    for module in (convert, roberta):
        with pytest.raises(
            CheckpointError, match="it was not loaded, since other content could run"
        ):
            module.load_converted_model(str(tmp_path / "bad.pt"))
    assert not (tmp_path / "canary").exists()


def test_the_command_line_in_a_checkpoint_loads(tmp_path):
    torch.save({"Args": argparse.Namespace(mode="train")}, tmp_path / "states-1.ckpt")
    assert torch.load(tmp_path / "states-1.ckpt", weights_only=True)["Args"].mode == "train"


def test_isinstance_stays_python_s_own():
    from s3prl.utility.helper import hack_isinstance

    before = builtins.isinstance
    hack_isinstance()
    assert builtins.isinstance is before
    assert isinstance(defaultdict(list), (dict, list))


def test_the_runner_of_a_machine_with_a_gpu_runs_on_its_cpu():
    import s3prl.downstream.runner as runner

    with runner.torch.cuda.device("cpu"):
        pass
    assert isinstance(runner.torch.cuda.device("cuda:0"), torch.cuda.device)
    assert runner.torch.cuda.is_available is torch.cuda.is_available


def test_the_file_list_of_voxceleb1_is_kept_per_root_and_as_json(tmp_path, tone):
    import s3prl.downstream.voxceleb1.expert as voxceleb1

    def expert(root, pitch):
        lines = []
        for split in (1, 2, 3):
            file = f"id1000{split}/video/0000{split}.wav"
            path = tmp_path / root / "dev" / "wav" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(0.1, pitch=pitch), 16000)
            lines.append(f"{split} {file}\n")
        (tmp_path / "list.txt").write_text("".join(lines))
        data = {"file_path": str(tmp_path / root), "meta_data": str(tmp_path / "list.txt")}
        config = {
            "datarc": {**data, "max_timestep": 128000},
            "modelrc": {"projector_dim": 4, "select": "UtteranceLevel"},
        }
        return voxceleb1.DownstreamExpert(
            upstream_dim=8, downstream_expert=config, expdir=str(tmp_path / "expdir")
        )

    first, second, again = expert("a", 100), expert("b", 150), expert("a", 100)
    assert "/a/" in first.train_dataset.dataset[0]
    assert "/b/" in second.train_dataset.dataset[0]
    assert again.train_dataset.dataset == first.train_dataset.dataset
    kept = sorted((tmp_path / "expdir").glob("voxceleb1-*/*.pkl"))
    assert len(kept) == 6
    assert all(path.read_text().startswith('["') for path in kept)
    assert not (Path(voxceleb1.__file__).parent / ".cache").exists()


@pytest.mark.parametrize("module", ["wav2vec2.wav2vec2_model", "wavlm.WavLM"])
def test_masks_that_may_not_overlap_find_numpy_s_former_names(module):
    masks = importlib.import_module(f"s3prl.upstream.{module}").compute_mask_indices(
        (2, 100), None, 0.5, 5, no_overlap=True, min_space=1
    )
    assert masks.shape == (2, 100)
    assert masks.any()
