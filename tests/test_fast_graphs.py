"""Recorded layers, without a GPU: whose memory it is, and where the gradients of weights lie.

In place of CUDA graphs there are functions that compute the same, and what a forward pass leaves
for its backward pass is gone after the next one, as in the memory that graphs share.
"""

import itertools
import types

import pytest
import torch
from test_fast_whole import as_on_a_gpu  # noqa: F401  # a fixture
from tiny_upstreams import featurizer_of, make_upstream, wavs  # noqa: F401  # a fixture
from torch.utils.checkpoint import checkpoint

from spknorm.schema import UpstreamConfig
from spknorm.upstreams.fast import graphs, make_encoder, recorder, whole

SHORT, LONG = (0.31, 0.5, 0.42), (0.8, 0.66)


def attend(qkv, layer, layout):
    """What flash attention gives, by the bounds that it is given."""
    q, k, v = qkv.view(len(qkv), 3, layer.heads, -1).float().unbind(1)
    ends = layout.bounds.tolist()
    mixed = []
    for start, stop in itertools.pairwise(ends):
        a, b, c = (one[start:stop].transpose(0, 1) for one in (q, k, v))
        mixed.append((torch.softmax(a @ b.mT * a.shape[-1] ** -0.5, -1) @ c).transpose(0, 1))
    return torch.cat(mixed).reshape(len(qkv), -1).to(qkv.dtype), qkv.new_empty(0), qkv.new_empty(0)


def attend_back(gradient, qkv, mixed, kept, layer, layout):
    with torch.enable_grad():
        again = qkv.detach().requires_grad_()
        return torch.autograd.grad(attend(again, layer, layout)[0], again, gradient)[0]


@pytest.fixture
def recorded(as_on_a_gpu, monkeypatch):
    """Lets the CPU record; returns what was recorded and replayed."""
    seen = types.SimpleNamespace(recordings=0, replays=[], memory=None)

    def record(self, x, layout, layers, grads):
        seen.recordings += 1
        weights = self.weights(layers)
        if grads and not self._places:
            self._make_places(layers, weights)
        bounds = layout.bounds.clone()
        fixed, taken = layout.with_bounds(bounds), x.detach().clone()
        out, gradient = torch.zeros_like(x, dtype=torch.bfloat16), torch.zeros_like(x)
        back = torch.zeros_like(x)
        own = seen.recordings
        if self._final_norm is not None:
            out, gradient = out.float(), gradient.float()

        def forward():
            seen.replays.append("forward")
            leaf = taken.detach().requires_grad_(grads)
            with torch.set_grad_enabled(grads):
                made = self.run(leaf, fixed, layers, weights)
            out.copy_(made.detach())
            seen.memory = own, leaf, made

        def backward():
            seen.replays.append("backward")
            whose, leaf, made = seen.memory
            assert whose == own  # else it would compute with what another has left there
            found = torch.autograd.grad(made, [leaf, *weights], gradient)
            for place, one in zip((back, *self._places), found, strict=True):
                place.copy_(one)

        replay = types.SimpleNamespace
        return recorder.Recording(
            recorder.Rows(taken), bounds, out, recorder.Rows(gradient), back,
            self._places if grads else [],
            replay(replay=forward), replay(replay=backward), False,
        )  # fmt: skip

    monkeypatch.setattr(recorder.Recorder, "record", record)
    monkeypatch.setattr(recorder.Recorder, "has_room", lambda *_: True)
    monkeypatch.setattr("spknorm.upstreams.fast.packed.records_on", lambda device: True)
    monkeypatch.setattr(whole, "_attend", attend)
    monkeypatch.setattr(whole, "_attend_back", attend_back)
    return seen


@pytest.fixture(params=[False, True], ids=["norms behind", "norms first"])
def made(request, make_upstream):
    """An upstream in training without dropout, and its encoders: recorded, and not."""
    rates = dict.fromkeys(("dropout", "attention_dropout", "dropout_input"), 0.0)
    upstream = make_upstream(layer_norm_first=request.param, **rates)
    featurizer = featurizer_of(upstream)
    encoders = [
        make_encoder(upstream, featurizer, UpstreamConfig(graphs=on)) for on in (True, False)
    ]
    upstream.train()
    return upstream, *encoders


