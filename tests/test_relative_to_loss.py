"""`relative_to: loss`: of the adversary's excess a step takes what (1) took of the emotion loss."""

import functools
import math

import pytest
import torch
from torch.nn import functional
from toy_model import Toy

from spknorm.method.optim.ascent import Ascent, leaves_behind
from spknorm.schema import MethodConfig, OptimizerConfig

UNIFORM = {"confusion": math.log(4), "entropy": -math.log(4)}
"""The objectives' least, at a uniform guess of four speakers."""
ADAM = OptimizerConfig(torch_optim_name="Adam", lr=1e-3)


def excess_of(toy, adversary):
    features = [toy.heads.gated(toy.upstream(x)).mean(dim=0) for x in toy.speaker_x]
    posterior = toy.heads.speaker_head.layers(torch.stack(features)).log_softmax(dim=-1)
    found = -posterior.mean() if adversary == "confusion" else (
        functional.softmax(posterior, -1) * posterior
    ).sum(-1).mean()  # fmt: skip
    return found - UNIFORM[adversary]


def losses_of(toy):
    return toy.emotion_loss().detach(), excess_of(toy, "confusion").detach()


def climbed(
    lambda_, *, strategy="TAP", adversary="confusion", direction="raw", optimizer=ADAM, factor=1.0,
    strength=1.0, **options,
):  # fmt: skip
    """Return what (1) took of log l_er to first order, what (3) took of the log excess, the step.

    Args:
        factor: Of the emotion loss.
    """
    toy = Toy(strategy, adversary=adversary)
    method = {"update": "relative", "relative_to": "loss", "speaker_lambda": lambda_}
    method |= {"ascent_direction": direction, "adversary": adversary}
    update = toy.update(method=method, optimizer=optimizer, **options)
    shared, found = toy.shared, {}
    start = [p.detach().clone() for p in shared]
    speaker = [p.detach().clone() for p in toy.groups.speaker_head]

    def emotion_pass():
        found["loss"] = factor * toy.emotion_loss()
        found["gradient"] = torch.autograd.grad(found["loss"], shared, retain_graph=True)
        found["loss"].backward()

    def speaker_pass(coefficient):
        moves = [p.detach() - old for p, old in zip(shared, start, strict=True)]
        products = zip(found["gradient"], moves, strict=True)
        found["taken"] = -sum(float((a * move).sum()) for a, move in products)
        found["taken"] /= float(found["loss"].detach())
        found["excess"] = excess_of(toy, adversary).detach()
        toy.speaker_loss(coefficient).backward()

    losses = lambda: (found["loss"].detach(), found["excess"])  # noqa: E731
    step = update.step(emotion_pass, speaker_pass, strength, losses=losses)
    with torch.no_grad():
        for parameter, value in zip(toy.groups.speaker_head, speaker, strict=True):
            parameter.copy_(value)  # (4) has moved the judge
    left = float(excess_of(toy, adversary).detach() / found["excess"])
    return found["taken"], -math.log(left), step


@pytest.mark.parametrize("direction", ["raw", "preconditioned"])
@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
@pytest.mark.parametrize("adversary", UNIFORM)
def test_the_logarithms_fall_in_the_ratio_lambda_to_first_order(strategy, adversary, direction):
    asked = {"strategy": strategy, "adversary": adversary, "direction": direction}
    for lambda_ in (1e-3, 1e-5):
        taken, fell, step = climbed(lambda_, **asked)
        assert taken > 1e-4
        assert fell == pytest.approx(lambda_ * taken, rel=3 * lambda_)
        assert not step.ascent.lost
        _, halved, _ = climbed(lambda_, **asked, strength=0.5)
        assert halved == pytest.approx(fell / 2, rel=3 * lambda_)


