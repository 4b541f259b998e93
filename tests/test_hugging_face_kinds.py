"""Models of transformers of every kind: taken with their frames, or refused by name."""

import argparse
import json
import shutil

import pytest
import torch
import transformers
from s3prl.upstream.interfaces import Featurizer
from safetensors.torch import load_file, save_file
from tiny_upstreams import make_transformers

from spknorm.errors import CheckpointError, ConfigError, MissingError
from spknorm.schema import UpstreamConfig
from spknorm.upstreams import build, family_of
from spknorm.upstreams.fast import make_encoder

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "intermediate_size": 64}  # fmt: skip
CONVOLUTIONS = {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16,
                "num_conv_pos_embedding_groups": 4}  # fmt: skip
COMMON = {**SMALL, **CONVOLUTIONS}
DECODER = {"vocab_size": 50, "decoder_layers": 1, "encoder_layers": 2, "encoder_ffn_dim": 64,
           "decoder_ffn_dim": 64, "encoder_attention_heads": 4,
           "decoder_attention_heads": 4}  # fmt: skip
WHISPER = {**DECODER, "d_model": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
           "decoder_start_token_id": 1}  # fmt: skip
MOONSHINE = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64,
             "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1,
             "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4}  # fmt: skip
PARAKEET = {**SMALL, "subsampling_conv_channels": 16, "num_mel_bins": 80}
RAW, MELS = "Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor"
TDNN = {"tdnn_dim": (16, 16), "tdnn_kernel": (3, 3), "tdnn_dilation": (1, 1)}
TAKEN = {
    "Wav2Vec2Conformer": (COMMON, RAW, "of another family", 320),
    "Wav2Vec2ConformerForCTC": ({**COMMON, "vocab_size": 9}, RAW, "of another family", 320),
    "SEW": ({**COMMON, "conv_dim": [16] * 13}, RAW, "of another family", 320),
    "Wav2Vec2ForCTC": ({**COMMON, "adapter_attn_dim": 8, "vocab_size": 9,
                        "do_stable_layer_norm": True}, RAW, "wav2vec 2.0", 320),  # MMS
    "Wav2Vec2ForPreTraining": ({**COMMON, "codevector_dim": 16}, RAW, "wav2vec 2.0", 320),
    "Wav2Vec2ForSequenceClassification": (COMMON, RAW, "wav2vec 2.0", 320),
    "Wav2Vec2": ({**COMMON, "add_adapter": True, "output_hidden_size": 24}, RAW,
                 "wav2vec 2.0", 320),
    "HubertForCTC": ({**COMMON, "vocab_size": 9}, RAW, "HuBERT", 320),
    "WavLMForXVector": ({**COMMON, **TDNN}, RAW, "WavLM", 320),
    "Data2VecAudioForAudioFrameClassification": (
        {**COMMON, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}, RAW,
        "data2vec audio", 320,
    ),
    "UniSpeechSatForXVector": ({**COMMON, **TDNN}, RAW, "UniSpeech-SAT", 320),
    "SEWDForCTC": ({**COMMON, "conv_dim": [16] * 13, "vocab_size": 9}, RAW, "SEW-D", 320),
    "Wav2Vec2BertForCTC": (
        {**SMALL, "feature_projection_input_dim": 160, "vocab_size": 9, "add_adapter": True},
        "SeamlessM4TFeatureExtractor", "Wav2Vec2-BERT", 320,
    ),
    "WhisperForConditionalGeneration": (WHISPER, MELS, "Whisper's encoder", 320),
    "WhisperForAudioClassification": (WHISPER, MELS, "Whisper's encoder", 320),
    "Moonshine": (MOONSHINE, RAW, "of another family", 384),
    "MoonshineForConditionalGeneration": (MOONSHINE, RAW, "of another family", 384),
    "ParakeetEncoder": (PARAKEET, "ParakeetFeatureExtractor", "of another family", 1280),
    "ParakeetForCTC": ({"vocab_size": 9, "encoder_config": PARAKEET}, "ParakeetFeatureExtractor",
                       "of another family", 1280),
    "Speech2Text": ({**DECODER, "d_model": 32, "conv_channels": 32}, "Speech2TextFeatureExtractor",
                    "of another family", 640),
}  # fmt: skip
CLAP = {"patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2],
        "hidden_size": 32, "spec_size": 64, "num_mel_bins": 16, "patch_size": 4,
        "window_size": 4}  # fmt: skip
