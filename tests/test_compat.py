import argparse
import builtins
import importlib
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_upstreams
import torch

import spknorm.compat
from spknorm.compat import hugging_face, s3prl_modules, torch_and_torchaudio
from spknorm.compat.expressions import read_conv_layers, read_expression
from spknorm.errors import CheckpointError, ConfigError, DataError

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


# Importing


def test_everything_imports_again_in_a_fresh_process_whatever_came_first():
    # torch 2.15 is built for CUDA 13.2, torchaudio 2.11 for 13.0: stage that disagreement.
    # s3prl.utility.helper comes before compat, and is corrected all the same.
    result = run_python(
        """
        import torch
        torch.version.cuda = "99.9"
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
        """
    )
    assert result.returncode == 0, result.stderr


def test_without_compat_torchaudio_refuses_another_cuda():
    if torch.ops._torchaudio.cuda_version() is None:
        return  # a torchaudio without CUDA has nothing to compare
    result = run_python("import torch; torch.version.cuda = '99.9'; import torchaudio")
    assert "compiled with different CUDA versions" in result.stderr


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
    torch_and_torchaudio.apply()
    assert torchaudio.load is marker
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    torch_and_torchaudio.apply()
    assert torchaudio.load is torch_and_torchaudio.load


# torchaudio


def test_load_returns_channels_first_floats_and_the_rate(tmp_path):
    wave = np.stack([np.linspace(-0.5, 0.5, 800), np.zeros(800)], axis=1)
    soundfile.write(tmp_path / "a b.flac", wave, 8000)
    samples, rate = torch_and_torchaudio.load(tmp_path / "a b.flac")
    assert (samples.shape, samples.dtype, rate) == ((2, 800), torch.float32, 8000)
    assert np.allclose(samples.numpy().T, wave, atol=1e-4)
    last, _ = torch_and_torchaudio.load(str(tmp_path / "a b.flac"), channels_first=False)
    assert last.shape == (800, 2)


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [(0, -1, 800), (100, -1, 700), (100, 50, 50), (790, 50, 10), (900, -1, 0)],
)
def test_load_reads_a_part_of_a_file(tmp_path, offset, count, expected):
    wave = np.arange(800, dtype=np.float32) / 1000
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    samples, _ = torch_and_torchaudio.load(tmp_path / "a.wav", offset, count)
    assert samples.shape == (1, expected)
    assert np.array_equal(samples[0].numpy(), wave[offset : offset + expected])


def test_load_and_info_take_open_files(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(160), 16000)
    with (tmp_path / "a.wav").open("rb") as file:
        assert torch_and_torchaudio.load(file)[0].shape == (1, 160)
    with (tmp_path / "a.wav").open("rb") as file:
        assert torch_and_torchaudio.info(file).num_frames == 160


def test_load_of_something_else_is_a_runtime_error(tmp_path):
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(RuntimeError, match="Error opening"):
        torch_and_torchaudio.load(tmp_path / "a.wav")


def test_info_reads_the_header(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((160, 3)), 8000, subtype="PCM_24")
    assert torch_and_torchaudio.info(tmp_path / "a.wav") == (8000, 160, 3, 24, "PCM_24")


def test_sox_effects_say_what_is_missing():
    with pytest.raises(NotImplementedError, match="apply_effects_file is gone from torchaudio"):
        torchaudio.sox_effects.apply_effects_file("a.wav", [])
    from torchaudio.sox_effects import apply_effects_tensor

    with pytest.raises(NotImplementedError, match=r"Install torchaudio<2\.9"):
        apply_effects_tensor()


def test_the_audio_back_end_can_be_set_and_named():
    torchaudio.set_audio_backend("sox_io")
    assert torchaudio.get_audio_backend() == "soundfile"


# huggingface_hub


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


# eval


class Thing:
    layers = ("first", "second")

    def ask(self, text):
        return read_expression(text)


