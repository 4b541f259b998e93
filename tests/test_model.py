import pytest
import torch
from s3prl.downstream import model as s3prl_heads

from spknorm.errors import ConfigError
from spknorm.method.gradients import reverse_gradient
from spknorm.method.model import BatchNorm, Gate, Heads


def make_heads(strategy="none", **options):
    options = {"num_emotions": 4, "num_speakers": 5, "projector_dim": 6, **options}
    return Heads(8, strategy=strategy, **options)


def test_the_reversed_gradient_is_the_gradient_times_minus_the_coefficient():
    features = torch.randn(3, 4, requires_grad=True)
    weights = torch.randn(3, 4)
    passed = reverse_gradient(features, 0.25)
    assert torch.equal(passed, features)
    (passed * weights).sum().backward()
    assert torch.equal(features.grad, -0.25 * weights)


def test_a_residual_gate_starts_as_the_identity_and_stays_trainable():
    gate = Gate(8, width=3, depth=2, activation="GELU", residual=True)
    features = torch.randn(2, 5, 8)
    assert torch.equal(gate(features), features)
    gate(features).square().sum().backward()
    assert gate.layers[-1].weight.grad.abs().sum() > 0


def test_a_gate_is_not_linear():
    gate = Gate(8)
    x, y = torch.randn(8), torch.randn(8)
    zero = gate(torch.zeros(8))
    assert not torch.allclose(gate(x + y) - zero, (gate(x) - zero) + (gate(y) - zero), atol=1e-4)


def test_without_an_adversary_the_heads_are_exactly_those_of_the_emotion_task():
    heads = make_heads()
    features = [torch.randn(n, 8) for n in (3, 6, 2)]
    lengths = torch.tensor([3, 6, 2])
    stock = s3prl_heads.UtteranceLevel(6, 4, pooling="MeanPooling")
    stock.load_state_dict(heads.model.state_dict())
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    expected, _ = stock(heads.projector(padded), lengths)
    assert torch.equal(heads.emotion_logits(features), expected)
    assert {name.split(".")[0] for name, _ in heads.named_parameters()} == {"projector", "model"}


@pytest.mark.parametrize(
    ("select", "options"),
    [
        ("UtteranceLevel", {"pooling": "MeanPooling"}),
        ("UtteranceLevel", {"pooling": "AttentivePooling"}),
        ("NonLinearProjection", {}),
    ],
)
def test_padding_does_not_change_what_a_head_says(select, options):
    heads = make_heads(select=select, select_options=options).eval()
    short, long = torch.randn(3, 8), torch.randn(9, 8)
    alone = heads.emotion_logits([short])
    together = heads.emotion_logits([short, long])[:1]
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)


def test_the_attentive_pooling_of_s3prl_does_look_at_padding():
    """Why MaskedAttentivePooling exists; if this fails, s3prl has mended it."""
    head = s3prl_heads.UtteranceLevel(8, 4, pooling="AttentivePooling")
    short, long = torch.randn(3, 8), torch.randn(9, 8)
    alone, _ = head(short[None], torch.tensor([3]))
    padded = torch.nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    together, _ = head(padded, torch.tensor([3, 9]))
    assert not torch.allclose(alone, together[:1], atol=1e-4)


@pytest.mark.parametrize(
    ("select", "options", "what"),
    [
        ("UtteranceLevel", {"pooling": "__import__('os')"}, "pooling"),
        ("UtteranceLevel", {"activation": "Bilinear"}, "activation"),
        ("UtteranceLevel", {"pre_net": {"select": "open('x','w')"}}, "pre_net"),
        ("UtteranceLevel",
         {"post_net": {"select": "FrameLevel", "FrameLevel": {"activation": "x"}}},
         "activation"),
        ("DeepModel", {"model_type": "exit()"}, "model_type"),
        ("NonLinearProjection", {"width": 3}, "dropout"),
    ],
)  # fmt: skip
def test_names_that_s3prl_would_evaluate_are_checked_first(select, options, what):
    with pytest.raises(ConfigError, match=what):
        make_heads(select=select, select_options=options)


def test_the_speaker_head_takes_utterances_of_any_length_with_and_without_batch_norm():
    for batch_norm in (False, True):
        heads = make_heads("TAP", speaker_head={"hidden": (), "batch_norm": batch_norm})
        features = [torch.randn(n, 8) for n in (1, 6, 2)]
        prediction = heads.speaker(features, torch.tensor([0, 1, 4]), coefficient=1.0)
        assert prediction.logits.shape == (3, 5)
        assert torch.isfinite(prediction.loss)


@pytest.mark.parametrize("adversary", ["ascent", "confusion", "entropy"])
def test_one_utterance_alone_is_normalised_by_the_running_statistics_and_leaves_them(adversary):
    heads = make_heads("TAP", adversary=adversary, speaker_head={"batch_norm": True})
    features, labels = [torch.randn(n, 8) for n in (1, 6, 2)], torch.tensor([0, 1, 4])
    for _ in range(3):
        heads.speaker(features, labels, coefficient=1.0)
    before = {name: value.clone() for name, value in heads.named_buffers()}
    alone = torch.randn(5, 8, requires_grad=True)
    prediction = heads.speaker([alone], labels[:1], coefficient=1.0)
    prediction.loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in heads.named_buffers())
    assert alone.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in heads.speaker_head.parameters())
    assert torch.allclose(heads.eval().speaker_logits([alone]), prediction.logits)


def test_batches_of_two_utterances_and_more_are_normalised_bit_for_bit_as_torch_does_it():
    ours, theirs = BatchNorm(8), torch.nn.BatchNorm1d(8)
    for size in (2, 3, 7):
        rows = torch.randn(size, 8)
        assert torch.equal(ours(rows), theirs(rows))
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name])


def test_snp_gates_both_heads():
    heads = make_heads("SNP")
    frames = torch.randn(4, 8)
    assert torch.equal(heads.gated(frames), heads.gate(frames))
    assert not torch.equal(heads.gated(frames), frames)
    plain = make_heads("TAP")
    assert plain.gated(frames) is frames
