"""Folders of transformers as downloads and trainers leave them: read, or one line why not."""

import argparse
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_upstreams import make_transformers

from spknorm.errors import USER_ERRORS
from spknorm.upstreams import build
from spknorm.upstreams.weights import no_description

PARTS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
INDEX = "model.safetensors.index.json"
CUT = "that is cut short, as a download or copy does that was stopped: get it again."


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_transformers(tmp_path_factory.mktemp("whole") / "base", "wav2vec2", still=True)


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "folder")


def last_of(folder):
    args = argparse.Namespace(upstream=f"hf:{folder}", upstream_ckpt=None)
    wav = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return build(args).upstream.eval()([wav])["last_hidden_state"]


def refusal(folder):
    with pytest.raises(USER_ERRORS) as caught:
        last_of(folder)
    text = str(caught.value).replace(str(folder), "FOLDER")
    assert "\n" not in text
    return text


def shard(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {name: PARTS[place % 2] for place, name in enumerate(weights)}
    for part in PARTS:
        of_part = {name: weights[name] for name in weights if names[name] == part}
        save_file(of_part, folder / part)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))


def rename(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file({change(key): value for key, value in weights.items()}, folder / "model.safetensors")


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def beside(folder):
    """Put other weights, which count for nothing, beside the folder's."""
    weights = load_file(folder / "model.safetensors")
    torch.save({key: value + 1 for key, value in weights.items()}, folder / "pytorch_model.bin")


def by_trainer(folder):
    (folder / "checkpoint-500").mkdir()
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        shutil.move(folder / name, folder / "checkpoint-500" / name)
    rename(folder / "checkpoint-500", "wav2vec2.{}".format)
    torch.save({"state": {}}, folder / "checkpoint-500" / "optimizer.pt")
    return folder / "checkpoint-500"


def older_norm(name):
    end = "parametrizations.weight.original"
    return name.replace(f"{end}0", "weight_g").replace(f"{end}1", "weight_v")


def within_a_trainers_file(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    content = {"state_dict": {f"model.{key}": value for key, value in weights.items()}, "epoch": 3}
    torch.save(content, folder / "pytorch_model.bin")


def with_a_stale_index(folder):
    weight_map = {"encoder.layer_norm.bias": PARTS[0]}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def sharded_and_recomputed(name):
    layer = "layers.1._fsdp_wrapped_module._checkpoint_wrapped_module."
    return f"_fsdp_wrapped_module.{name}".replace("layers.1.", layer)


def describe(folder, file="config.json", **settings):
    """Write how a model was run where it was saved, or what stood behind it."""
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **settings}))


@pytest.mark.parametrize(
    "change",
    [
        shard,
        beside,
        by_trainer,
        lambda folder: rename(folder, "_orig_mod.module.{}".format),
        lambda folder: rename(folder, "module._orig_mod.model.wav2vec2.{}".format),
        lambda folder: rename(folder, older_norm),
        lambda folder: rename(folder, sharded_and_recomputed),
        lambda folder: rename(folder, lambda name: f"_fpw_module.{name}"),
        within_a_trainers_file,
        with_a_stale_index,
        lambda folder: describe(folder, attn_implementation="flash_attention_2"),
        lambda folder: describe(folder, _attn_implementation="flash_attention_3"),
        lambda folder: describe(folder, return_dict=False),
        lambda folder: describe(folder, torchscript=True, gradient_checkpointing=True),
        lambda folder: describe(folder, output_attentions=True, output_hidden_states=True),
        lambda folder: describe(folder, torch_dtype="float17"),
        lambda folder: describe(folder, problem_type="single_label_classification", num_labels=1),
        lambda folder: describe(folder, "preprocessor_config.json", sampling_rate="16000"),
    ],
)
def test_the_same_weights_are_read(change, folder, whole):
    assert torch.equal(last_of(change(folder) or folder), last_of(whole))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_other_precisions_are_read_as_float32(dtype, folder):
    weights = load_file(folder / "model.safetensors")
    save_file({k: v.to(dtype) for k, v in weights.items()}, folder / "model.safetensors")
    assert last_of(folder).dtype == torch.float32


def lose_index(folder):
    shard(folder)
    (folder / INDEX).unlink()


def cut_part(folder):
    shard(folder)
    halve(folder / PARTS[1])


def lose_part(folder):
    shard(folder)
    (folder / PARTS[1]).unlink()


def index(text):
    def change(folder):
        shard(folder)
        (folder / INDEX).write_text(text)

    return change


def stop(folder):
    (folder / "model.safetensors").rename(folder / "model.safetensors.incomplete")


def spoil(folder):
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer_norm.weight"][3] = torch.nan
    save_file(weights, folder / "model.safetensors")


def in_place_of(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / "model.safetensors").rename(folder / name)


def lose_blob(path):
    path.unlink()
    path.symlink_to("../../blobs/0a1b")


def inside(folder, *names):
    for name in names:
        shutil.copytree(folder, folder.parent / "moved" / name)
    shutil.rmtree(folder)
    (folder.parent / "moved").rename(folder)


