"""A layer's products with weights cast together: the bits that autocast gives, and LoRA in them."""

import functools

import pytest
import torch
from test_fast_families import upstream_of  # noqa: F401  # another
from tiny_upstreams import featurizer_of, make_upstream, wavs  # noqa: F401  # a fixture

from spknorm.schema import UpstreamConfig
from spknorm.schema.training import LoraConfig
from spknorm.upstreams import tuning
from spknorm.upstreams.fast import linears, make_encoder, packed
from spknorm.upstreams.fast.layout import Layout
from spknorm.upstreams.fast.linears import Linears

ON = UpstreamConfig()


def outcome(encode, parameters, *, lower=True):
    with torch.autocast("cpu", torch.bfloat16, enabled=lower):
        features = encode(wavs(0.31, 0.8))
    loss = sum(frames.float().pow(2).mean() for frames in features)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [*features, *(torch.zeros(()) if g is None else g for g in gradients)]


@pytest.fixture
def at_once(monkeypatch):
    """As a GPU is asked, on the CPU."""
    monkeypatch.setattr(
        packed, "Layout", lambda *args, **options: Layout(*args, **{**options, "together": True})
    )


@pytest.mark.parametrize("name", ["hubert", "hubert pre-norm", "wavlm", "hf hubert", "hf wavlm"])
def test_weights_cast_together_give_autocasts_bits(upstream_of, name, at_once, monkeypatch):
    upstream = upstream_of(name)
    parameters = [p for p in upstream.parameters() if p.requires_grad]
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    calls = []

    def one_by_one(groups, dtype):  # as autocast does
        calls.append(len(groups))
        return [torch.cat(list(group)).to(dtype) for group in groups]

    ours = outcome(encode, parameters)
    monkeypatch.setattr(linears, "cast_together", one_by_one)
    for one, other in zip(ours, outcome(encode, parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert set(calls) == {8}  # of each layer a weight and a bias of four products


@pytest.mark.parametrize(("lower", "recomputes"), [(False, False), (True, True)])
@pytest.mark.parametrize("name", ["hubert", "hf wav2vec2"])
def test_lora_is_heard_where_all_utterances_are_taken_in_one_call(
    upstream_of, name, lower, recomputes, monkeypatch
):  # fmt: skip
    upstream = upstream_of(name)
    tuning.adapt(upstream, UpstreamConfig(lora=LoraConfig(rank=2, alpha=4)))
    parameters = [p for p in upstream.parameters() if p.requires_grad]
    for number, parameter in enumerate(parameters):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    config = UpstreamConfig(checkpoint_activations=recomputes)
    encode = make_encoder(upstream, featurizer_of(upstream), config)
    alone = outcome(encode, parameters, lower=lower)
    assert all(bool(gradient.any()) for gradient in alone[2:])
    monkeypatch.setattr(packed, "Layout", functools.partial(Layout, together=True))
    near = {"rtol": 0.1, "atol": 0.05} if lower else {"rtol": 1e-4, "atol": 1e-5}
    for one, other in zip(outcome(encode, parameters, lower=lower), alone, strict=True):
        torch.testing.assert_close(one, other, **near)


def test_what_is_frozen_gets_no_gradient_and_what_is_not_gets_its_own():
    layout = Layout([3, 3], device=torch.device("cpu"), together=True)
    first, second = torch.nn.Linear(4, 2), torch.nn.Linear(4, 3)
    first.weight.requires_grad_(False)
    second.bias.requires_grad_(False)
    x = torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        Linears(layout, (first, second))(x, first, second).sum().backward()
    assert first.weight.grad is None and second.bias.grad is None
    assert first.bias.grad.tolist() == [6.0, 6.0]
    expected = x.bfloat16().float().sum(0).bfloat16().float().expand(3, 4)
    torch.testing.assert_close(second.weight.grad, expected)
    assert second.weight.grad.dtype is torch.float32


@pytest.mark.parametrize("lower", [False, True])
def test_a_product_without_bias_or_with_a_hook_is_its_module(lower):
    layout = Layout([3, 3], device=torch.device("cpu"), together=True)
    modules = torch.nn.Linear(4, 2, bias=False), torch.nn.Linear(4, 3)
    x = torch.randn(6, 4)
    # without oneDNN, which may add in another order than the module does
    one_dnn = torch.backends.mkldnn.flags(enabled=False)
    with one_dnn, torch.autocast("cpu", torch.bfloat16, enabled=lower):
        found = Linears(layout, modules)(x, *modules)
        expected = torch.cat([module(x) for module in modules], dim=-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
