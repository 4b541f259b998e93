"""Files of weights as people have them: names that are unwrapped, files that say what they are."""

import argparse
import sys
import types

import pytest
import torch
from tiny_upstreams import make_hubert, make_hugging_face, make_wav2vec2, make_wavlm
from trained_folders import make_trained

import spknorm.compat  # noqa: F401 # before s3prl's modules
from spknorm.errors import CheckpointError, MissingError
from spknorm.export.upstream_file import read_upstream_file
from spknorm.runs import checkpoint
from spknorm.runs.trained import load
from spknorm.upstreams import build
from spknorm.upstreams.weights import unwrap_names

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def _args(name, path):
    return argparse.Namespace(upstream=name, upstream_ckpt=str(path))


def _wrap(name):
    return {
        "DataParallel": f"module.{name}",
        "torch.compile": f"_orig_mod.{name}",
        "both": f"module._orig_mod.{name}",
        "a compiled layer": name.replace("layers.0.", "layers.0._orig_mod."),
        "weight norm": name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ),
    }


@pytest.mark.parametrize("kind", list(_wrap("")))
@pytest.mark.parametrize(
    ("name", "make", "key"),
    [
        ("hubert_local", make_hubert, "model_weight"),
        ("wav2vec2_local", make_wav2vec2, "model_weight"),
        ("wavlm_local", make_wavlm, "model"),
    ],
)
def test_wrapped_names_load_as_the_plain_ones(name, make, key, kind, tmp_path):
    state = torch.load(make(tmp_path / "u.pt"), weights_only=True)
    expected = build(_args(name, tmp_path / "u.pt")).upstream.state_dict()
    wrapped = {_wrap(old)[kind]: value for old, value in state[key].items()}
    assert set(wrapped) != set(state[key])
    torch.save({**state, key: wrapped}, tmp_path / "u.pt")
    found = build(_args(name, tmp_path / "u.pt")).upstream.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_run_in_32(dtype, tmp_path, tone):
    state = torch.load(make_hubert(tmp_path / "u.pt"), weights_only=True)
    state["model_weight"] = {n: w.to(dtype) for n, w in state["model_weight"].items()}
    torch.save(state, tmp_path / "u.pt")
    upstream = build(_args("hubert_local", tmp_path / "u.pt")).upstream.eval()
    assert upstream([torch.from_numpy(tone(0.2))])["last_hidden_state"].dtype == torch.float32


def test_what_a_model_has_of_its_own_is_left_alone():
    weights = {"model.module.0.weight": torch.ones(1), "projector.bias": torch.ones(1)}
    assert unwrap_names(weights) is weights
    own = {"module.a": torch.ones(1)}
    assert unwrap_names(own, own) is own
    assert list(unwrap_names(own)) == ["a"]


def test_an_experiments_checkpoint_from_several_gpus_is_loaded(tmp_path, tiny_hubert):
    run = make_trained(tmp_path / "run", tiny_hubert)
    expected = load(run).upstream.state_dict()
    state = torch.load(run / "dev-best.ckpt", weights_only=True)
    for part in ("Upstream", "Downstream"):
        state[part] = {f"module.{name}": value for name, value in state[part].items()}
    torch.save(state, run / "dev-best.ckpt")
    assert all(torch.equal(v, expected[k]) for k, v in load(run).upstream.state_dict().items())
    assert not any(
        n.startswith("module.") for n in checkpoint.read(run / "dev-best.ckpt")["Upstream"]
    )


