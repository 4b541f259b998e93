"""Every family that runs packed gives what its own model gives for each utterance by itself."""

import argparse

import pytest
import torch
from tiny_upstreams import (
    TRANSFORMERS_TYPES,
    featurizer_of,
    make_data2vec,
    make_distiller,
    make_hubert,
    make_transformers,
    make_wav2vec2,
    make_wavlm,
    wavs,
)

from spknorm.schema import UpstreamConfig
from spknorm.upstreams import FAMILIES, build, family_of
from spknorm.upstreams.fast import PackedEncoder, layers, make_encoder, packed
from spknorm.upstreams.fast.layout import Layout

ON = UpstreamConfig()
PRE = {"layer_norm_first": True}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
OF_S3PRL = {
    "hubert": lambda path: ("hubert_local", make_hubert(path)),
    "hubert pre-norm": lambda path: ("hubert_local", make_hubert(path, **PRE)),
    "wav2vec2": lambda path: ("wav2vec2_local", make_wav2vec2(path)),
    "wavlm": lambda path: ("wavlm_local", make_wavlm(path, gated=True)),
    "wavlm pre-norm": lambda path: ("wavlm_local", make_wavlm(path, gated=True, **PRE)),
    "wavlm ungated": lambda path: ("wavlm_local", make_wavlm(path, gated=True, gru_rel_pos=False)),
    "unispeech-sat": lambda path: ("unispeech_sat_local", make_wavlm(path)),
    "data2vec": lambda path: ("data2vec_local", make_data2vec(path)),
    "distiller": lambda path: ("distiller_local", make_distiller(path)),
    "distiller pre-norm": lambda path: ("distiller_local", make_distiller(path, **PRE)),
    "distiller without projection": lambda path: (
        "distiller_local",
        make_distiller(path, encoder_embed_dim=16, final_dim=16, feature_grad_mult=0.0),
    ),
}
PACKED_TYPES = [
    family.model_type for family in FAMILIES if family.runs_packed and family.model_type
]
WITH_NORM_FIRST = ["hubert", "wav2vec2", "wavlm", "unispeech-sat", "unispeech"]
OF_TRANSFORMERS = {
    **{f"hf {kind}": (kind, {}) for kind in PACKED_TYPES},
    **{f"hf {kind} pre-norm": (kind, STABLE) for kind in WITH_NORM_FIRST},
}


@pytest.fixture(scope="module")
def upstream_of(tmp_path_factory):
    """A function that returns a tiny random upstream in evaluation mode."""
    folder = tmp_path_factory.mktemp("families")

    def make(name):
        if name in OF_S3PRL:
            entry, path = OF_S3PRL[name](folder / "model.pt")
            args = argparse.Namespace(upstream=entry, upstream_ckpt=str(path))
        else:
            kind, changes = OF_TRANSFORMERS[name]
            path = make_transformers(folder / name.replace(" ", "-"), kind, still=True, **changes)
            args = argparse.Namespace(upstream=f"hf:{path}", upstream_ckpt=None)
        return build(args).upstream.eval()

    return make


def outcome(features, parameters):
    loss = sum(frames.pow(2).mean() for frames in features)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros(()) if one is None else one for one in gradients]


def check_alone(upstream, batch, *, selection="hidden_states", **options):
    featurizer = featurizer_of(upstream, selection, **options)
    parameters = [p for p in (*upstream.parameters(), *featurizer.parameters()) if p.requires_grad]
    encode = make_encoder(upstream, featurizer, ON)
    assert isinstance(encode, PackedEncoder)
    ours = encode(batch)
    alone = [featurizer([wav], upstream([wav]))[0] for wav in batch]
    for one, other in zip(ours, alone, strict=True):
        assert abs(len(one) - len(other)) <= 1  # s3prl rounds the number of frames
        frames = min(len(one), len(other))
        torch.testing.assert_close(one[:frames], other[:frames], rtol=1e-5, atol=1e-5)
    frames = [min(len(one), len(other)) for one, other in zip(ours, alone, strict=True)]
    cut = ([x[:n] for x, n in zip(side, frames, strict=True)] for side in (ours, alone))
    ours, alone = (outcome(side, parameters) for side in cut)
    for one, other in zip(ours, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*OF_S3PRL, *OF_TRANSFORMERS])
def test_features_and_gradients_are_those_of_each_utterance_alone(upstream_of, name):
    upstream = upstream_of(name)
    assert family_of(upstream).runs_packed
    batch = wavs(0.31, 1.0, 0.5)
    check_alone(upstream, batch)
    check_alone(upstream, batch[:2], selection="last_hidden_state")