def test_names_attributes_and_positions_are_read_in_the_calling_function():
    assert read_expression("Thing") is Thing
    assert Thing().ask("self.layers[1]") == "second"
    assert read_expression("torch.nn.Linear") is torch.nn.Linear


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0e-3", 1e-3),
        ("-2", -2),
        ("None", None),
        ("'AdamW'", "AdamW"),
        ("['dev', 'test']", ["dev", "test"]),
        ("{'a': (1, True)}", {"a": (1, True)}),
        ("[(512,10,5)] + [(512,3,2)] * 2", [(512, 10, 5), (512, 3, 2), (512, 3, 2)]),
    ],
)
def test_literals_and_sums_of_lists_are_read(text, value):
    assert read_expression(text) == value


def test_minus_infinity_of_a_configuration_is_read():
    import math

    assert read_expression("-math.inf") == -math.inf


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('canary', 'w')",
        "Path('canary').touch()",
        "[x for x in ()]",
        "lambda: 0",
        "().__class__",
        "torch._C",
        "subprocess.run",
        "2 ** 99999",
        "'a' * 9999999",
        "[0] * 9999999",
        "[0] * 1000 * 1000",
        "f'{Path}'",
        "x := 1",
        "",
        "1 +",
        "\0",
        "(" * 5000,
        "1" * 20000,
        b"1",
    ],
)
def test_anything_else_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match="was not evaluated: only names, numbers, texts and lists"
    ):
        read_expression(text)
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_is_a_name_error():
    with pytest.raises(NameError, match="name 'nothing' is not defined"):
        read_expression("nothing")
    with pytest.raises(NameError):
        read_expression("len")  # built-in functions are no names of a configuration


def test_the_layers_of_a_front_end_are_triples_of_positive_integers():
    assert read_conv_layers(tiny_upstreams.CONV_LAYERS)[0] == (16, 10, 5)
    for text in (
        "",
        "1",
        "[]",
        "[(1,2)]",
        "[(1,2,0)]",
        "[(1,2,True)]",
        "[(1,2,9999999)]",
        "Path",
        3,
    ):
        with pytest.raises(CheckpointError) as caught:
            read_conv_layers(text)
        assert str(caught.value) == (
            "`conv_feature_layers` of the checkpoint must be a list of (channels, width, stride), "
            f"but is {str(text)!r}; it was not run. Do not use this checkpoint."
        )


@pytest.mark.parametrize("module", ["wavlm", "wav2vec2", "hubert"])
def test_text_in_a_checkpoint_is_not_run(module, tmp_path):
    import s3prl.hub as hub

    attack = f"__import__('pathlib').Path({str(tmp_path / 'canary')!r}).touch() or [(16,10,5)]"
    make = getattr(tiny_upstreams, f"make_{module}")
    state = torch.load(make(tmp_path / "good.pt"), weights_only=True)
    state["cfg" if module == "wavlm" else "model_cfg"]["conv_feature_layers"] = attack
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="it was not run"):
        getattr(hub, f"{module}_local")(ckpt=str(tmp_path / "bad.pt"))
    assert not (tmp_path / "canary").exists()


def test_no_module_of_s3prl_has_the_built_in_eval():
    import s3prl.downstream.emotion.expert as emotion
    import s3prl.upstream.hubert.hubert_model as hubert_model

    assert emotion.eval is read_expression
    assert hubert_model.eval is read_conv_layers
    with pytest.raises(ConfigError):
        emotion.eval("__import__('os')")


# Checkpoints


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


# Upstreams


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """Return a function that builds an upstream by s3prl's name from a local checkpoint."""
    import s3prl.hub as hub

    folder = tmp_path_factory.mktemp("upstreams")
    makers = {
        "hubert_local": lambda: tiny_upstreams.make_hubert(folder / "hubert.pt"),
        "wav2vec2_local": lambda: tiny_upstreams.make_wav2vec2(folder / "wav2vec2.pt"),
        "wavlm_local": lambda: tiny_upstreams.make_wavlm(folder / "wavlm.pt"),
        "hf_hubert_custom": lambda: tiny_upstreams.make_hugging_face(folder / "h", "hubert"),
        "hf_wav2vec2_custom": lambda: tiny_upstreams.make_hugging_face(folder / "w", "wav2vec2"),
    }

    def build(name):
        options = {"ckpt": str(makers[name]())} if name in makers else {}
        return getattr(hub, name)(**options)

    return build