def _of_stock_task(path, name, original, change=lambda weights: weights, **more):
    """Write the checkpoint of s3prl's task emotion; return what its upstream has learned."""
    weights = build(_args(name, original)).upstream.state_dict()
    weights = {key: value + 0.5 * value.is_floating_point() for key, value in weights.items()}
    args = argparse.Namespace(downstream="emotion", upstream=name, upstream_ckpt=str(original))
    state = {
        "Downstream": {"projector.weight": torch.ones(2, 2)}, "Featurizer": {}, "Config": {},
        "Upstream": change(weights), "Args": args, "Step": 1, "Epoch": 0, "Optimizer": {},
    }  # fmt: skip
    state = {key: value for key, value in {**state, **more}.items() if value is not None}
    torch.save(state, path)
    return weights


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("name", "make"),
    [("hubert_local", make_hubert), ("wav2vec2_local", make_wav2vec2), ("wavlm_local", make_wavlm)],
)
def test_what_a_task_of_s3prl_has_fine_tuned_goes_behind_k(name, make, wrapped, tmp_path):
    original, path = make(tmp_path / "u.pt"), tmp_path / "states-1.ckpt"
    expected = _of_stock_task(
        path, name, original,
        lambda weights: {f"{'module.' * wrapped}{key}": value for key, value in weights.items()},
    )  # fmt: skip
    found = build(_args(name, path)).upstream.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


@pytest.mark.fault("foreign weights")
def test_what_it_has_not_or_of_another_kind_is_told(tmp_path):
    original, path = make_hubert(tmp_path / "u.pt"), tmp_path / "states-1.ckpt"
    _of_stock_task(path, "hubert_local", original)
    with pytest.raises(CheckpointError, match="on the upstream hubert_local, which is of another"):
        build(_args("wavlm_local", path))
    _of_stock_task(path, "hubert_local", original, lambda weights: dict(list(weights.items())[3:]))
    with pytest.raises(CheckpointError, match=r"does not fit the upstream hubert_local of .*u\.pt"):
        build(_args("hubert_local", path))
    _of_stock_task(path, "hubert_local", original, Upstream=None)
    with pytest.raises(CheckpointError, match="upstream, hubert_local, was not trained: name that"):
        build(_args("hubert_local", path))
    _of_stock_task(path, "hubert_local", original)
    original.unlink()
    with pytest.raises(MissingError, match=r"which is not there\. Put it back; its configuration"):
        build(_args("hubert_local", path))


def _fairseq(path, **content):
    """A checkpoint that holds objects of a library that is not there."""
    module = types.ModuleType("omegaconf_gone")
    module.DictConfig = type("DictConfig", (), {"__module__": "omegaconf_gone"})
    sys.modules["omegaconf_gone"] = module
    torch.save({"cfg": module.DictConfig(), **content}, path)
    del sys.modules["omegaconf_gone"]