@pytest.mark.parametrize("direction", ["raw", "preconditioned"])
def test_no_lambda_asks_for_more_than_all_of_it(direction):
    steps = []
    for lambda_ in (1e6, 1e8):
        toy = Toy("TAP", adversary="confusion")
        method = {"update": "relative", "relative_to": "loss", "speaker_lambda": lambda_}
        method |= {"ascent_direction": direction, "adversary": "confusion"}
        update = toy.update(method=method, optimizer=ADAM)
        toy.step(update, losses=functools.partial(losses_of, toy))
        steps.append(torch.cat([p.detach().flatten() for p in toy.groups.upstream]))
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("clipping", [1e-3, math.inf])
@pytest.mark.parametrize("clip", ["group", "stage", "joint"])
def test_clipping_the_emotion_gradient_changes_the_step_alone(clipping, clip):
    taken, fell, _ = climbed(1e-4, clipping=clipping, clip=clip)
    assert fell == pytest.approx(1e-4 * taken, rel=1e-3)


def test_a_factor_on_either_loss_changes_nothing_under_adam():
    taken, fell, _ = climbed(1e-4)
    scaled, same, _ = climbed(1e-4, factor=100.0)
    assert scaled == pytest.approx(taken, rel=1e-3)  # but for Adam's epsilon
    assert same == pytest.approx(fell, rel=1e-3)


def test_a_learning_rate_ten_times_as_high_takes_ten_times_as_much():
    low, high = (
        climbed(1e-4, optimizer=OptimizerConfig(torch_optim_name="Adam", lr=lr))[1]
        for lr in (1e-6, 1e-5)
    )
    assert high == pytest.approx(10 * low, rel=1e-3)


def test_a_step_that_took_nothing_of_the_loss_is_answered_by_none():
    toy = Toy("TAP", adversary="confusion")
    method = {"update": "relative", "relative_to": "loss", "adversary": "confusion"}
    update = toy.update(method=method, optimizer=ADAM)
    losses = functools.partial(losses_of, toy)
    toy.step(update, losses=losses)
    uphill = update.step(  # against Adam's momentum
        lambda: (-0.1 * toy.emotion_loss()).backward(),
        lambda c: toy.speaker_loss(c).backward(),
        1.0,
        losses=losses,
        measure=True,
    )
    assert uphill.finite
    assert uphill.ascent.lost
    assert uphill.ascent.share == 0.0


@pytest.mark.parametrize("lambda_", [0.0, 0.3, 30.0])
def test_an_ascent_tells_what_share_it_took(lambda_):
    taken, _, step = climbed(lambda_)
    assert step.ascent.taken == pytest.approx(1 - math.exp(-lambda_ * taken), rel=1e-4)


@pytest.mark.parametrize(("taken", "behind"), [(0.0, False), (0.049, False), (0.051, True)])
def test_an_ascent_that_took_more_than_so_much_leaves_the_speaker_head_behind(taken, behind):
    assert leaves_behind(MethodConfig(speaker_catch_up=0.05), Ascent(taken=taken)) == behind
    assert not leaves_behind(MethodConfig(speaker_catch_up=None), Ascent(taken=taken))


@pytest.mark.parametrize("adversary", UNIFORM)
def test_the_heads_know_the_excess_of_their_adversary(adversary):
    toy = Toy("TAP", adversary=adversary)
    logits = toy.heads.speaker_logits([toy.upstream(x) for x in toy.speaker_x])
    torch.testing.assert_close(toy.heads.excess_of(logits), excess_of(toy, adversary))
    assert float(toy.heads.excess_of(torch.full((3, 4), 7.0))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "by_loss", "preconditions"),
    [
        ({"adversary": "confusion"}, True, False),
        ({"adversary": "entropy"}, True, False),
        ({"adversary": "ascent"}, False, True),  # which has no least value to take a share of
        ({"adversary": "confusion", "relative_to": "step"}, False, True),
        ({"adversary": "confusion", "strategy": "SNP"}, False, True),
        ({"adversary": "confusion", "strategy": "SNP", "relative_to": "loss"}, True, False),
        ({"adversary": "ascent", "ascent_direction": "raw"}, False, False),
        ({"adversary": "confusion", "ascent_direction": "preconditioned"}, True, True),
        ({"adversary": "confusion", "update": "literal"}, False, False),
    ],
)
def test_tap_goes_by_the_loss_where_the_adversary_has_an_end(asked, by_loss, preconditions):
    method = MethodConfig(**{"update": "relative", **asked})
    assert (method.goes_by_loss, method.preconditions) == (by_loss, preconditions)
