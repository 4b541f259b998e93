"""Utterances end to end give what each gives alone: features, gradients, compiled or not."""

import functools
import logging

import numpy as np
import pytest
import torch
from tiny_upstreams import featurizer_of, make_upstream, wavs  # noqa: F401 (a fixture)

from spknorm.schema import UpstreamConfig
from spknorm.upstreams.fast import (
    PackedEncoder,
    layers,
    make_encoder,
    packed,
    parts,
    parts_of,
    reason_unsupported,
)
from spknorm.upstreams.fast.convolution import convolve
from spknorm.upstreams.fast.layout import Layout

ON = UpstreamConfig()


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
@pytest.mark.parametrize(
    "reading",
    [
        {},
        {"selection": "hidden_states"},
        {"selection": "hidden_states", "normalize": True},
        {"selection": "hidden_states", "layer_selection": 1},
        {"selection": "hidden_state_0"},
    ],
)
def test_packed_features_and_gradients_are_those_of_each_utterance_alone(
    make_upstream, kind, reading
):
    upstream = make_upstream(kind)
    featurizer = featurizer_of(upstream, **reading)
    batch = wavs(0.31, 0.8, 0.5)
    encode = make_encoder(upstream, featurizer, ON)
    assert isinstance(encode, PackedEncoder)
    parameters = [*upstream.parameters(), *featurizer.parameters()]

    def outcome(features):
        loss = sum(frames.pow(2).mean() for frames in features)
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    packed = encode(batch)
    alone = [featurizer([wav], upstream([wav]))[0] for wav in batch]
    for ours, theirs in zip(packed, alone, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(outcome(packed), outcome(alone), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seconds", [(0.31, 0.8, 0.5), (0.5, 0.5), (0.4,)])
def test_taking_all_utterances_in_one_call_gives_the_same(make_upstream, monkeypatch, seconds):
    upstream = make_upstream()
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    batch = wavs(*seconds)
    parameters = list(upstream.model.encoder.parameters())

    def outcome():
        features = encode(batch)
        return features, torch.autograd.grad(sum(f.pow(2).mean() for f in features), parameters)

    one_by_one = outcome()
    monkeypatch.setattr(packed, "Layout", functools.partial(Layout, together=True))
    for ours, theirs in zip(outcome(), one_by_one, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_padding_puts_zeros_behind_and_is_undone():
    layout = Layout([2, 3], device=torch.device("cpu"), together=True)
    x = torch.arange(1.0, 6.0).unsqueeze(1)
    padded = layout.pad(x)
    assert padded.shape == (2, 32, 1)  # few lengths, so that a GPU plans for few
    assert padded[:, :3].squeeze(-1).tolist() == [[1, 2, 0], [3, 4, 5]]
    assert not padded[:, 3:].any()
    assert layout.mask.flatten(1).sum(1).tolist() == [2, 3]
    assert torch.equal(layout.unpad(padded), x)
    alike = Layout([3, 3], device=torch.device("cpu"), together=True)
    assert alike.mask is None and alike.pad(torch.ones(6, 1)).shape == (2, 3, 1)


@pytest.mark.parametrize("changes", [{"layer_norm_first": True}, {"activation_fn": "relu"}])
def test_the_other_kinds_of_layers_are_run_alike(make_upstream, changes):
    upstream = make_upstream(**changes)
    featurizer = featurizer_of(upstream, "hidden_states")
    (wav,) = wavs(0.7)
    torch.testing.assert_close(
        make_encoder(upstream, featurizer, ON)([wav])[0], featurizer([wav], upstream([wav]))[0]
    )


def test_a_wide_positional_convolution_gives_what_s3prl_gives(make_upstream, monkeypatch):
    used = []
    monkeypatch.setattr(
        layers, "convolve", lambda *arguments: used.append(1) or convolve(*arguments)
    )
    upstream = make_upstream(conv_pos=64)
    featurizer = featurizer_of(upstream)
    parameters = list(upstream.model.encoder.parameters())

    def outcome(features):
        return torch.autograd.grad(sum(f.pow(2).mean() for f in features), parameters)

    batch = wavs(1.3, 2.1)
    packed = make_encoder(upstream, featurizer, ON)(batch)
    alone = [featurizer([wav], upstream([wav]))[0] for wav in batch]
    assert bool(used) == torch.backends.mkl.is_available()
    for ours, theirs in zip(packed, alone, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(outcome(packed), outcome(alone), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_normalised_waveforms_are_normalised(make_upstream):
    upstream = make_upstream()
    featurizer = featurizer_of(upstream)
    upstream.task_cfg.normalize = True
    (wav,) = wavs(0.7)
    torch.testing.assert_close(
        make_encoder(upstream, featurizer, ON)([7 * wav])[0],
        featurizer([wav], upstream([7 * wav]))[0],
    )


def test_in_one_length_without_dropout_packed_and_padded_steps_agree(make_upstream):
    upstream = make_upstream(dropout=0.0, attention_dropout=0.0).train()
    featurizer = featurizer_of(upstream)
    upstream.train()
    batch = wavs(0.6, 0.6)
    packed, padded = (
        make_encoder(upstream, featurizer, UpstreamConfig(packed=on))(batch) for on in (True, False)
    )
    for ours, theirs in zip(packed, padded, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_front_end_is_trained_only_when_it_is_asked_for(make_upstream):
    upstream = make_upstream()
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    convolution = upstream.model.feature_extractor.conv_layers[0][0].weight

    def gradient():
        (features,) = encode(wavs(0.5))
        return torch.autograd.grad(features.pow(2).sum(), convolution, allow_unused=True)[0]

    assert gradient() is None
    upstream.model.feature_grad_mult = 1.0
    full = gradient()
    upstream.model.feature_grad_mult = 0.1
    torch.testing.assert_close(gradient(), 0.1 * full)


def test_recomputed_activations_give_the_same_gradients(make_upstream):
    upstream = make_upstream().train()
    featurizer = featurizer_of(upstream)
    upstream.train()

    def gradients(**options):
        encode = make_encoder(upstream, featurizer, UpstreamConfig(**options))
        torch.manual_seed(3)
        loss = sum(frames.pow(2).sum() for frames in encode(wavs(0.5, 0.7)))
        return torch.autograd.grad(loss, list(upstream.model.encoder.parameters()))

    for ours, theirs in zip(gradients(checkpoint_activations=True), gradients(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_hidden_states_that_nobody_reads_are_not_kept(make_upstream, monkeypatch):
    upstream = make_upstream()
    ran = []
    monkeypatch.setattr(parts, "run_layer", lambda layer, x, *_: ran.append(layer.attention) or x)
    featurizer = featurizer_of(upstream, "hidden_state_1")
    make_encoder(upstream, featurizer, ON)(wavs(0.5))
    assert ran == [upstream.model.encoder.layers[0].self_attn]


def test_an_upstream_of_another_kind_runs_as_s3prl_runs_it(caplog):
    class Other(torch.nn.Module):
        def forward(self, wavs):
            return {"hidden_states": [torch.zeros(len(wavs), 2, 3)]}

    def featurizer(wavs, output):
        return [frames + 1 for frames in output["hidden_states"][0]]

    with caplog.at_level(logging.INFO):
        encode = make_encoder(Other(), featurizer, ON)
    assert "with padding: test_fast is no upstream that is run without padding." in caplog.text
    assert [frames.tolist() for frames in encode(wavs(0.1))] == [[[1.0] * 3] * 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda u, f: setattr(u.model.encoder, "layerdrop", 0.1),
            "its encoder is not a plain transformer without layerdrop",
        ),
        (lambda u, f: u.remove_hook("self.model.encoder"), "its hidden states are not those"),
        (lambda u, f: setattr(f, "feature_selection", "PR"), "`PR` is not one of its hidden"),
        (lambda u, f: u.model.encoder.layers.append(torch.nn.Identity()), "its layers are not"),
        (lambda u, f: setattr(u.model, "crop_seq_to_multiple", 2), "it quantises or crops"),
    ],
)
def test_what_packing_does_not_cover_says_why(make_upstream, change, reason):
    upstream = make_upstream()
    featurizer = featurizer_of(upstream)
    assert reason_unsupported(upstream, featurizer) is None
    change(upstream, featurizer)
    assert reason_unsupported(upstream, featurizer).startswith(reason)


def test_a_frozen_upstream_still_trains_the_weights_of_its_layers(make_upstream):
    upstream = make_upstream()
    for on in (True, False):
        featurizer = featurizer_of(upstream, "hidden_states")
        encode = make_encoder(upstream, featurizer, UpstreamConfig(packed=on), trainable=False)
        encode(wavs(0.5))[0].pow(2).sum().backward()
        assert featurizer.weights.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in upstream.parameters())


def test_a_compiled_layer_is_whole_graphs_whatever_the_lengths(make_upstream):
    upstream = make_upstream(dropout=0.1, attention_dropout=0.1).train()
    layer, run_layer = upstream.model.encoder.layers[0], parts_of(upstream).run_layer
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(run_layer, backend=count, dynamic=True, fullgraph=True)
    try:
        for lengths in ([9, 4], [7, 7], [12, 5, 3], [8, 6], [10, 10]):
            layout = Layout(lengths, device=torch.device("cpu"), together=True).settle()
            compiled(layer, torch.randn(sum(lengths), 32, requires_grad=True), layout)
    finally:
        torch._dynamo.reset()
    assert len(graphs) <= 3  # with a mask and without, and a first look


def test_a_compiled_encoder_gives_the_same(make_upstream, monkeypatch):
    compiled = []

    def fake(function, dynamic):
        compiled.append((function, dynamic))
        return function

    monkeypatch.setattr(torch, "compile", fake)
    upstream = make_upstream()
    featurizer = featurizer_of(upstream)
    encode = make_encoder(upstream, featurizer, UpstreamConfig(compile=True))
    assert [(function.__func__, dynamic) for function, dynamic in compiled] == [
        (parts.Parts.run_layer, True)
    ]
    np.testing.assert_array_equal(
        encode(wavs(0.4))[0].detach(), make_encoder(upstream, featurizer, ON)(wavs(0.4))[0].detach()
    )
