import errno
from pathlib import Path

import pytest
import torch
from tiny_upstreams import waveforms

from spknorm.errors import CheckpointError, ConfigError
from spknorm.export.fairseq_form import config_of
from spknorm.export.transformers_folder import form_of_fairseq, write_transformers_folder
from spknorm.export.upstream_file import read_upstream_file

SMALL = {
    "encoder_layers": 3,
    "encoder_embed_dim": 48,
    "encoder_ffn_embed_dim": 96,
    "encoder_attention_heads": 4,
    "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2",
    "conv_pos": 32,
    "conv_pos_groups": 4,
    "final_dim": 16,
}
SHAPES = {
    "base: post-norm, group norm": (False, {}),
    "large: pre-norm, layer norm, biases, normalised audio": (
        True,
        {"layer_norm_first": True, "extractor_mode": "layer_norm", "conv_bias": True},
    ),
    "one size inside and out": (False, {"encoder_embed_dim": 24}),
    "relu, odd positional width, no padding to a multiple": (
        False,
        {"activation_fn": "relu", "conv_pos": 31, "required_seq_len_multiple": 1},
    ),
    "padding to a multiple of 4": (
        False,
        {"activation_fn": "gelu_accurate", "required_seq_len_multiple": 4},
    ),
}


def _random_upstream(path, *, normalize=False, **changed):
    """A HuBERT whose norms and biases are random, too, written in s3prl's converted format."""
    from s3prl.upstream.hubert.hubert_model import (
        HubertConfig,
        HubertModel,
        HubertPretrainingConfig,
    )

    import spknorm.compat  # noqa: F401

    model_cfg = {"label_rate": 50.0, **SMALL, **changed}
    task_cfg = {"label_rate": 50.0, "sample_rate": 16000, "normalize": normalize}
    torch.manual_seed(0)
    model = HubertModel(
        HubertConfig(**model_cfg), HubertPretrainingConfig(**task_cfg), [["a", "b"]]
    )
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    content = {"task_cfg": task_cfg, "model_cfg": model_cfg, "model_weight": model.state_dict()}
    torch.save({**content, "dictionaries_symbols": [["a", "b"]]}, path)
    return path


def form_of_file(content, weights=None):
    weights = content["model_weight"] if weights is None else weights
    normalize = content["task_cfg"]["normalize"]
    return form_of_fairseq("hubert", content["model_cfg"], weights, normalize=normalize)


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_gives_the_hidden_states_of_s3prl_for_20_waveforms(shape, tmp_path):
    normalize, changed = SHAPES[shape]
    path = _random_upstream(tmp_path / "upstream.pt", normalize=normalize, **changed)
    from s3prl import hub
    from transformers import AutoFeatureExtractor, HubertModel

    write_transformers_folder(tmp_path / "folder", form_of_file(read_upstream_file(path)))
    theirs = HubertModel.from_pretrained(tmp_path / "folder").eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "folder")
    assert extractor.do_normalize is normalize
    ours = hub.hubert_local(ckpt=str(path)).eval()
    worst = 0.0
    for wav in waveforms():
        given = torch.nn.functional.layer_norm(wav, wav.shape) if normalize else wav
        with torch.no_grad():
            expected = ours([wav])["hidden_states"]
            found = theirs(given[None], output_hidden_states=True)
        assert len(found.hidden_states) == len(expected)
        for layer, other in zip(expected, found.hidden_states, strict=True):
            assert layer.shape == other.shape
            assert torch.isfinite(other).all()
            worst = max(worst, float((layer - other).abs().max()))
        assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
    assert worst < 1e-5


def test_the_preprocessor_normalises_as_s3prl_but_for_its_epsilon(tmp_path):
    from transformers import AutoFeatureExtractor

    path = _random_upstream(tmp_path / "upstream.pt", normalize=True)
    write_transformers_folder(tmp_path / "folder", form_of_file(read_upstream_file(path)))
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "folder")
    loud = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    values = extractor(loud.numpy(), sampling_rate=16000, return_tensors="pt").input_values[0]
    difference = (values - torch.nn.functional.layer_norm(loud, loud.shape)).abs().max()
    assert difference < 1e-4


def test_a_new_style_weight_norm_is_understood(tmp_path):
    upstream = read_upstream_file(_random_upstream(tmp_path / "upstream.pt"))
    weights = dict(upstream["model_weight"])
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        value = weights.pop(f"encoder.pos_conv.0.{old}")
        weights[f"encoder.pos_conv.0.parametrizations.weight.{new}"] = value
    write_transformers_folder(tmp_path / "new", form_of_file(upstream, weights))
    write_transformers_folder(tmp_path / "old", form_of_file(upstream))
    new, old = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("new", "old"))
    assert new == old


def test_what_transformers_does_not_have_is_refused(tmp_path):
    upstream = read_upstream_file(_random_upstream(tmp_path / "upstream.pt"))
    for key, value, message in (
        (
            "layer_type",
            "conformer",
            "transformers' HuBERT has no conformer layers; export --format s3prl keeps them.",
        ),
        (
            "activation_fn",
            "swish",
            "transformers' HuBERT has no activation swish; export --format s3prl keeps it.",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            config_of("hubert", {**upstream["model_cfg"], key: value})
        assert str(caught.value) == message
    odd = {**upstream["model_weight"], "odd.weight": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        write_transformers_folder(tmp_path / "folder", form_of_file(upstream, odd))
    assert str(caught.value) == "The weight `odd.weight` has no place in transformers' HuBERT."
    fewer = dict(upstream["model_weight"])
    del fewer["encoder.layer_norm.bias"]
    with pytest.raises(CheckpointError, match="do not fit a transformers HubertModel"):
        write_transformers_folder(tmp_path / "folder", form_of_file(upstream, fewer))


def test_layers_written_as_code_are_refused(tmp_path):
    upstream = read_upstream_file(_random_upstream(tmp_path / "upstream.pt"))
    harmful = {**upstream["model_cfg"], "conv_feature_layers": "__import__('os').system('true')"}
    with pytest.raises(CheckpointError, match="it was not run"):
        config_of("hubert", harmful)


def test_a_disk_that_fills_leaves_no_half_of_a_folder(tmp_path, monkeypatch):
    import transformers

    def half(self, folder, **_):
        (Path(folder) / "config.json").write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device")

    form = form_of_file(read_upstream_file(_random_upstream(tmp_path / "u.pt")))
    write_transformers_folder(tmp_path / "out", form)
    before = (tmp_path / "out" / "config.json").read_bytes()
    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", half)
    for name in ("out", "new"):
        with pytest.raises(OSError, match="No space") as error:
            write_transformers_folder(tmp_path / name, form)
        assert error.value.filename == str(tmp_path / name)
    assert (tmp_path / "out" / "config.json").read_bytes() == before
    assert not list((tmp_path / "new").iterdir())
