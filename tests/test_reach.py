"""`ascent_reach`: the ascent never goes beyond a share of the way to a uniform guess."""

import math

import pytest
import torch
from torch.nn import functional
from toy_model import Toy

from spknorm.schema import OptimizerConfig

UNIFORM = {"confusion": math.log(4), "entropy": -math.log(4)}
"""The objectives' least, at a uniform guess of four speakers."""


def excess_of(toy, adversary):
    features = [toy.heads.gated(toy.upstream(x)).mean(dim=0) for x in toy.speaker_x]
    posterior = toy.heads.speaker_head.layers(torch.stack(features)).log_softmax(dim=-1)
    found = -posterior.mean() if adversary == "confusion" else (
        functional.softmax(posterior, -1) * posterior
    ).sum(-1).mean()  # fmt: skip
    return found - UNIFORM[adversary]


def climbed(adversary, *, strategy="TAP", reach=None, direction="raw", lambda_=100.0):
    """Return an iteration's ascent as a vector, its step, and the excess before and after."""
    toy = Toy(strategy, adversary=adversary, reach=reach is not None)
    method = {"update": "relative", "speaker_lambda": lambda_, "ascent_direction": direction}
    update = toy.update(
        method={**method, "adversary": adversary, "ascent_reach": reach},
        optimizer=OptimizerConfig(torch_optim_name="Adam", lr=1e-3),
    )
    shared, before = toy.shared, {}

    def speaker_pass(coefficient):
        found = excess_of(toy, adversary)
        gradient = torch.autograd.grad(found, shared)
        before.update(excess=float(found.detach()), slope=math.hypot(*map(torch.norm, gradient)))
        before["weights"] = [p.detach().clone() for p in shared]
        toy.speaker_loss(coefficient).backward()

    speaker = [p.detach().clone() for p in toy.groups.speaker_head]
    step = update.step(lambda: toy.emotion_loss().backward(), speaker_pass, 1.0)
    with torch.no_grad():
        for parameter, value in zip(toy.groups.speaker_head, speaker, strict=True):
            parameter.copy_(value)  # (4) has moved the judge
    after = float(excess_of(toy, adversary).detach())
    moves = [p.detach() - old for p, old in zip(shared, before["weights"], strict=True)]
    return torch.cat([move.flatten() for move in moves]), step, before, after


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
@pytest.mark.parametrize("adversary", UNIFORM)
def test_it_takes_that_share_of_the_excess_over_a_uniform_guess_to_first_order(strategy, adversary):
    for reach in (1e-3, 1e-5):
        move, step, before, after = climbed(adversary, strategy=strategy, reach=reach)
        assert float(move.norm()) == pytest.approx(
            reach * before["excess"] / before["slope"], rel=1e-9
        )
        assert 1 - after / before["excess"] == pytest.approx(reach, rel=20 * reach)
        assert step.ascent.clipped


@pytest.mark.parametrize("adversary", UNIFORM)
def test_along_a_preconditioned_gradient_it_takes_no_more_than_that(adversary):
    move, step, before, after = climbed(adversary, reach=1e-3, direction="preconditioned")
    assert float(move.norm()) == pytest.approx(1e-3 * before["excess"] / before["slope"], rel=1e-9)
    assert 0 < 1 - after / before["excess"] < 1e-3
    assert step.ascent.clipped


@pytest.mark.parametrize("direction", ["raw", "preconditioned"])
@pytest.mark.parametrize("adversary", UNIFORM)
def test_an_ascent_that_stays_within_its_reach_is_as_it_would_be_without(adversary, direction):
    free, bound = (
        climbed(adversary, reach=reach, direction=direction, lambda_=0.3) for reach in (None, 1e3)
    )
    torch.testing.assert_close(bound[0], free[0], rtol=1e-9, atol=1e-15)
    assert not bound[1].ascent.clipped