def _foreign(kind, path, folder):
    plain = {"encoder.layers.0.fc1.weight": torch.ones(2)}
    if kind == "pointer":
        path.write_text(LFS)
    elif kind == "cut":
        path.write_bytes(make_hubert(folder / "whole.pt").read_bytes()[:5000])
    elif kind == "web page":
        path.write_text("<!DOCTYPE html><html>Sign in</html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "bare":
        torch.save(plain, path)
    elif kind == "another trainer's":
        torch.save({"epoch": 3, "state_dict": {"module.fc.weight": torch.ones(2)}}, path)
    elif kind == "old fairseq":
        torch.save({"args": argparse.Namespace(arch="hubert"), "model": plain}, path)
    elif kind == "fairseq":
        _fairseq(path, model=plain)
    elif kind == "wav2vec2":
        make_wav2vec2(path)
    elif kind == "wavlm":
        make_wavlm(path)
    elif kind == "safetensors":
        from safetensors.torch import save_file

        save_file(plain, path)
    elif kind == "experiment":
        torch.save({"Downstream": {}, "Args": argparse.Namespace(), "Config": {}, "Step": 1}, path)
    else:
        path.write_text("no checkpoint")


FOREIGN = {
    "pointer": "is a pointer of git-lfs, not the file itself: run `git lfs pull`",
    "cut": "is cut short: its 5000 bytes end before its table of contents",
    "web page": "is a web page, not a checkpoint: download the file itself",
    "empty": "is empty: copy or download it again",
    "bare": "holds weights alone (1, such as `encoder.layers.0.fc1.weight`) and not the config",
    "another trainer's": "holds weights alone under `state_dict` (1, such as `module.fc.weight`)",
    "old fairseq": "is a checkpoint of fairseq, whose settings are objects that could run code.",
    "fairseq": "is a checkpoint of fairseq, whose settings are objects that could run code.",
    "wav2vec2": "is a checkpoint that s3prl converted, of the kind -u wav2vec2_local reads",
    "wavlm": "is a checkpoint as WavLM has them: choose -u wavlm_local",
    "safetensors": "is a safetensors file, which goes with a config.json beside it",
    "experiment": "is the checkpoint of an experiment: name it with -i, or export its upstream",
    "text": "is no file of torch",
}


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_says_what_it_is_and_what_to_do(kind, tmp_path):
    path = tmp_path / "given.pt"
    _foreign(kind, path, tmp_path)
    for read in (lambda: build(_args("hubert_local", path)), lambda: read_upstream_file(path)):
        with pytest.raises(CheckpointError) as caught:
            read()
        assert str(path) in str(caught.value)
        assert FOREIGN[kind] in str(caught.value).replace("It ", "it ")
        assert "Traceback" not in str(caught.value)
    assert CheckpointError.exit_code == 5


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize(
    ("make", "upstream"),
    [
        (make_hubert, "hubert_local"),
        (make_wavlm, "wavlm_local"),
        (make_wavlm, "unispeech_sat_local"),
    ],
)
def test_a_file_of_the_kind_asked_for_whose_weights_do_not_fit_says_which(make, upstream, tmp_path):
    path = make(tmp_path / "given.pt")
    content = torch.load(path, weights_only=True)
    weights = content.get("model_weight") or content["model"]
    del weights["encoder.layers.1.fc1.bias"]
    torch.save(content, path)
    with pytest.raises(
        CheckpointError, match=r"but its weights do not fit its own settings \(Runt"
    ):
        build(_args(upstream, path))


@pytest.mark.fault("foreign weights")
def test_a_pointer_in_place_of_an_experiments_checkpoint_is_named(tmp_path):
    (tmp_path / "states-1.ckpt").write_text(LFS)
    with pytest.raises(CheckpointError, match="is a pointer of git-lfs, not the file itself"):
        checkpoint.read(tmp_path / "states-1.ckpt")


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model.safetensors").write_text(LFS), "that is a pointer of git-lfs"),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:9000]
            ),
            "has a model.safetensors that is cut short",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors or pytorch_model"),
        (lambda f: (f / "config.json").write_text(LFS), "has a config.json that is a pointer of"),
        (lambda f: (f / "config.json").unlink(), "has no config.json, so that it is no folder of"),
    ],
)
def test_a_damaged_folder_of_transformers_says_what_is_wrong(change, message, tmp_path):
    folder = make_hugging_face(tmp_path / "hf", "hubert")
    change(folder)
    with pytest.raises(CheckpointError) as caught:
        build(_args("hf_hubert_custom", folder))
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_folder_of_transformers_is_loaded_whole_or_not_at_all(tmp_path, tone):
    from safetensors.torch import load_file, save_file

    folder = make_hugging_face(tmp_path / "hf", "hubert")
    weights = load_file(folder / "model.safetensors")
    wav = [torch.from_numpy(tone(0.3))]

    def states():
        model = build(_args("hf_hubert_custom", folder)).upstream.eval()
        with torch.no_grad():
            return model(wav)["last_hidden_state"]

    expected = states()
    for changed in (
        {f"module.{name}": value for name, value in weights.items()},
        {f"_orig_mod.hubert.{name}": value for name, value in weights.items()},
    ):
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        assert torch.equal(states(), expected)
    some = {name: value for name, value in weights.items() if "layers.1" not in name}
    save_file(some, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"of a HubertModel: \d+ are missing, such as"):
        states()
    half = {name: value.half() for name, value in weights.items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    text = (folder / "config.json").read_text().replace('"float32"', '"float16"')
    (folder / "config.json").write_text(text)
    assert states().dtype == torch.float32
