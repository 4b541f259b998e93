"""emotion2vec as funasr has it: packed or not, its checkpoints, and what is said without them."""

import json
import sys

import pytest
import soundfile
import torch
import yaml
from audit_benches import quicken
from test_families import hidden_states, settings_of
from test_families_own import FUNASR, hub, make
from test_fast_families import check_alone
from tiny_upstreams import featurizer_of, wavs

from spknorm.cli import main, run_downstream
from spknorm.errors import CheckpointError, ConfigError, MissingError

BUILDS = {
    "as released": {},
    "norms before": {"layer_norm_first": True},
    "half of the heads biased": {"audio": {"num_alibi_heads": 2}},
    "no bias": {"audio": {"use_alibi_encoder": False}},
    "no tokens": {"audio": {"num_extra_tokens": 0}},
    "one scale": {"audio": {"learned_alibi_scale_per_head": False}},
    "positions after a norm": {"audio": {"conv_pos_pre_ln": True, "extractor_mode": "default"}},
    "waveforms as they are": {"normalize": False},
}


@FUNASR
@pytest.mark.parametrize("build", BUILDS)
def test_an_emotion2vec_is_funasrs_packed_or_not(build, tmp_path):
    from tiny_emotion2vec import AUDIO, MODEL, funasr_model, make_emotion2vec

    changes = dict(BUILDS[build])
    folder = make_emotion2vec(tmp_path, **changes)
    audio = {**AUDIO, **changes.pop("audio", {})}
    own = funasr_model({**MODEL, **changes, "modalities": {"audio": audio}})
    own.load_state_dict(torch.load(folder / "model.pt", weights_only=True)["model"])
    upstream = hub().emotion2vec(ckpt=str(folder / "model.pt")).eval()
    (wav,) = wavs(0.9)
    given = torch.nn.functional.layer_norm(wav, wav.shape) if upstream.normalize else wav
    with torch.no_grad():
        expected = own.eval().extract_features(given[None])["x"]
        found = upstream([wav])
    torch.testing.assert_close(found["last_hidden_state"], expected, rtol=1e-5, atol=1e-5)
    assert found["last_hidden_state"].shape == (1, 44, 32)  # at 50 Hz, without the ten tokens
    assert len(found["hidden_states"]) == 1 + 1 + 2
    check_alone(upstream, wavs(0.31, 1.0, 0.5))
    check_alone(upstream, wavs(0.31, 1.0), selection="last_hidden_state")
    assert "funasr" not in sys.modules


@FUNASR
def test_an_emotion2vec_is_the_same_up_to_30_seconds_and_in_one_call(tmp_path, monkeypatch):
    from spknorm.schema import UpstreamConfig
    from spknorm.upstreams.fast import make_encoder, packed
    from spknorm.upstreams.fast.layout import Layout

    upstream = hub().emotion2vec(ckpt=str(make("emotion2vec", tmp_path))).eval()
    check_alone(upstream, wavs(1.0, 30.0, 7.3), selection="last_hidden_state")
    encode = make_encoder(upstream, featurizer_of(upstream), UpstreamConfig())
    batch = wavs(0.31, 0.8, 0.5)
    alone = encode(batch)
    monkeypatch.setattr(
        packed, "Layout", lambda *args, **options: Layout(*args, **{**options, "together": True})
    )
    for one, other in zip(encode(batch), alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@FUNASR
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"audio": {"learned_alibi_scale_per_layer": True, "model_depth": 2}}, "a bias of its own"),
        ({"dropout_input": 0.1}, "it drops paths, or between layers"),
    ],
)
def test_an_emotion2vec_of_another_build_takes_each_utterance_alone(
    changes, reason, tmp_path, caplog
):
    from spknorm.schema import UpstreamConfig
    from spknorm.upstreams.fast import make_encoder

    upstream = hub().emotion2vec(ckpt=str(make("emotion2vec", tmp_path, **changes))).eval()
    featurizer = featurizer_of(upstream, "hidden_states")
    with caplog.at_level("INFO"):
        encode = make_encoder(upstream, featurizer, UpstreamConfig())
    assert reason in caplog.text
    batch = wavs(0.31, 0.8, 0.31)
    alone = [featurizer([wav], upstream([wav]))[0] for wav in batch]
    for one, other in zip(encode(batch), alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@FUNASR
@pytest.mark.parametrize("kind", ["bfloat16", "half", "_orig_mod.module.", "bare", "state_dict"])
def test_checkpoints_of_emotion2vec_as_people_have_them(kind, tmp_path):
    folder = make("emotion2vec", tmp_path)
    weights = torch.load(folder / "model.pt", weights_only=True)["model"]
    wanted = hidden_states(hub().emotion2vec(ckpt=str(folder)), wavs(0.5)[0])
    if hasattr(torch, kind):
        weights = {name: value.to(getattr(torch, kind)) for name, value in weights.items()}
    elif kind.endswith("."):
        weights = {kind + name: value for name, value in weights.items()}
    content = {"bare": weights, "state_dict": {"state_dict": weights}}.get(kind, {"model": weights})
    torch.save(content, folder / "model.pt")
    found = hidden_states(hub().emotion2vec(ckpt=str(folder)), wavs(0.5)[0])
    bound = 0.1 if hasattr(torch, kind) else 1e-5  # of weights that were rounded
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)