def encode(encoder, seconds):
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat(encoder(wavs(*seconds)))


def loss_of(features):
    return (features.float() * features.detach().float().cos()).mean()


def gradients_of(upstream):
    return {
        name: None if one.grad is None else one.grad.clone()
        for name, one in upstream.named_parameters()
    }


def are_near(ours, theirs):
    """Whether gradients agree but for the roundings of bfloat16 in sums."""
    assert ours.keys() == theirs.keys()
    most = max(float(one.norm()) for one in theirs.values() if one is not None)
    for name, right in theirs.items():
        assert (ours[name] is None) == (right is None), name
        if right is not None:
            assert float((ours[name] - right).norm()) < 2e-2 * float(right.norm()) + 1e-3 * most
    return True


def outcome(upstream, run):
    upstream.zero_grad(set_to_none=True)
    features = run()
    return features, gradients_of(upstream)


def are_as_near_when_recorded(made, run):
    """Whether a run's gradients are those of layers that are not recorded, once they are."""
    upstream, ours, theirs = made
    _, right = outcome(upstream, lambda: run(theirs))
    for _ in range(2):
        outcome(upstream, lambda: run(ours))
    _, gradients = outcome(upstream, lambda: run(ours))
    return are_near(gradients, right)


def test_a_shape_is_recorded_when_it_comes_again_and_gives_the_same(made, recorded):
    upstream, ours, theirs = made

    def run(encoder):
        features = encode(encoder, SHORT)
        loss_of(features).backward()
        return features.detach()

    plain, right = outcome(upstream, lambda: run(theirs))
    found = [outcome(upstream, lambda: run(ours)) for _ in range(3)]
    assert (recorded.recordings, recorded.replays) == (1, 2 * ["forward", "backward"])
    for features, gradients in found:
        assert torch.allclose(features.float(), plain.float(), atol=2e-2)
        assert are_near(gradients, right)
    assert torch.equal(found[1][0], found[2][0])


def test_batches_of_one_shape_do_not_see_what_the_one_before_has_left_behind_them(made, recorded):
    upstream, ours, theirs = made
    fewer = SHORT[0], SHORT[1] - 0.1, SHORT[2]

    def run(encoder, seconds):
        features = encode(encoder, seconds)
        loss_of(features).backward()
        return features

    for _ in range(2):
        outcome(upstream, lambda: run(ours, SHORT))
    with torch.autocast("cpu", torch.bfloat16):
        broken = [*wavs(*SHORT[:2]), wavs(SHORT[2])[0] * torch.nan]  # the last frames
        loss_of(torch.cat(ours(broken))).backward()
    plain, right = outcome(upstream, lambda: run(theirs, fewer))
    replays = len(recorded.replays)
    features, gradients = outcome(upstream, lambda: run(ours, fewer))
    assert (recorded.recordings, len(recorded.replays)) == (1, replays + 2)
    assert torch.allclose(features.float(), plain.float(), atol=2e-2)
    assert are_near(gradients, right)


def test_gradients_add_up_over_passes(made, recorded):
    upstream, ours, theirs = made

    def run(encoder):
        for seconds in (SHORT, LONG, SHORT):
            loss_of(encode(encoder, seconds)).backward()

    _, right = outcome(upstream, lambda: run(theirs))
    outcome(upstream, lambda: run(ours))
    _, gradients = outcome(upstream, lambda: run(ours))
    assert recorded.recordings == 2
    assert are_near(gradients, right)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_passes_that_wait_for_each_other_are_computed_again(made, recorded, order):
    upstream, ours, theirs = made

    def run(encoder):
        features = [encode(encoder, seconds) for seconds in (SHORT, LONG)]
        for place in order:
            loss_of(features[place]).backward()

    _, right = outcome(upstream, lambda: run(theirs))
    for _ in range(2):
        outcome(upstream, lambda: run(ours))
    recorded.replays.clear()
    _, gradients = outcome(upstream, lambda: run(ours))
    assert recorded.replays.count("backward") == 2
    assert recorded.replays.count("forward") == 3 + (order == (0, 1))
    assert are_near(gradients, right)


