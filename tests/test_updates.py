"""Equations (1)-(4), each reading of them, against gradients written out by hand in float64."""

import copy
import dataclasses
import itertools
import math

import pytest
import torch
from torch import nn
from toy_model import ETA, LAMBDA, Toy

from spknorm.errors import ConfigError
from spknorm.method.updates import Update, strength
from spknorm.schema import GroupConfig, GroupsConfig, MethodConfig, OptimizerConfig


def literal_by_hand(toy: Toy) -> None:
    """Equations (1)-(4) written out; changes the toy's weights in place."""
    groups = toy.groups
    first = [*groups.upstream, *groups.gate, *groups.emotion_head]
    gradients = torch.autograd.grad(toy.emotion_loss(), first)
    with torch.no_grad():
        for parameter, gradient in zip(first, gradients, strict=True):
            parameter -= ETA * gradient  # (1), (2)
    shared = toy.shared
    second = torch.autograd.grad(toy.raw_speaker_loss(), [*shared, *groups.speaker_head])
    with torch.no_grad():
        for parameter, gradient in zip(shared, second[: len(shared)], strict=True):
            parameter += LAMBDA * gradient  # (3)
        for parameter, gradient in zip(groups.speaker_head, second[len(shared) :], strict=True):
            parameter -= ETA * gradient  # (4)


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
def test_one_literal_iteration_equals_the_equations_written_out_by_hand(strategy):
    ours, hand = Toy(strategy), Toy(strategy)
    for _ in range(3):
        ours.step(ours.update(method={"update": "literal"}))
        literal_by_hand(hand)
    for mine, expected in zip(ours.values(), hand.values(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
def test_under_sgd_reversal_with_lambda_over_eta_differs_from_literal_in_second_order(strategy):
    differences = []
    for halving in range(5):
        eta, lambda_ = 0.1 / 2**halving, 0.04 / 2**halving
        optimizer = OptimizerConfig(torch_optim_name="SGD", lr=eta)
        literal, reversal = Toy(strategy), Toy(strategy)
        literal.step(
            literal.update(
                optimizer=optimizer, method={"update": "literal", "speaker_lambda": lambda_}
            )
        )
        reversal.step(
            reversal.update(
                optimizer=optimizer, method={"update": "reversal", "speaker_lambda": lambda_ / eta}
            )
        )
        pairs = zip(literal.values(), reversal.values(), strict=True)
        differences.append(math.sqrt(sum(float((a - b).square().sum()) for a, b in pairs)))
    ratios = [a / b for a, b in itertools.pairwise(differences)]
    assert all(3.6 < ratio < 4.4 for ratio in ratios), ratios


def test_under_adam_a_naive_ascent_takes_the_same_step_whatever_lambda_is():
    steps = []
    for lambda_ in (1.0, 1e-3):
        toy = Toy("TAP")
        before = toy.values()
        shared = toy.groups.upstream
        naive = torch.optim.Adam(shared, lr=1e-3, eps=1e-30)
        toy.speaker_loss(lambda_).backward()
        naive.step()
        steps.append([b - a for a, b in zip(before, toy.values(), strict=True)])
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


def test_the_adaptive_ascent_moves_by_its_own_learning_rate():
    toy = Toy("TAP")
    emotion_only = Toy("TAP")
    update = toy.update(method={"update": "adaptive", "ascent_lr": 1e-3})
    toy.step(update)
    emotion_only.step(
        emotion_only.update(method={"update": "adaptive", "ascent_lr": 1e-3}), strength=0.0
    )
    for mine, without in zip(toy.groups.upstream, emotion_only.groups.upstream, strict=True):
        moved = (mine - without).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=1e-3, atol=1e-9)


def test_the_adaptive_ascent_warns_at_a_rate_that_wrecks_an_upstream(caplog):
    Toy("TAP").update(method={"update": "adaptive", "ascent_lr": 1e-3})
    assert "an ascending Adam above" in caplog.text


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
@pytest.mark.parametrize("coefficient", [0.0, 0.3])
def test_the_speaker_loss_reaches_each_group_with_its_own_factor(strategy, coefficient):
    toy = Toy(strategy)
    groups = toy.groups
    everything = [p for group in groups for p in group]
    raw = torch.autograd.grad(toy.raw_speaker_loss(), everything, allow_unused=True)
    toy.speaker_loss(coefficient).backward()
    factors = {
        "upstream": -coefficient if strategy == "TAP" else None,
        "gate": -coefficient,
        "emotion_head": None,
        "speaker_head": 1.0,
    }
    names = [name for name, group in groups._asdict().items() for _ in group]
    for name, parameter, gradient in zip(names, everything, raw, strict=True):
        if factors[name] is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, factors[name] * gradient, rtol=0, atol=1e-14)