def damaged(folder, how):
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    if how == "cut":
        whole = (folder / "model.pt").read_bytes()
        (folder / "model.pt").write_bytes(whole[: len(whole) // 2])
    elif how == "no weights":
        (folder / "model.pt").unlink()
    elif how == "no config":
        path.unlink()
    elif how == "other model":
        path.write_text("model: Paraformer\nmodel_conf: {}\n")
    elif how == "code":
        content["model_conf"]["modalities"]["audio"]["feature_encoder_spec"] = "print('ran')"
        path.write_text(yaml.safe_dump(content))
    elif how == "fewer settings":
        del content["model_conf"]["embed_dim"]
        path.write_text(yaml.safe_dump(content))
    elif how == "other size":
        content["model_conf"]["embed_dim"] = 64
        path.write_text(yaml.safe_dump(content))
    else:
        torch.save({"model": {"a": torch.zeros(1)}}, folder / "model.pt")


@FUNASR
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "model.pt is cut short: its "),
        ("no weights", " has no model.pt: a folder of emotion2vec has config.yaml and model.pt. "),
        ("no config", " has no config.yaml: a folder of emotion2vec has config.yaml and "),
        ("other model", "config.yaml describes the model `Paraformer`, not `Emotion2vec` with "),
        ("code", "must be a list of (channels, width, stride), but is \"print('ran')\"; it was "),
        ("fewer settings", "config.yaml whose model_conf builds no emotion2vec (KeyError: 'embed"),
        ("other size", " as its config.yaml describes it: "),
        ("other weights", " does not hold the weights of a Network: "),
    ],
)
def test_what_is_no_emotion2vec_is_refused_by_name(how, message, tmp_path, capsys):
    folder = make("emotion2vec", tmp_path)
    damaged(folder, how)
    with pytest.raises(CheckpointError) as caught:
        hub().emotion2vec(ckpt=str(folder))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out.count("ran") == 0


@FUNASR
def test_without_a_checkpoint_it_is_said_where_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        hub().emotion2vec_plus_large()
    text = str(caught.value)
    assert text.startswith(
        "The upstream `emotion2vec_plus_large` needs config.yaml and model.pt of "
        "emotion2vec/emotion2vec_plus_large, which are neither in the Hugging Face cache "
    )
    assert "(hf download emotion2vec/emotion2vec_plus_large --local-dir FOLDER)" in text
    with pytest.raises(MissingError, match="`-k nowhere`: there is no such folder or file"):
        hub().emotion2vec(ckpt="nowhere")


@FUNASR
def test_the_cache_of_modelscope_serves_a_name(monkeypatch, tmp_path):
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    folder = make("emotion2vec", tmp_path / "models" / "iic" / "emotion2vec_plus_base")
    assert hub().emotion2vec_plus_base().files.folder == folder


def test_without_funasr_it_is_said_how_to_install_it(monkeypatch):
    from spknorm.upstreams.emotion2vec import package

    load = hub().emotion2vec  # whatever else looks for packages has found them
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        load(ckpt="folder")
    assert str(caught.value) == (
        "The upstream `emotion2vec` needs the package funasr, which is not installed: "
        "pip install --no-deps funasr (what its other models need is not used here)."
    )


@FUNASR
def test_its_command_lines_train_audit_predict_and_export(
    tiny_corpora, tmp_path, tone, monkeypatch
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    quicken(monkeypatch)
    monkeypatch.setattr("spknorm.probe.audit.probing.KINDS", ("linear",))
    checkpoint, run, wav = make("emotion2vec", tmp_path / "m"), tmp_path / "run", tmp_path / "a.wav"
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(settings_of(tiny_corpora, "TAP", 1)))
    soundfile.write(wav, tone(0.5), 16000)
    options = ["-d", "emotion_spknorm", "-c", str(tmp_path / "task.yaml"), "-f", "-p", str(run)]
    upstream = ["-u", "emotion2vec_plus_base", "-k", str(checkpoint)]
    assert run_downstream([*options, *upstream, "--device", "cpu"]) == 0
    assert main(["audit", str(run), "--device", "cpu"]) == 0
    assert main(["predict", str(run), str(wav), "--out", str(tmp_path / "a.csv")]) == 0
    assert main(["export", str(run), "--onnx", "--out", str(tmp_path / "export")]) == 0
    assert json.loads((run / "probe.json").read_text())["rows"]
    assert (tmp_path / "a.csv").read_text().count("a.wav") == 1
    names = {"config.yaml", "model.pt", "model.onnx", "README.md"}
    assert {file.name for file in (tmp_path / "export").iterdir()} == names
    before, trained = (hub().emotion2vec(ckpt=str(f)) for f in (checkpoint, tmp_path / "export"))
    assert before.model.state_dict().keys() == trained.model.state_dict().keys()
    assert not torch.equal(
        before.model.blocks[1].mlp.fc1.weight, trained.model.blocks[1].mlp.fc1.weight
    )