NAMES = ["hubert_local", "wav2vec2_local", "wavlm_local", "hf_hubert_custom", "hf_wav2vec2_custom"]


@pytest.mark.parametrize("name", [*NAMES, "fbank", "mfcc"])
def test_an_upstream_gives_hidden_states_and_a_last_one(name, upstream, tone):
    from s3prl.upstream.interfaces import Featurizer

    model = upstream(name).eval()
    wavs = [torch.from_numpy(tone(0.5)), torch.from_numpy(tone(0.3))]
    with torch.no_grad():
        result = model(wavs)
    last = result["last_hidden_state"]
    assert torch.equal(last, result["hidden_states"][-1])
    assert last.shape[0] == 2
    assert torch.isfinite(last).all()
    featurizer = Featurizer(model, "last_hidden_state", upstream_device="cpu")
    assert not hasattr(featurizer, "weights")  # one layer, no silent weighted sum
    assert len(featurizer(wavs, result)) == 2


def test_upstreams_serve_s3prl_s_programming_interface(tmp_path, tone):
    nn = importlib.import_module("s3prl.nn")
    path = tiny_upstreams.make_hubert(tmp_path / "hubert.pt")
    model = nn.S3PRLUpstream("hubert_local", path_or_url=str(path)).eval()
    wavs = torch.from_numpy(tone(0.5))[None]
    hidden, lengths = model(wavs, torch.tensor([8000]))
    assert len(hidden) == model.num_layers == 3
    assert hidden[0].shape == (1, int(lengths[0].max()), 32)


def test_a_damaged_checkpoint_of_an_upstream_is_named(tmp_path):
    hub = importlib.import_module("s3prl.hub")
    content = tiny_upstreams.make_hubert(tmp_path / "whole.pt").read_bytes()
    for name, part in (("short.pt", content[: len(content) // 2]), ("empty.pt", b"")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(CheckpointError, match=name):
            hub.hubert_local(ckpt=str(tmp_path / name))


@pytest.mark.parametrize("name", NAMES)
def test_training_mode_drops_no_layer_and_masks_nothing(name, upstream, tone):
    model = upstream(name).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for attribute in ("dropout_module", "dropout"):
            dropout = getattr(module, attribute, None)
            if hasattr(dropout, "p"):
                dropout.p = 0.0
            elif isinstance(dropout, float):
                setattr(module, attribute, 0.0)
    wavs = [torch.from_numpy(tone(0.5))]
    with torch.no_grad():
        trained = [model(wavs)["last_hidden_state"] for _ in range(4)]
        evaluated = model.eval()(wavs)["last_hidden_state"]
    for features in trained:
        assert torch.allclose(features, evaluated, atol=1e-5)


@pytest.mark.parametrize("name", ["hubert_local", "hf_hubert_custom", "fbank"])
@pytest.mark.parametrize("length", [0, 120, 399])
def test_too_short_an_utterance_is_named(name, length, upstream, tone):
    model = upstream(name).eval()
    with pytest.raises(DataError) as caught:
        model([torch.from_numpy(tone(0.5)), torch.zeros(length)])
    assert str(caught.value) == (
        f"Utterance 1 of a batch has {length} samples, but an upstream needs at least 400 "
        "(25 ms at 16 kHz). Leave such files out of the corpus."
    )
    with torch.no_grad():
        shortest = model([torch.zeros(s3prl_modules.MIN_SAMPLES)])["last_hidden_state"]
    assert shortest.shape[1] >= 1


# The Runner and its tasks


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