def add(folder, name):
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, name: torch.ones(2, 2)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "end"),
    [
        (lose_part, f"FOLDER lacks {PARTS[1]}, which {INDEX} names: copy or download the folder "),
        (cut_part, f"it has a {PARTS[1]} {CUT}"),
        (lose_index, f"; {PARTS[0]} is a part, but {INDEX} is missing: get it again."),
        (index('{"weight_map": '), f"it has a {INDEX} that is no JSON: get it again."),
        (index("{}"), f"it has a {INDEX} that has no weight_map: get it again."),
        (lambda folder: halve(folder / "model.safetensors"), f"it has a model.safetensors {CUT}"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"12345"),
            f"it has a model.safetensors {CUT}",
        ),
        (stop, "; model.safetensors.incomplete is a download that was stopped: get it again."),
        (
            lambda folder: in_place_of(folder, "global_step500/mp_rank_00_model_states.pt"),
            "; global_step500 is DeepSpeed's: put its parts together (zero_to_fp32.py, which lies "
            "beside it).",
        ),
        (
            lambda folder: in_place_of(folder, "pytorch_model_fsdp_0/__0_0.distcp"),
            "; pytorch_model_fsdp_0 is FSDP's in parts: put them together (accelerate merge-weig",
        ),
        (
            lambda folder: in_place_of(folder, "adapter_model.safetensors"),
            "; adapter_model.safetensors holds adapters, but adapter_config.json is missing.",
        ),
        (
            lambda folder: in_place_of(folder, "model.fp16.safetensors"),
            "; if model.fp16.safetensors holds its weights, call it model.safetensors.",
        ),
        (
            lambda folder: lose_blob(folder / "model.safetensors"),
            "FOLDER has no model.safetensors or pytorch_model.bin; model.safetensors is a link to "
            "../../blobs/0a1b, which is not there: copy the folder with what its links name (cp -r",
        ),
        (
            lambda folder: lose_blob(folder / "config.json"),
            "FOLDER has no config.json; config.json is a link to ../../blobs/0a1b, which is not",
        ),
        (
            lambda folder: inside(folder, "hubert"),
            "FOLDER has no config.json, but hubert in it has one: name that folder.",
        ),
        (
            lambda folder: inside(folder, "a", "b", "c"),
            "FOLDER has no config.json, but a, b and c in it have one: name one of these.",
        ),
        (
            lambda folder: add(folder, "encoder.layers.0.attention.q_proj.weight_scale"),
            " holds weights that are quantised (encoder.layers.0.attention.q_proj.weight_scale is ",
        ),
        (
            lambda folder: add(folder, "encoder.layers.0.attention.q_proj.lora_A.default.weight"),
            " holds adapters that are not added to their weights (encoder.layers.0.attention.q_pr",
        ),
        (
            lambda folder: describe(folder, num_attention_heads=5),
            " has a config.json that builds no wav2vec2 (ValueError: ",
        ),
        (
            lambda folder: describe(folder, num_hidden_layers=0),
            " is a wav2vec2, which gives no hidden states of waveforms or log-mels alone (IndexErr",
        ),
        (spoil, " holds NaN or infinity in encoder.layer_norm.weight: take another copy."),
        (
            by_trainer,
            "FOLDER has no config.json, but checkpoint-500 in it has one, as Trainer saves them: "
            "name that folder.",
        ),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": '),
            "it has a config.json that is no JSON: get it again.",
        ),
        (
            lambda folder: (folder / "config.json").write_text("[]"),
            "it has a config.json that is no JSON object: get it again.",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(change, end, folder):
    change(folder)
    assert end in refusal(folder)


def test_weights_of_another_model_are_told_in_the_error_alone(folder, capfd):
    describe(folder, model_type="wavlm")
    assert "does not hold the weights of a WavLMModel: 7 are missing, such as " in refusal(folder)
    assert capfd.readouterr() == ("", "")


def adapters(folder, base):
    import peft
    import transformers

    shutil.rmtree(folder)
    model = transformers.AutoModel.from_pretrained(base)
    options = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    peft.get_peft_model(model, options).save_pretrained(folder)
    return json.loads((folder / "adapter_config.json").read_text())


def cut_adapters(folder, _):
    halve(folder / "adapter_model.safetensors")


def no_base(folder, options):
    (folder / "adapter_config.json").write_text(
        json.dumps({**options, "base_model_name_or_path": None})
    )


def lost_base(folder, options):
    (folder / "adapter_config.json").write_text(
        json.dumps({**options, "base_model_name_or_path": "/nowhere/base"})
    )


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (cut_adapters, f"it has an adapter_model.safetensors {CUT}"),
        (
            lambda folder, _: (folder / "adapter_config.json").write_text("{"),
            "it has an adapter_config.json that is no JSON: get it again.",
        ),
        (no_base, "FOLDER holds adapters whose adapter_config.json names no base_model_name_or_"),
        (lost_base, "FOLDER holds adapters of /nowhere/base, which adapter_config.json names as "),
    ],
)
def test_what_is_wrong_with_a_folder_of_pefts_is_named(change, part, folder, whole):
    change(folder, adapters(folder, whole))
    assert part in refusal(folder)


def test_of_checkpoints_in_a_folder_the_last_numbered_one_is_named(tmp_path):
    for name in ("checkpoint-500", "checkpoint-best", "checkpoint-1000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert no_description(tmp_path) == (
        "has no config.json, but checkpoint-1000 in it has one, as Trainer saves them: name that "
        "folder"
    )
