"""`update: relative`: the ascent is lambda times as long as the step that (1) has just taken."""

import itertools
import math

import pytest
import torch
from held_memory import HeldMemory
from toy_model import Toy

from spknorm.method.optim.optimizers import precondition
from spknorm.method.updates import Groups, Update
from spknorm.schema import GroupConfig, GroupsConfig, MethodConfig, OptimizerConfig

DIRECTIONS = ["raw", "preconditioned"]
OPTIMIZERS = ["SGD", "Adam", "AdamW", "NAdam", "Adamax", "RMSprop"]


def relative(lambda_=0.3, direction="raw", **more):
    method = {"update": "relative", "speaker_lambda": lambda_, "ascent_direction": direction}
    return {"method": {**method, **more}}


def optimizer(name, lr=1e-3, **more):
    return OptimizerConfig(torch_optim_name=name, lr=lr, **more)


def steps_of(toy, update, *, emotion_factor=1.0, speaker_factor=1.0, strength=1.0):
    """Do an iteration; return the shared part's steps by (1) and by (3), each as one vector."""
    shared, between = toy.shared, []

    def vector():
        return torch.cat([p.detach().flatten() for p in shared])

    def speaker_pass(coefficient):
        between.append(vector())
        (speaker_factor * toy.speaker_loss(coefficient)).backward()

    before = vector()
    done = update.step(
        lambda: (emotion_factor * toy.emotion_loss()).backward(),
        speaker_pass,
        strength,
        measure=True,
    )
    return between[0] - before, vector() - between[0], done


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_the_ascent_is_lambda_times_as_long_as_the_emotion_step(
    strategy, direction, name, strength
):
    toy = Toy(strategy)
    update = toy.update(**relative(0.3, direction), optimizer=optimizer(name, weight_decay=0.1))
    for _ in range(4):
        taken, climbed, done = steps_of(toy, update, strength=strength)
        assert float(climbed.norm()) == pytest.approx(
            strength * 0.3 * float(taken.norm()), rel=1e-9
        )
        assert done.ascent.share == pytest.approx(strength * 0.3, rel=1e-9)
        cosine = float(climbed @ taken / climbed.norm() / taken.norm())
        assert done.ascent.angle == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-6)


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_under_sgd_it_climbs_the_speaker_loss_along_its_gradient(strategy, direction):
    toy = Toy(strategy)
    gradients = []
    shared = toy.shared
    update = toy.update(**relative(0.3, direction))

    def speaker_pass(coefficient):
        gradients.extend(torch.autograd.grad(toy.raw_speaker_loss(), shared))
        gradients.append(torch.cat([p.detach().flatten() for p in shared]))
        toy.speaker_loss(coefficient).backward()

    update.step(lambda: toy.emotion_loss().backward(), speaker_pass, 1.0)
    start, raw = gradients.pop(), torch.cat([g.flatten() for g in gradients])
    climbed = torch.cat([p.detach().flatten() for p in shared]) - start
    torch.testing.assert_close(climbed / climbed.norm(), raw / raw.norm(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
def test_with_gradients_of_one_norm_and_sgd_it_is_the_reversal_to_first_order(strategy):
    """lambda = c: halving eta divides the difference by four."""
    differences = []
    for halving in range(5):
        eta = 0.1 / 2**halving
        ends = []
        for update_name in ("relative", "reversal"):
            toy = Toy(strategy)
            shared = toy.shared
            norms = [
                math.sqrt(sum(float(g.square().sum()) for g in torch.autograd.grad(loss, shared)))
                for loss in (toy.emotion_loss(), toy.raw_speaker_loss())
            ]
            update = toy.update(
                method={"update": update_name, "speaker_lambda": 0.4},
                optimizer=OptimizerConfig(torch_optim_name="SGD", lr=eta),
            )
            steps_of(toy, update, speaker_factor=norms[0] / norms[1])
            ends.append(torch.cat([p.detach().flatten() for p in shared]))
        differences.append(float((ends[0] - ends[1]).norm()))
    ratios = [a / b for a, b in itertools.pairwise(differences)]
    assert all(3.6 < ratio < 4.4 for ratio in ratios), ratios


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_factor_on_the_speaker_loss_changes_no_ascent(direction, name):
    ends = []
    for factor in (1.0, 1e-3, 1e3):
        toy = Toy("TAP")
        update = toy.update(**relative(0.3, direction), optimizer=optimizer(name))
        ends.append(steps_of(toy, update, speaker_factor=factor)[1])
    for other in ends[1:]:
        torch.testing.assert_close(other, ends[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_a_factor_on_the_emotion_loss_leaves_the_ascent_in_proportion_to_its_step(direction, name):
    """Under SGD the step of (1) grows with the loss and so does the ascent; under Adam neither."""
    for factor in (1.0, 100.0):
        toy = Toy("TAP")
        update = toy.update(
            **relative(0.3, direction), optimizer=optimizer(name, lr=1e-6, eps=None)
        )
        taken, climbed, _ = steps_of(toy, update, emotion_factor=factor)
        unit = climbed / climbed.norm()
        if factor == 1.0:
            first = unit
        assert float(climbed.norm() / taken.norm()) == pytest.approx(0.3, rel=1e-6)
    torch.testing.assert_close(unit, first, rtol=0, atol=1e-3)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_learning_rate_scales_the_ascent_as_it_scales_the_emotion_step(direction, name):
    found = []
    for rate in (1e-6, 1e-8):
        toy = Toy("TAP")
        taken, climbed, _ = steps_of(
            toy, toy.update(**relative(0.3, direction), optimizer=optimizer(name, lr=rate))
        )
        found.append((taken, climbed))
    (taken, climbed), (shorter, lower) = found
    torch.testing.assert_close(100 * shorter, taken, rtol=1e-4, atol=1e-12)
    torch.testing.assert_close(100 * lower, climbed, rtol=1e-3, atol=1e-12)


class Linear:
    """l(w) = (a w / s) b: scaled weights w = s u in a function of u; both corpora see the same."""

    def __init__(self, scale):
        generator = torch.Generator().manual_seed(0)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.scale = scale
        self.weight = torch.nn.Parameter(scale * draw(6, 5))
        self.emotion, self.speaker = draw(4, 6), draw(4, 6)
        self.emotion_head = torch.nn.Parameter(draw(5, 3))
        self.speaker_head = torch.nn.Parameter(draw(5, 4))

    def run(self, update):
        def loss(features, head):
            logits = features @ (self.weight / self.scale) @ head
            return torch.nn.functional.cross_entropy(logits, torch.arange(4) % head.shape[1])

        def speaker_pass(coefficient):
            gradient = loss(self.speaker, self.speaker_head)
            gradient.backward()
            self.weight.grad.mul_(-coefficient)

        update.step(lambda: loss(self.emotion, self.emotion_head).backward(), speaker_pass, 1.0)
        return self.weight.detach() / self.scale


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("scale", [1e-2, 1e2])
def test_scaled_weights_of_a_linear_upstream_end_at_the_scaled_place(direction, scale):
    """Adam's step does not know the weights' scale s, so its rate is given as s times as large."""
    ends = []
    for factor in (1.0, scale):
        toy = Linear(factor)
        update = Update(
            Groups([toy.weight], [], [toy.emotion_head], [toy.speaker_head]),
            method=MethodConfig(strategy="TAP", **relative(0.3, direction)["method"]),
            optimizer=OptimizerConfig(
                torch_optim_name="Adam",
                lr=1e-3,
                eps=1e-30,
                groups=GroupsConfig(upstream=GroupConfig(lr=1e-3 * factor)),
            ),
        )
        for _ in range(3):
            end = toy.run(update)
        ends.append(end)
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("still", ["emotion", "speaker"])
def test_without_an_emotion_step_or_a_speaker_gradient_nothing_climbs(direction, name, still):
    toy = Toy("TAP")
    factors = {f"{still}_factor": 0.0}
    update = toy.update(**relative(0.3, direction), optimizer=optimizer(name))
    _, climbed, done = steps_of(toy, update, **factors)
    assert done.finite
    assert done.ascent.lost
    assert not climbed.any()
    assert all(torch.isfinite(value).all() for value in toy.values())


def test_weight_decay_counts_as_a_part_of_the_emotion_step():
    """A gradient of zero and a decay of 0.1: the step of (1) is the decay's."""
    toy = Toy("TAP")
    update = toy.update(**relative(), optimizer=optimizer("AdamW", lr=1e-2, weight_decay=0.1))
    before = torch.cat([p.detach().flatten() for p in toy.groups.upstream])
    taken, climbed, _ = steps_of(toy, update, emotion_factor=0.0)
    torch.testing.assert_close(taken, -1e-3 * before, rtol=1e-9, atol=0)
    assert float(climbed.norm()) == pytest.approx(0.3 * float(taken.norm()), rel=1e-9)


def test_the_preconditioner_reads_the_state_of_stage_1_and_changes_nothing_in_it():
    ends = []
    for direction in DIRECTIONS:
        toy = Toy("TAP")
        update = toy.update(**relative(0.3, direction), optimizer=optimizer("Adam"))
        steps_of(toy, update)
        ends.append((toy, update))
    states = [
        update.emotion.state[parameter]
        for toy, update in ends
        for parameter in (toy.groups.upstream[0],)
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
    assert not torch.equal(ends[0][0].groups.upstream[0], ends[1][0].groups.upstream[0])


def test_a_weight_that_the_emotion_loss_never_needed_weighs_a_hundredfold_at_most():
    used, unused = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    adam = torch.optim.Adam([used, unused], lr=1e-3)
    used.grad, unused.grad = torch.full((4,), 0.5), torch.zeros(4)
    adam.step()
    used.grad, unused.grad = torch.ones(4), torch.ones(4)
    precondition([used, unused], adam)
    assert torch.allclose(unused.grad, torch.full((4,), 100.0))
    assert torch.allclose(used.grad, torch.full((4,), 1 / (math.sqrt(2) + 0.01)))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("measure", [False, True])
def test_beside_weights_an_iteration_holds_gradients_and_one_copy_and_no_more(direction, measure):
    """What a billion weights leave room for: HuBERT X-Large under Adafactor in 22 GB."""
    upstream = torch.nn.Sequential(*(torch.nn.Linear(32, 32, bias=False) for _ in range(40)))
    speaker_head, emotion_head = torch.nn.Linear(32, 3), torch.nn.Linear(32, 3)
    update = Update(
        Groups(
            upstream=list(upstream.parameters()),
            gate=[],
            emotion_head=list(emotion_head.parameters()),
            speaker_head=list(speaker_head.parameters()),
        ),
        method=MethodConfig(strategy="TAP", **relative(1.0, direction)["method"]),
        optimizer=optimizer("Adafactor"),
    )
    weights = sum(p.numel() * p.element_size() for p in upstream.parameters())
    x = torch.randn(2, 32)

    def step():
        return update.step(
            lambda: emotion_head(upstream(x)).sum().backward(),
            lambda coefficient: (-coefficient * speaker_head(upstream(x)).sum()).backward(),
            1.0,
            measure=measure,
        )

    step()
    with HeldMemory() as held:
        done = step()
    assert (done.ascent.share is not None) == measure
    assert 2.0 * weights < held.peak < 2.5 * weights