def test_passes_of_one_loss_do_not_share_the_places_of_their_gradients(made, recorded):
    def run(encoder):
        both = [loss_of(encode(encoder, seconds)) for seconds in (SHORT, LONG, SHORT)]
        torch.stack(both).sum().backward()

    assert are_as_near_when_recorded(made, run)


def test_a_pass_that_is_recomputed_gives_its_own_gradients(made, recorded):
    def run(encoder):
        anchor = torch.empty(0)
        features = [
            checkpoint(lambda _, s=seconds: encode(encoder, s), anchor, use_reentrant=False)
            for seconds in (SHORT, LONG)
        ]
        torch.stack([loss_of(one) for one in features]).sum().backward()

    assert are_as_near_when_recorded(made, run)


def test_what_is_computed_between_without_gradients_changes_none(made, recorded):
    upstream, ours, theirs = made
    kept = []

    def run(encoder):
        features = encode(encoder, SHORT)
        with torch.no_grad():
            kept.append((encode(encoder, LONG), encode(encoder, SHORT)))
        loss_of(features).backward()

    _, right = outcome(upstream, lambda: run(theirs))
    for _ in range(3):
        _, gradients = outcome(upstream, lambda: run(ours))
    assert are_near(gradients, right)
    for ours_then, plain in zip(kept[-1], kept[0], strict=True):
        assert torch.allclose(ours_then.float(), plain.float(), atol=2e-2)
    assert not any(one.requires_grad for one in kept[-1])


def test_what_was_returned_stays_as_it_was(made, recorded):
    _, ours, _ = made

    def features(seconds):
        with torch.autocast("cpu", torch.bfloat16):
            return ours(wavs(*seconds))[0]

    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            first = [features(SHORT) for _ in range(3)][-1]
            before, replays = first.detach().clone(), len(recorded.replays)
            assert not torch.equal(features(SHORT[::-1]), before)  # of the same shape
            assert len(recorded.replays) == replays + 1
            assert torch.equal(first, before)


def test_nothing_is_recorded_once_that_has_failed_or_memory_was_short(
    made, recorded, monkeypatch, caplog
):
    _, ours, _ = made

    def fail(*_):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(recorder.Recorder, "record", fail)
    for _ in range(3):
        loss_of(encode(ours, SHORT)).backward()
    assert caplog.messages == [
        "Layers are not recorded as CUDA graphs: CUDA error: operation not permitted when stream "
        "is capturing"
    ]
    assert not ours.graphs.recorded and ours.graphs.let_go() is False


def test_memory_is_given_back_when_it_is_asked_for(made, recorded):
    _, ours, _ = made
    for _ in range(2):
        loss_of(encode(ours, SHORT)).backward()
    assert ours.graphs.recorded
    assert [ours.graphs.let_go(), ours.graphs.let_go()] == [True, False]
    assert not ours.graphs.recorded
    loss_of(encode(ours, SHORT)).backward()
    assert recorded.recordings == 1


def test_in_evaluation_nothing_is_recorded(made, recorded):
    upstream, ours, _ = made
    upstream.eval()
    for _ in range(3):
        with torch.no_grad():
            encode(ours, SHORT)
    assert recorded.recordings == 0


def test_widened_layouts_have_few_sizes():
    sizes = set()
    for frames in range(300, 1500, 37):
        layout = graphs._widened(whole.Layout([frames, 90], device=torch.device("cpu")))
        assert layout.lengths[:2] == [frames, 90] and sum(layout.lengths) % 256 == 0
        assert 0 <= layout.lengths[2] < 256
        assert layout.longest >= max(layout.lengths) and layout.longest % 128 == 0
        sizes.add((sum(layout.lengths), layout.longest))
    assert len(sizes) <= 16
