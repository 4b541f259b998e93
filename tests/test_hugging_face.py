"""Folders of transformers as people have them: read, or refused with what to do."""

import argparse
import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_upstreams import make_transformers

from spknorm.errors import CheckpointError, ConfigError, MissingError
from spknorm.export.matrix import matrix
from spknorm.upstreams import build


def states_of(source):
    args = argparse.Namespace(upstream=f"hf:{source}", upstream_ckpt=None)
    with torch.no_grad():
        return build(args).upstream.eval()([torch.sin(torch.arange(8000) / 9.0)])[
            "last_hidden_state"
        ]


@pytest.fixture
def folder(tmp_path):
    return make_transformers(tmp_path / "model", "wavlm")


def rewrite(folder, change, **renamed):
    weights = load_file(folder / "model.safetensors")
    changed = {change(name): value for name, value in weights.items()} if change else weights
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


WRAPPED = {
    "plain": None,
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "a classifier of the Trainer's": lambda name: f"wavlm.{name}",
    "a wrapped classifier": lambda name: f"module.wavlm.{name}",
    "older weight norm": lambda name: name.replace(
        "parametrizations.weight.original0", "weight_g"
    ).replace("parametrizations.weight.original1", "weight_v"),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_names_may_be_wrapped(folder, kind):
    expected = states_of(folder)
    rewrite(folder, WRAPPED[kind])
    assert torch.equal(states_of(folder), expected)


def test_heads_beside_the_model_are_left_out(tmp_path):
    folder = make_transformers(tmp_path / "model", "wavlm")
    expected = states_of(folder)
    model = transformers.WavLMForSequenceClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "tuned")
    assert torch.equal(states_of(tmp_path / "tuned"), expected)


def test_weights_may_lie_in_shards_and_a_lost_one_is_named(folder, tmp_path):
    expected = states_of(folder)
    model = transformers.WavLMModel.from_pretrained(folder)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    shards = sorted((tmp_path / "shards").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert torch.equal(states_of(tmp_path / "shards"), expected)
    shards[1].unlink()
    with pytest.raises(
        CheckpointError, match=f"lacks {shards[1].name}, which model.safetensors.ind"
    ):
        states_of(tmp_path / "shards")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_run_in_32(folder, dtype):
    weights = {n: w.to(dtype) for n, w in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.loads((folder / "config.json").read_text())
    text["dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(text))
    assert states_of(folder).dtype == torch.float32


def test_weights_of_torch_in_place_of_safetensors_are_read(folder):
    expected = states_of(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.equal(states_of(folder), expected)


def make_adapters(folder, base, **options):
    import peft

    model = transformers.WavLMModel.from_pretrained(base).eval()
    options = {"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "out_proj"], **options}
    tuned = peft.get_peft_model(model, peft.LoraConfig(**options))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name or (parameter.requires_grad and parameter.ndim == 1):
            torch.nn.init.normal_(parameter, std=0.3)
    tuned.save_pretrained(folder)
    merged = tuned.merge_and_unload()
    merged.save_pretrained(folder.with_name("merged"))
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"bias": "all"},
        {"modules_to_save": ["final_layer_norm"]},
        {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 2}},
    ],
)
def test_adapters_as_peft_saves_them_are_added_to_their_base(options, folder, tmp_path):
    plain = states_of(folder)
    adapters = make_adapters(tmp_path / "adapters", folder, **options)
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "merged")
    expected = states_of(tmp_path / "merged")
    assert not torch.allclose(expected, plain, atol=1e-3)
    torch.testing.assert_close(states_of(adapters), expected, rtol=1e-5, atol=1e-5)


def test_adapters_of_other_kinds_and_lost_bases_are_refused(folder, tmp_path):
    adapters = make_adapters(tmp_path / "adapters", folder)
    dora = make_adapters(tmp_path / "dora", folder, use_dora=True)
    with pytest.raises(CheckpointError, match="of the kind DoRA, but only LoRA's of linear layers"):
        states_of(dora)
    config = json.loads((adapters / "adapter_config.json").read_text())
    (adapters / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    with pytest.raises(CheckpointError, match="of the kind IA3, but only LoRA's of linear lay"):
        states_of(adapters)
    (adapters / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": "/nowhere/model"})
    )
    with pytest.raises(
        MissingError, match="`hf:/nowhere/model` needs /nowhere/model, which is not there"
    ):
        states_of(adapters)


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without_config(folder):
    (folder / "config.json").unlink()


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def without_a_layer(folder):
    weights = load_file(folder / "model.safetensors")
    some = {name: value for name, value in weights.items() if "layers.1" not in name}
    save_file(some, folder / "model.safetensors", metadata={"format": "pt"})


def pointer(folder):
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
    )


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "has a model.safetensors that is cut short, as a download or copy does"),
        (pointer, "has a model.safetensors that is a pointer of git-lfs, not the file itself"),
        (without_config, "has no config.json, so that it is no folder of transformers"),
        (without_weights, "has no model.safetensors or pytorch_model.bin"),
        (without_a_layer, r"does not hold the weights of a WavLMModel: \d+ are missing, such as"),
    ],
)
def test_a_folder_that_is_not_whole_says_so(folder, change, message):
    change(folder)
    with pytest.raises(CheckpointError, match=message):
        states_of(folder)


def test_what_is_no_upstream_says_so(tmp_path, monkeypatch):
    import huggingface_hub.constants

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = transformers.BertModel(transformers.BertConfig(**small, intermediate_size=8))
    text.save_pretrained(tmp_path / "text")
    with pytest.raises(
        ConfigError, match="is a bert, which takes input_ids, not waveforms or log-me"
    ):
        states_of(tmp_path / "text")
    patches = transformers.ASTModel(transformers.ASTConfig(**small, intermediate_size=8))
    patches.save_pretrained(tmp_path / "patches")
    transformers.ASTFeatureExtractor().save_pretrained(tmp_path / "patches")
    with pytest.raises(ConfigError, match="for nine: no frames, so that it cannot be an upstream"):
        states_of(tmp_path / "patches")
    (tmp_path / "file.pt").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match="names a file, but a model of transformers is a folder"
    ):
        states_of(tmp_path / "file.pt")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        MissingError, match="is neither a folder here nor in the Hugging Face cache"
    ):
        states_of("nobody/nothing")


def test_a_name_is_found_in_the_cache_without_a_network(folder, tmp_path, monkeypatch):
    import huggingface_hub.constants

    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(states_of("someone/tiny"), states_of(folder))


def test_the_documentation_has_the_matrix_as_the_command_prints_it():
    from pathlib import Path

    assert matrix() in (Path(__file__).parents[1] / "docs" / "s3prl.md").read_text()