@pytest.mark.parametrize("selection", ["last_hidden_state", "paper", "hidden_states"])
def test_a_distilhubert_counts_its_hidden_states_as_s3prl_does(upstream_of, selection):
    upstream = upstream_of("distiller")
    assert len(upstream(wavs(0.5))["hidden_states"]) == 1 + 2 + 3  # projection, layers, heads
    check_alone(upstream, wavs(0.31, 0.7), selection=selection)
    check_alone(upstream, wavs(0.31, 0.7), layer_selection=4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoder_layerdrop": 0.1}, "not a plain transformer without layerdrop"),
        ({"task_emb_type": "self-hidden", "out_layer_type": "none"}, "told apart by self-hidden"),
    ],
)
def test_a_distilhubert_of_another_build_runs_as_s3prl_runs_it(changes, reason, tmp_path, caplog):
    path = make_distiller(tmp_path / "model.pt", **changes)
    args = argparse.Namespace(upstream="distiller_local", upstream_ckpt=str(path))
    upstream = build(args).upstream.eval()
    with caplog.at_level("INFO"):
        encode = make_encoder(upstream, featurizer_of(upstream), ON)
    assert not isinstance(encode, PackedEncoder)
    assert f"runs as s3prl runs it, with padding: its {reason}" in caplog.text.replace(
        "its encoder is ", "its "
    ).replace("its tasks are ", "its ")


@pytest.mark.parametrize("name", ["wavlm", "hf wavlm", "hf wav2vec2 pre-norm", "data2vec"])
def test_so_they_are_up_to_30_seconds(upstream_of, name):
    check_alone(upstream_of(name), wavs(1.0, 30.0, 7.3), selection="last_hidden_state")


@pytest.mark.parametrize(
    "name", ["wavlm", "hf wavlm pre-norm", "hf hubert", "hf data2vec-audio", "distiller"]
)
def test_taking_all_utterances_in_one_call_gives_the_same(upstream_of, name, monkeypatch):
    upstream = upstream_of(name)
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    parameters = [p for p in upstream.parameters() if p.requires_grad]
    batch = wavs(0.31, 0.8, 0.5)

    def features_and_gradients():
        features = encode(batch)
        return [*features, *outcome(features, parameters)]

    one_by_one = features_and_gradients()
    monkeypatch.setattr(
        packed, "Layout", lambda *args, **options: Layout(*args, **{**options, "together": True})
    )
    for one, other in zip(features_and_gradients(), one_by_one, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["wavlm", "hf wavlm"])
def test_the_bias_has_a_say_and_dropout_adds_it_too(upstream_of, name, monkeypatch):
    upstream = upstream_of(name)
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    batch = wavs(0.8, 0.5)
    expected = encode(batch)
    real = layers._attention
    monkeypatch.setattr(
        layers,
        "_attention",
        lambda q, k, v, bias, dropout_rate: real(q, k, v, bias, dropout_rate=1e-9),
    )
    for one, other in zip(encode(batch), expected, strict=True):  # by another way
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(
        layers,
        "_attention",
        lambda q, k, v, bias, dropout_rate: real(q, k, v, None, dropout_rate=0.0),
    )
    without = encode(batch)
    assert not torch.allclose(without[0], expected[0], atol=1e-4)


@pytest.mark.parametrize("name", ["wavlm", "hf hubert"])
def test_recomputed_activations_give_the_same_gradients(upstream_of, name):
    upstream = upstream_of(name)
    parameters = [p for p in upstream.parameters() if p.requires_grad]
    featurizer = featurizer_of(upstream)
    again = make_encoder(upstream, featurizer, UpstreamConfig(checkpoint_activations=True))
    kept = make_encoder(upstream, featurizer, ON)
    pairs = zip(
        *(outcome(encode(wavs(0.5, 0.4)), parameters) for encode in (again, kept)), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(set(TRANSFORMERS_TYPES) - set(PACKED_TYPES)))
def test_what_has_no_kernel_takes_each_utterance_alone(kind, tmp_path, caplog):
    folder = make_transformers(tmp_path / "model", kind, still=True)
    args = argparse.Namespace(upstream=f"hf:{folder}", upstream_ckpt=None)
    upstream = build(args).upstream.eval()
    featurizer = featurizer_of(upstream, "hidden_states")
    with caplog.at_level("INFO"):
        encode = make_encoder(upstream, featurizer, ON)
    assert "runs over each utterance by itself" in caplog.text
    batch = wavs(0.31, 0.8, 0.31)
    alone = [featurizer([wav], upstream([wav]))[0] for wav in batch]
    for one, other in zip(encode(batch), alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_whisper_hears_more_than_its_30_seconds_in_pieces(tmp_path):
    folder = make_transformers(tmp_path / "model", "whisper", still=True)
    args = argparse.Namespace(upstream=f"hf:{folder}", upstream_ckpt=None)
    upstream = build(args).upstream.eval()
    (wav,) = wavs(31.0)
    with torch.no_grad():
        whole = upstream([wav])["last_hidden_state"]
        end = upstream([wav[480_000:]])["last_hidden_state"]
    assert whole.shape == (1, 1550, 32)
    torch.testing.assert_close(whole[:, 1500:], end, rtol=1e-5, atol=1e-5)
