"""The weights of the upstream's layers: a group of their own, at the head's rate, out of (3)."""

import json

import pytest
import tiny_runs
import torch
from torch import nn
from toy_model import Toy

from spknorm.config import parse
from spknorm.errors import CheckpointError
from spknorm.method.updates import Groups, Update
from spknorm.schema import MethodConfig


def config_of(**groups):
    return parse({"optimizer": {"lr": 1e-4, "groups": {"upstream": {"lr": 1e-5}, **groups}}})


def rates(config):
    parameters = [[nn.Parameter(torch.ones(1))] for _ in range(5)]
    update = Update(
        Groups(*parameters),
        method=MethodConfig(strategy="none"),
        optimizer=config.optimizer,
    )
    return {group["name"]: group["lr"] for group in update.emotion.param_groups}


def test_they_go_at_the_emotion_heads_rate_unless_they_have_their_own():
    assert rates(config_of())["featurizer"] == 1e-4
    assert rates(config_of(emotion_head={"lr": 1e-3}))["featurizer"] == 1e-3
    own = config_of(emotion_head={"lr": 1e-3}, featurizer={"lr": 0.5})
    assert rates(own)["featurizer"] == 0.5
    assert list(rates(own)) == ["upstream", "featurizer", "gate", "emotion_head"]


@pytest.mark.parametrize("tuned", [True, False], ids=["tuned", "frozen"])
def test_after_1000_steps_toward_one_layer_they_are_where_s3prls_are(tuned):
    """s3prl has one Adam of rate 1e-4 over all that trains, the featurizer's weights included."""

    def loss(weights):
        return -weights.softmax(dim=-1)[1].log()

    theirs = nn.Parameter(torch.zeros(4))
    adam = torch.optim.Adam([theirs], lr=1e-4)
    ours = nn.Parameter(torch.zeros(4))
    upstream = [nn.Parameter(torch.ones(3))] if tuned else []
    update = Update(
        Groups(upstream, [], [nn.Parameter(torch.ones(2))], [], [ours]),
        method=MethodConfig(strategy="none"),
        optimizer=config_of().optimizer,
    )
    for _ in range(1000):
        adam.zero_grad()
        loss(theirs).backward()
        adam.step()
        update.step(lambda: loss(ours).backward(), lambda _: None, 1.0)
    assert torch.equal(ours, theirs)
    assert ours.softmax(dim=-1)[1].item() > 0.288  # at a tenth of the rate: 0.255


class Layered(Toy):
    """A toy whose features are a weighted sum of its upstream's two layers."""

    def __init__(self, strategy):
        super().__init__(strategy)
        self.weights = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))

    @property
    def groups(self):
        return super().groups._replace(featurizer=[self.weights])

    def features(self, batch):
        share = self.weights.softmax(dim=-1)
        first = [self.upstream[1](self.upstream[0](x)) for x in batch]
        return [share[0] * one + share[1] * self.upstream[2](one) for one in first]

    def emotion_loss(self):
        return self.heads.emotion(self.features(self.emotion_x), self.emotion_y).loss

    def speaker_loss(self, coefficient):
        features = self.features(self.speaker_x)
        return self.heads.speaker(features, self.speaker_y, coefficient=coefficient).loss

    def stepped(self, *, speaker=True, **method):
        """Return the layers' weights and the first of the upstream after one iteration."""
        options = {"ceiling": None, "ascent_lr": 1e-3, "speaker_lambda": 0.5, **method}
        update = self.update(method=options)
        update.step(
            lambda: self.emotion_loss().backward(),
            lambda c: self.speaker_loss(c if speaker else 0.0).backward(),
            1.0,
        )
        return self.weights.detach().clone(), self.upstream[0].weight.detach().clone()


@pytest.mark.parametrize("update", ["literal", "relative", "adaptive", "reversal"])
def test_the_ascent_does_not_move_them_unless_asked(update):
    weights, upstream = Layered("TAP").stepped(update=update)
    still, other = Layered("TAP").stepped(update=update, speaker=False)
    assert torch.equal(weights, still)
    assert not torch.equal(upstream, other)
    asked, _ = Layered("TAP").stepped(update=update, ascend_layer_weights=True)
    assert not torch.equal(asked, still)


@pytest.mark.parametrize("update", ["literal", "reversal"])
def test_a_run_that_sums_layers_goes_on_bit_for_bit(tiny_hubert, tiny_corpora, tmp_path, update):
    flags = {"upstream_feature_selection": "hidden_states"}

    def train(name, steps, **more):
        settings = tiny_runs.settings_of(
            tiny_corpora, strategy="TAP", update=update, total_steps=steps, eval_step=2, save_step=2
        )
        return tiny_runs.train(tiny_hubert, settings, tmp_path / name, **flags, **more)

    train("whole", 4)
    train("parts", 2)
    train("parts", 4, resume=True)
    whole, parts = (tiny_runs.weights_of(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    norms = [json.loads(line).get("grad_norm") for line in lines]
    assert all("featurizer" in norm for norm in norms if norm)


def test_a_checkpoint_from_before_they_had_a_group_says_so(tiny_hubert, tiny_corpora, tmp_path):
    settings = tiny_runs.settings_of(
        tiny_corpora, strategy="none", update="reversal", total_steps=2, eval_step=2, save_step=2
    )
    flags = {"upstream_feature_selection": "hidden_states"}
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run", **flags)
    path = tmp_path / "run" / "states-2.ckpt"
    state = torch.load(path, weights_only=True)
    first, second, *rest = state["Optimizer"]["emotion"]["param_groups"]
    first["params"] += second["params"]
    state["Optimizer"]["emotion"]["param_groups"] = [first, *rest]
    torch.save(state, path)
    settings["runner"]["total_steps"] = 4
    with pytest.raises(CheckpointError, match="they move upstream, emotion_head, but this exper"):
        tiny_runs.train(tiny_hubert, settings, tmp_path / "run", **flags, resume=True)