NO_FRAMES = "no frames, so that it cannot be an upstream"
REFUSED = {
    "ClapAudioModel": (CLAP, "ClapFeatureExtractor",
                       "is a clap_audio_model, which has no model of its own"),
    "ASTModel": (SMALL, "ASTFeatureExtractor", NO_FRAMES),
    "Qwen2AudioEncoder": (
        {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64},
        ("WhisperFeatureExtractor", {"feature_size": 128}), NO_FRAMES,
    ),
    "SpeechT5Model": ({**DECODER, **CONVOLUTIONS, "hidden_size": 32}, "SpeechT5FeatureExtractor",
                      "is a speecht5, which gives no hidden states of waveforms or log-mels alone"),
    "DacModel": (
        {"encoder_hidden_size": 8, "decoder_hidden_size": 32, "n_codebooks": 2,
         "codebook_size": 8, "downsampling_ratios": [2, 4]},
        ("DacFeatureExtractor", {"sampling_rate": 16000}),
        "is a dac, which gives no hidden states of waveforms or log-mels alone",
    ),
    "EncodecModel": (
        {"num_filters": 4, "hidden_size": 16, "codebook_size": 8, "codebook_dim": 16},
        "EncodecFeatureExtractor", "takes 24000 Hz, but utterances are read at 16000 Hz",
    ),
    "BertModel": (SMALL, RAW, "is a bert, which takes input_ids, not waveforms or log-mels"),
}  # fmt: skip


def made(folder, name, settings, extractor):
    model_class = getattr(transformers, name, None) or getattr(transformers, f"{name}Model")
    torch.manual_seed(0)
    model = model_class(model_class.config_class(**settings))
    model.save_pretrained(folder)
    kind, options = (extractor, {}) if isinstance(extractor, str) else extractor
    getattr(transformers, kind)(**options).save_pretrained(folder)
    return model.eval()


def built(source):
    return build(argparse.Namespace(upstream=f"hf:{source}", upstream_ckpt=None)).upstream.eval()


@pytest.mark.parametrize("name", TAKEN)
def test_a_model_that_gives_frames_is_taken(name, tmp_path):
    settings, extractor, family, stride = TAKEN[name]
    own = made(tmp_path / "model", name, settings, extractor)
    upstream = built(tmp_path / "model")
    assert family_of(upstream).title == family
    assert abs(upstream.frames_every - stride) <= 1
    wavs = [0.1 * torch.randn(8000), 0.1 * torch.randn(16000)]
    with torch.no_grad():
        hidden = upstream(wavs)["hidden_states"]
        alone = upstream(wavs[:1])["hidden_states"]
    assert len(hidden) >= 3
    assert {layer.shape for layer in hidden} == {hidden[0].shape}
    assert abs(hidden[0].shape[1] - 16000 / stride) <= 2
    frames = alone[0].shape[1]
    for together, by_itself in zip(hidden, alone, strict=True):
        torch.testing.assert_close(together[:1, :frames], by_itself, rtol=1e-5, atol=1e-5)
    theirs = own.state_dict()
    for key, value in upstream.model.state_dict().items():
        assert any(name.endswith(key) and torch.equal(value, theirs[name]) for name in theirs), key


SHORT = {
    "sew-d": {},
    "wav2vec2": {"conv_kernel": [10, 3, 3, 3, 3, 2, 6], "num_conv_pos_embeddings": 15},
    "hubert": {"conv_kernel": [10, 3, 3, 3, 3, 4, 4]},
    "wav2vec2-bert": {},
}


@pytest.mark.parametrize("kind", SHORT)
def test_25_ms_have_a_frame_in_a_model_that_needs_more(kind, tmp_path):
    upstream = built(make_transformers(tmp_path / "model", kind, **SHORT[kind]))
    assert (upstream.shortest > 400) == (kind != "wav2vec2-bert")
    wavs = [0.1 * torch.randn(samples) for samples in (400, 16000, 700)]
    with torch.no_grad():
        hidden = upstream(wavs)["hidden_states"]
        featurizer = Featurizer(upstream, "last_hidden_state", upstream_device="cpu")
        packed = make_encoder(upstream, featurizer, UpstreamConfig(), trainable=False)(wavs)
    for features, alone in zip(packed, hidden[-1], strict=True):
        assert len(features) >= 1 and features.isfinite().all()
        torch.testing.assert_close(features, alone[: len(features)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_does_not_is_refused_by_name(name, tmp_path):
    settings, extractor, message = REFUSED[name]
    made(tmp_path / "model", name, settings, extractor)
    with pytest.raises(ConfigError, match=message) as caught:
        built(tmp_path / "model")
    assert f"hf:{tmp_path / 'model'}" in str(caught.value)


@pytest.fixture
def folder(tmp_path):
    return make_transformers(tmp_path / "model", "wav2vec2")


def change(path, **changes):
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def weights(folder, alter):
    found = alter(load_file(folder / "model.safetensors"))
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})