def test_snp_holds_no_graph_of_the_upstream_in_the_speaker_stage():
    toy = Toy("SNP")
    with torch.no_grad():
        features = [toy.upstream(x) for x in toy.speaker_x]
    loss = toy.heads.speaker(features, toy.speaker_y, coefficient=1.0).loss
    seen, queue = set(), [loss.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        queue += [child for child, _ in node.next_functions]
    reached = {id(node.variable) for node in seen if hasattr(node, "variable")}
    assert reached == {id(p) for p in [*toy.groups.gate, *toy.groups.speaker_head]}


@pytest.mark.parametrize("adversary", ["ascent", "confusion", "entropy"])
@pytest.mark.parametrize("strategy", ["SNP", "TAP"])
def test_every_adversary_trains_the_speaker_head_by_plain_cross_entropy(strategy, adversary):
    toy = Toy(strategy, adversary=adversary)
    loss = toy.speaker_loss(0.5)
    raw = toy.raw_speaker_loss()
    torch.testing.assert_close(loss, raw, rtol=0, atol=1e-14)
    expected = torch.autograd.grad(raw, toy.groups.speaker_head)
    loss.backward()
    for parameter, gradient in zip(toy.groups.speaker_head, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-14)


@pytest.mark.parametrize("adversary", ["ascent", "confusion", "entropy"])
def test_every_adversary_lowers_what_a_fixed_head_knows_of_the_speaker(adversary):
    toy = Toy("TAP", adversary=adversary)
    head = torch.optim.Adam(toy.groups.speaker_head, lr=0.05)
    for _ in range(60):
        head.zero_grad()
        toy.raw_speaker_loss().backward()
        head.step()
    before = toy.raw_speaker_loss().item()
    for _ in range(20):
        for parameter in toy.groups.upstream:
            parameter.grad = None
        toy.speaker_loss(0.5).backward()
        with torch.no_grad():
            for parameter in toy.groups.upstream:
                parameter -= 0.1 * parameter.grad
    assert toy.raw_speaker_loss().item() > 1.2 * before


def test_a_non_finite_gradient_leaves_the_weights_untouched():
    toy = Toy("TAP")
    before = toy.values()
    toy.emotion_x[0][0, 0] = float("nan")
    toy.speaker_x[0][0, 0] = float("nan")
    report = toy.step(toy.update(method={"update": "literal"}))
    assert not report.finite
    for old, new in zip(before, toy.values(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
@pytest.mark.parametrize("clip", ["joint", "stage", "group"])
@pytest.mark.parametrize("norm", [1e-2, 1.0, 5.0, 50.0, 100.0])
def test_the_literal_step_is_lambda_times_the_gradient_however_large_it_is(strategy, clip, norm):
    """Clipping bounds stage 1 and the speaker head; (3) has no bound."""
    toy, without = Toy(strategy), Toy(strategy)
    shared = toy.shared
    options = {"method": {"update": "literal"}, "clipping": 1e-2, "clip": clip}
    without.step(without.update(**options), strength=0.0)
    moved = without.shared
    without.heads.speaker_head = Toy(strategy).heads.speaker_head  # (3) and (4) share one pass
    raw = torch.autograd.grad(without.raw_speaker_loss(), moved)
    factor = norm / math.sqrt(sum(float(g.square().sum()) for g in raw))
    toy.update(**options).step(
        lambda: toy.emotion_loss().backward(),
        lambda c: (factor * toy.speaker_loss(c)).backward(),
        1.0,
    )
    for mine, start, gradient in zip(shared, moved, raw, strict=True):
        torch.testing.assert_close(mine - start, LAMBDA * factor * gradient, rtol=0, atol=1e-12)


def test_an_ascent_has_a_cap_of_its_own_on_request_and_says_so():
    for cap, clipped in ((1e-4, True), (1e3, False)):
        toy, without = Toy("TAP"), Toy("TAP")
        options = {"method": {"update": "literal", "ascent_clip": cap}}
        assert toy.step(toy.update(**options)).ascent.clipped is clipped
        without.step(without.update(**options), strength=0.0)
        pairs = zip(toy.groups.upstream, without.groups.upstream, strict=True)
        length = math.sqrt(sum(float((a - b).detach().square().sum()) for a, b in pairs))
        assert length == pytest.approx(1e-4, rel=1e-9) if clipped else length > 2e-4


@pytest.mark.parametrize("update", ["literal", "relative", "reversal"])
def test_by_stage_a_lambda_of_zero_is_strategy_none_step_by_step(update):
    """What `clip: auto` means: strategies are clipped alike, whatever their adversary."""
    with_head, none = Toy("TAP"), Toy("none")
    for mine, theirs in zip(
        [*with_head.groups.upstream, *with_head.groups.emotion_head],
        [*none.groups.upstream, *none.groups.emotion_head],
        strict=True,
    ):
        theirs.data.copy_(mine)
    none.emotion_x = with_head.emotion_x
    adversary = with_head.update(
        method={"update": update, "speaker_lambda": 0.0}, clipping=0.05, clip="stage"
    )
    alone = none.update(clipping=0.05, clip="joint")
    for _ in range(3):
        with_head.step(adversary)
        none.step(alone)
    for mine, theirs in zip(
        [*with_head.groups.upstream, *with_head.groups.emotion_head],
        [*none.groups.upstream, *none.groups.emotion_head],
        strict=True,
    ):
        assert torch.equal(mine, theirs)


def test_clipping_by_group_keeps_lambda_out_of_the_speaker_heads_norm():
    toy = Toy("TAP")
    with_groups = toy.update(method={"update": "reversal", "speaker_lambda": 50.0}, clipping=1e-2)
    before = toy.values()
    toy.step(with_groups)
    moved = [(a - b).norm() ** 2 for a, b in zip(before, toy.values(), strict=True)]
    names = [name for name, group in toy.groups._asdict().items() for _ in group]
    for group in ("upstream", "emotion_head", "speaker_head"):
        norm = math.sqrt(sum(m for m, n in zip(moved, names, strict=True) if n == group))
        assert norm == pytest.approx(ETA * 1e-2, rel=1e-4), group


@pytest.mark.parametrize("largest", [1e-2, 1e3])
def test_clipping_jointly_is_one_norm_over_all_groups_as_torch_takes_it(largest):
    ours, stock = Toy("none"), Toy("none")
    norms = ours.step(ours.update(clipping=largest, clip="joint")).norms
    stock.emotion_loss().backward()
    parameters = [p for group in stock.groups for p in group]
    total = nn.utils.clip_grad_norm_(parameters, largest)
    assert math.hypot(*norms.values()) == pytest.approx(float(total))
    for mine, parameter in zip(ours.values(), parameters, strict=True):
        expected = parameter.detach() - ETA * parameter.grad
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=0)


def test_each_group_has_its_own_learning_rate_and_weight_decay():
    groups = GroupsConfig(
        upstream=GroupConfig(lr=1e-5), speaker_head=GroupConfig(lr=1e-2, weight_decay=0.5)
    )
    optimizer = OptimizerConfig(torch_optim_name="AdamW", lr=1e-3, groups=groups)
    update = Toy("SNP").update(optimizer=optimizer, method={"update": "literal"})
    rates = {
        group["name"]: (group["lr"], group["weight_decay"])
        for name in ("emotion", "speaker")
        for group in update.optimizers[name].param_groups
    }
    assert rates == {
        "upstream": (1e-5, 0.0),
        "gate": (1e-3, 0.0),
        "emotion_head": (1e-3, 0.0),
        "speaker_head": (1e-2, 0.5),
    }


def test_tap_without_a_trainable_upstream_says_why_it_cannot():
    toy = Toy("TAP")
    groups = toy.groups._replace(upstream=[])
    with pytest.raises(ConfigError, match="nothing of it is trainable"):
        Update(groups, method=MethodConfig(strategy="TAP"), optimizer=OptimizerConfig())


def test_an_optimiser_that_refuses_an_option_is_named():
    optimizer = OptimizerConfig(torch_optim_name="Adam", momentum=0.9)
    with pytest.raises(ConfigError, match=r"`config.optimizer`: Adam refuses momentum"):
        Toy("TAP").update(optimizer=optimizer)


def test_optimiser_states_survive_a_round_trip():
    options = {"method": {"update": "adaptive", "ascent_lr": 1e-3}}
    one, other = Toy("TAP"), Toy("TAP")
    first = one.update(**options)
    one.step(first)
    for mine, theirs in zip((p for g in other.groups for p in g), one.values(), strict=True):
        mine.data.copy_(theirs)
    second = other.update(**options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    one.step(first)
    other.step(second)
    for a, b in zip(one.values(), other.values(), strict=True):
        assert torch.equal(a, b)


def test_extra_steps_of_the_speaker_head_move_nothing_else():
    toy = Toy("TAP")
    before = toy.values()
    toy.update().train_speaker_head(lambda c: toy.speaker_loss(c).backward())
    names = [name for name, group in toy.groups._asdict().items() for _ in group]
    changed = {
        name
        for name, old, new in zip(names, before, toy.values(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed == {"speaker_head"}


def test_schedules_grow_from_nothing_to_all_after_the_warm_up():
    method = MethodConfig(schedule="linear", ramp=0.5)
    assert [strength(method, step=s, total_steps=100) for s in (0, 25, 50, 99)] == [0, 0.5, 1, 1]
    dann = dataclasses.replace(method, schedule="dann")
    assert strength(dann, step=0, total_steps=100) == 0
    assert strength(dann, step=25, total_steps=100) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    warm = dataclasses.replace(method, schedule="constant", speaker_warmup_steps=10)
    assert [strength(warm, step=s, total_steps=100) for s in (9, 10)] == [0, 1]
