"""A layer as one function: what its modules give under autocast, and their gradients."""

import pytest
import torch
from test_fast_families import upstream_of  # noqa: F401  # another
from tiny_upstreams import featurizer_of, make_upstream, wavs  # noqa: F401  # a fixture
from torch.nn.utils import prune

from spknorm.schema import UpstreamConfig
from spknorm.upstreams.fast import make_encoder, packed, whole
from spknorm.upstreams.fast.layout import Layout

FAMILIES = ["hubert", "hubert pre-norm", "hf hubert", "hf wav2vec2"]


def attend(qkv, layer, layout):
    """What flash attention gives, in float32 and by torch's own autograd."""
    q, k, v = qkv.view(len(qkv), 3, layer.heads, -1).float().unbind(1)
    mixed = [
        torch.softmax(a.transpose(0, 1) @ b.permute(1, 2, 0) * a.shape[-1] ** -0.5, -1)
        @ c.transpose(0, 1)
        for a, b, c in zip(*map(layout.split, (q, k, v)), strict=True)
    ]
    joined = torch.cat([one.transpose(0, 1) for one in mixed])
    return joined.reshape(len(qkv), -1).to(qkv.dtype), qkv.new_empty(0), qkv.new_empty(0)


def attend_back(gradient, qkv, mixed, kept, layer, layout):
    with torch.enable_grad():
        again = qkv.detach().requires_grad_()
        return torch.autograd.grad(attend(again, layer, layout)[0], again, gradient)[0]


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Lets the CPU run layers as a GPU is asked to; returns the layers that ran so."""
    ran = []
    monkeypatch.setattr(
        packed, "Layout", lambda *args, **options: Layout(*args, **{**options, "together": True})
    )
    monkeypatch.setattr(whole, "runs_packed", lambda device, dtype, width: True)
    monkeypatch.setattr(whole, "_attend", attend)
    monkeypatch.setattr(whole, "_attend_back", attend_back)
    run = whole.run_whole
    monkeypatch.setattr(packed, "run_whole", lambda *args: ran.append(args[0]) or run(*args))
    return ran


def outcome(upstream, encode, parameters, dtype=torch.bfloat16, *, lower=True):
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype, enabled=lower):
        features = encode(wavs(0.31, 0.8, 0.5))
    loss = sum((frames.float() * frames.detach().float().cos()).mean() for frames in features)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return features, dict(zip(map(id, parameters), gradients, strict=True))


def apart(ours, right, *, least=1e-12):
    """The distance of two tensors over the length of the second."""
    ours, right = ours.detach().double(), right.detach().double()
    return float((ours - right).norm() / (right.norm() + least))


@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("selection", ["last_hidden_state", "hidden_states"])
@pytest.mark.parametrize("name", FAMILIES)
def test_features_and_gradients_are_near_those_of_float32_as_those_of_the_modules_are(
    upstream_of, name, selection, recomputes, as_on_a_gpu, monkeypatch
):
    upstream = upstream_of(name)
    parameters = [p for p in upstream.parameters() if p.requires_grad]
    featurizer = featurizer_of(upstream, selection)
    encode = make_encoder(upstream, featurizer, UpstreamConfig(checkpoint_activations=recomputes))
    exact, gradients = outcome(upstream, encode, parameters, lower=False)
    assert as_on_a_gpu == []  # float32 is the modules'
    ours, of_ours = outcome(upstream, encode, parameters)
    assert len(as_on_a_gpu) == 2 * (1 + recomputes)
    monkeypatch.setattr(packed, "runs_whole", lambda *_: False)
    theirs, of_theirs = outcome(upstream, encode, parameters)
    for one, other, right in zip(ours, theirs, exact, strict=True):
        assert one.dtype == other.dtype
        assert apart(one, right) < 2 * apart(other, right) + 1e-3
    noise = 1e-2 * max(float(one.norm()) for one in gradients.values() if one is not None)
    for key, right in gradients.items():  # those of biases of keys are nothing but rounding
        assert (of_ours[key] is None) == (of_theirs[key] is None)
        if right is not None:
            assert of_ours[key].dtype == torch.float32
            mine, other = (apart(one[key], right, least=noise) for one in (of_ours, of_theirs))
            assert mine < 4 * other + 5e-3  # sums of residuals are rounded, too


@pytest.mark.parametrize("name", ["hubert", "hubert pre-norm"])
def test_dropout_drops_what_its_gradient_knows_of(upstream_of, name, as_on_a_gpu):
    upstream = upstream_of(name)
    encode = make_encoder(upstream, featurizer_of(upstream), UpstreamConfig())
    for layer in upstream.model.encoder.layers:
        for module in (layer.dropout1, layer.dropout2, layer.dropout3):
            module.p = 0.3
            module.train()
    last = upstream.model.encoder.layers[-1].fc2
    weight = last.weight.detach().clone()
    features, gradients = outcome(upstream, encode, [last.weight])
    again, _ = outcome(upstream, encode, [last.weight])
    assert all(map(torch.equal, features, again))  # of the same seed
    assert as_on_a_gpu[0].rates == (0.0, *[pytest.approx(0.3)] * 3)
    upstream.eval()
    plain, _ = outcome(upstream, encode, [last.weight])
    assert not torch.equal(plain[0], features[0])
    for layer in upstream.model.encoder.layers:
        for module in (layer.dropout1, layer.dropout2, layer.dropout3):
            module.train()

    def loss_at(step):  # of the same seed, so with the same places dropped
        with torch.no_grad():
            last.weight.copy_(weight + step * direction)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            changed = encode(wavs(0.31, 0.8, 0.5))
        return sum(
            float((one.float() * was.float().cos()).mean())
            for one, was in zip(changed, features, strict=True)
        )

    direction = gradients[id(last.weight)]
    slope = (loss_at(0.5) - loss_at(-0.5)) / float(direction.norm() ** 2)
    assert slope == pytest.approx(1.0, abs=0.1)


def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same(upstream_of, as_on_a_gpu):
    upstream = upstream_of("hubert pre-norm")
    encode = make_encoder(upstream, featurizer_of(upstream), UpstreamConfig())
    layers = upstream.model.encoder.layers
    every = [p for p in layers.parameters() if p.requires_grad]
    _, whole_gradients = outcome(upstream, encode, every)
    biases = [p for name, p in layers.named_parameters() if name.endswith("bias")]
    for parameter in every:
        parameter.requires_grad_(any(parameter is bias for bias in biases))
    _, gradients = outcome(upstream, encode, biases)
    for bias in biases:
        assert torch.equal(gradients[id(bias)], whole_gradients[id(bias)])


@pytest.mark.parametrize(
    "change",
    [
        "a hook",
        "pruned weights",
        "a layer in 16 bits",
        "another activation",
        "autocast is off",
    ],
)
def test_other_layers_are_run_by_their_modules(upstream_of, change, as_on_a_gpu):
    upstream = upstream_of("hubert")
    encode = make_encoder(upstream, featurizer_of(upstream), UpstreamConfig())
    layers = upstream.model.encoder.layers
    for layer in layers:
        if change == "a hook":
            layer.fc1.register_forward_hook(lambda *_: None)
        elif change == "pruned weights":
            prune.random_unstructured(layer.fc2, "weight", amount=0.5)
        elif change == "a layer in 16 bits":
            layer.fc1.to(torch.bfloat16)
        elif change == "another activation":
            layer.activation_fn = torch.nn.functional.relu
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled="off" not in change):
        encode(wavs(0.31))
    assert as_on_a_gpu == []