def only(name, content=b"x"):
    def leave(folder):
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(content)

    return leave


def with_code(folder):
    code = "raise SystemExit('this must not be run')"
    (folder / "modeling.py").write_text(code)
    (folder / "configuration.py").write_text(code)
    names = {"AutoModel": "modeling.Own", "AutoConfig": "configuration.OwnConfig"}
    change(folder / "config.json", model_type="own", auto_map=names)


def in_eight_bits(folder):
    name = "encoder.layers.0.feed_forward.output_dense.weight"
    weights(folder, lambda found: {**found, name: found[name].to(torch.int8)})


def pruned(folder):
    weights(folder, lambda found: {
        name: value[:8].clone() if name.endswith("output_dense.weight") else value
        for name, value in found.items()
    })  # fmt: skip


DAMAGED = {
    "TensorFlow's weights alone": (
        only("tf_model.h5"),
        "has no model.safetensors or pytorch_model.bin; tf_model.h5 is of TensorFlow: convert it",
    ),
    "Flax's weights alone": (only("flax_model.msgpack"), "flax_model.msgpack is of Flax: convert"),
    "an ONNX file alone": (only("model.onnx"), "model.onnx is of ONNX: convert"),
    "a partial download": (only("model.safetensors.incomplete"), "has no model.safetensors or py"),
    "quantised, said so": (
        lambda f: change(f / "config.json", quantization_config={"quant_method": "bitsandbytes"}),
        r"holds weights that are quantised \(bitsandbytes\), which cannot be trained: name the fol",
    ),
    "quantised, not said": (in_eight_bits, r"are quantised \(encoder.layers.0.*torch.int8\)"),
    "weights of another shape": (
        pruned,
        r"as its config.json describes it: encoder.* is of \(8, 64\), not of \(32, 64\)",
    ),
    "without a model type": (
        lambda f: change(f / "config.json", model_type=..., architectures=...),
        "has a config.json without a model_type: it is of no model",
    ),
    "pickled objects": (
        only("pytorch_model.bin", b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85Rq\x02."),
        "pytorch_model.bin",
    ),
}


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_folder_whose_weights_cannot_be_used_says_why(kind, folder):
    alter, message = DAMAGED[kind]
    alter(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        built(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.fault("foreign weights")
def test_a_model_type_that_transformers_does_not_know_is_named(folder):
    change(folder / "config.json", model_type="of_tomorrow")
    with pytest.raises(ConfigError, match=r"type `of_tomorrow`, which transformers \d\S+ does"):
        built(folder)


def test_code_that_comes_with_a_folder_is_neither_run_nor_asked_about(folder, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run it"))
    with_code(folder)
    with pytest.raises(ConfigError, match=r"whose code comes with it \(auto_map in config.json\)"):
        built(folder)


@pytest.mark.parametrize("said", [True, False, None])
def test_waveforms_are_normalised_as_the_preprocessor_says(said, folder):
    if said is None:  # transformers' default
        (folder / "preprocessor_config.json").unlink()
    else:
        change(folder / "preprocessor_config.json", do_normalize=said)
    loud = 5 + 3 * torch.sin(torch.arange(8000) / 9.0)
    with torch.no_grad():
        found = built(folder)([loud])["last_hidden_state"]
        model = transformers.Wav2Vec2Model.from_pretrained(folder).eval()
        given = (loud - loud.mean()) / loud.std(unbiased=False) if said in (True, None) else loud
        expected = model(given[None]).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_more_weights_than_the_model_has_do_no_harm(folder):
    wav = [torch.sin(torch.arange(8000) / 9.0)]
    with torch.no_grad():
        expected = built(folder)(wav)["last_hidden_state"]
        weights(folder, lambda found: {**found, "quantizer.codevectors": torch.ones(3),
                                       "lm_head.weight": torch.ones(3, 3)})  # fmt: skip
        assert torch.equal(built(folder)(wav)["last_hidden_state"], expected)


def test_a_snapshot_that_is_only_half_there_is_told(folder, tmp_path, monkeypatch):
    import huggingface_hub.constants

    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    (snapshot / "model.safetensors").unlink()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match=r"lacks files, as after a download that was stopped\)"):
        built("someone/tiny")


def test_log_mels_are_in_float32_under_bf16_on_the_cpu(tmp_path):
    path = make_transformers(tmp_path, "whisper")
    args = argparse.Namespace(upstream=f"hf:{path}", upstream_ckpt=None)
    inputs = build(args).upstream.inputs
    wavs, cpu = [torch.randn(8000, generator=torch.Generator().manual_seed(0))], torch.device("cpu")
    expected = inputs(wavs, cpu)["input_features"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(inputs(wavs, cpu)["input_features"], expected)
