from dataclasses import replace

import numpy as np
import planted
import pytest
import torch

from spknorm.controlled import finetuning, frozen, upstream
from spknorm.demo import population
from spknorm.method.model import Heads
from spknorm.probe.erasure import erase, fit_leace

TWO_POINTS = 0.02
LEARN = frozen.Settings(
    steps=400, weight_decay=0.01, dropout=0.0, emotion_batch=256, speaker_batch=256, gate_width=32
)


@pytest.fixture(scope="module")
def world():
    return planted.plant(num_speakers=100, per_speaker=96)


def accuracy(model, features, emotion):
    return np.mean(model.predict(features) == emotion)


def test_confounding_costs_what_bayes_says_it_costs(world):
    model = frozen.train(world.train, LEARN, strategy="none", seed=0)
    assert world.confounded < world.free - 0.08
    assert accuracy(model, world.test, world.emotion) == pytest.approx(
        world.confounded, abs=TWO_POINTS
    )


def test_erasing_the_planted_speaker_regains_what_bayes_says(world):
    eraser = fit_leace(world.train.neutral, world.train.speaker, rank=planted.NUM_EMOTIONS)
    train = world.train._replace(emotional=erase(world.train.emotional, eraser))
    model = frozen.train(train, LEARN, strategy="none", seed=0)
    assert accuracy(model, erase(world.test, eraser), world.emotion) == pytest.approx(
        world.free, abs=TWO_POINTS
    )


def test_the_gate_regains_what_bayes_says_and_its_adversary_ends_at_chance(world):
    settings = replace(LEARN, steps=600, speaker_lambda=2.0)
    model = frozen.train(world.train, settings, strategy="SNP", seed=0)
    assert accuracy(model, world.test, world.emotion) == pytest.approx(world.free, abs=TWO_POINTS)
    assert model.speaker_loss == pytest.approx(np.log(100), abs=0.3)


def test_without_confounding_nothing_is_lost():
    world = planted.plant(kappa=0.0, num_speakers=100, per_speaker=96)
    model = frozen.train(world.train, LEARN, strategy="none", seed=0)
    assert world.confounded == world.free
    assert accuracy(model, world.test, world.emotion) == pytest.approx(world.free, abs=TWO_POINTS)


def test_the_gate_alone_regains_nothing(world):
    settings = replace(LEARN, speaker_lambda=0.0)
    model = frozen.train(world.train, settings, strategy="SNP", seed=0)
    assert accuracy(model, world.test, world.emotion) == pytest.approx(
        world.confounded, abs=TWO_POINTS
    )


def test_bayes_accuracy_of_two_far_apart_worlds_is_certain():
    assert planted.bayes_accuracies(20.0, 0.0, num_draws=1000) == (1.0, 1.0)
    assert planted.bayes_accuracies(0.0, 0.0, num_draws=100_000)[1] == pytest.approx(0.25, abs=0.01)


def heads_of(strategy, dim=12):
    torch.manual_seed(0)
    return Heads(
        dim,
        num_emotions=4,
        num_speakers=5,
        strategy=strategy,
        projector_dim=8,
        select="NonLinearProjection",
        gate={"residual": False},
        speaker_head={"hidden": (7,), "batch_norm": True},
    )


@pytest.mark.parametrize("strategy", ["none", "SNP", "TAP"])
def test_emotion_logits_are_those_of_the_products_heads(strategy):
    heads, features = heads_of(strategy), torch.randn(6, 12)
    expected = heads.emotion_logits([row.unsqueeze(0) for row in features])
    assert torch.allclose(frozen.head_logits(heads, heads.gated(features)), expected, atol=1e-6)


@pytest.mark.parametrize("adversary", ["ascent", "confusion", "entropy"])
def test_the_speaker_loss_and_its_gradients_are_those_of_the_products_heads(adversary):
    labels, features = torch.tensor([0, 1, 2, 3, 4, 0]), torch.randn(6, 12)
    gradients = []
    for ours in (True, False):
        torch.manual_seed(0)
        heads = Heads(
            12,
            num_emotions=4,
            num_speakers=5,
            strategy="SNP",
            adversary=adversary,
            speaker_head={"hidden": (7,), "batch_norm": True},
            gate={"residual": False},
        )
        if ours:
            loss = frozen.predict_speaker(heads, features, labels, 0.3, adversary).loss
        else:
            frames = [row.unsqueeze(0) for row in features]
            loss = heads.speaker(frames, labels, coefficient=0.3).loss
        loss.backward()
        gradients.append(
            [loss.detach()] + [p.grad for p in heads.parameters() if p.grad is not None]
        )
    assert len(gradients[0]) == len(gradients[1]) > 8
    for mine, theirs in zip(*gradients, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_training_is_a_function_of_its_seed(world):
    settings = replace(LEARN, steps=5)
    first, second, other = (
        frozen.train(world.train, settings, strategy="SNP", seed=seed) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.represent(world.test), second.represent(world.test))
    assert not np.allclose(first.represent(world.test), other.represent(world.test))


def test_training_leaves_the_global_generator_alone(world):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    frozen.train(world.train, replace(LEARN, steps=2), strategy="SNP", seed=0)
    assert torch.equal(torch.rand(1), expected)


@pytest.fixture(scope="module")
def some_waves():
    return [population.speak_neutral(0, speaker, 0) for speaker in range(6)]


def frames_of(waves):
    frames = upstream.front_end(upstream.load_upstream(), waves)
    return frozen.Data(frames, np.arange(6) % 4, frames, np.arange(6) % 3)


def test_the_transformer_that_is_tuned_starts_as_the_frozen_upstream(some_waves):
    expected = upstream.pool_layers(upstream.load_upstream(), some_waves)
    frames = frames_of(some_waves).neutral
    assert np.abs(upstream.View(upstream.load_encoder()).of_all(frames) - expected).max() < 1e-5


QUICK = finetuning.FineTuning(
    steps=2, emotion_batch=4, speaker_batch=4, speaker_steps=2, speaker_pretrain_steps=2
)
FROZEN = frozen.Settings(steps=2, emotion_batch=4, speaker_batch=4)


@pytest.mark.parametrize("strategy", ["none", "TAP"])
def test_fine_tuning_moves_the_transformer_and_tap_hears_the_speakers(some_waves, strategy):
    data = frames_of(some_waves)
    start = finetuning.begin(data, FROZEN, seed=0)
    before = start.represent(data.neutral)
    model = finetuning.fine_tune(data, QUICK, start=start, strategy=strategy, seed=0)
    pretrained = dict(upstream.load_encoder().named_parameters())
    for name, weight in model.view.encoder.named_parameters():
        assert not torch.equal(weight, pretrained[name])
    assert model.predict(data.emotional).shape == (6,)
    assert (model.speaker_loss is None) == (strategy == "none")
    assert np.array_equal(start.represent(data.neutral), before)


def test_lambda_may_be_relative_to_the_loss_and_is_nothing_at_0(some_waves):
    data = frames_of(some_waves)
    start, seen = finetuning.begin(data, FROZEN, seed=0), {}
    for relative_to in ("loss", "step"):
        for strength in (0.0, 3.0):
            settings = replace(
                QUICK, relative_to=relative_to, ascent_direction="raw", speaker_lambda=strength
            )
            model = finetuning.fine_tune(
                data, settings, start=start, strategy="TAP", adversary="confusion", seed=0
            )
            seen[relative_to, strength] = model.represent(data.neutral)
    assert np.array_equal(seen["loss", 0.0], seen["step", 0.0])
    for relative_to in ("loss", "step"):
        assert np.abs(seen[relative_to, 3.0] - seen["loss", 0.0]).max() > 1e-3
    assert np.abs(seen["loss", 3.0] - seen["step", 3.0]).max() > 1e-3


def test_what_an_ascent_goes_by_is_of_the_last_two_passes():
    heads, features = heads_of("TAP"), torch.randn(6, 12)
    settings = frozen.Settings(emotion_batch=4, speaker_batch=4)
    data = frozen.Data(features, np.zeros(6, dtype=np.int64), features, np.arange(6) % 5)
    passes = frozen.PooledPasses(heads, data, settings, "confusion", torch.Generator())
    for layer in (list(heads.model.parameters()), list(heads.speaker_head.parameters())):
        for weight in layer[-2:]:
            torch.nn.init.zeros_(weight)  # guesses: a loss of log C, nothing above the least
    passes.emotion()
    passes.speaker(1.0)
    loss, excess = passes.falling()
    assert float(loss) == pytest.approx(np.log(4), abs=1e-5)
    assert float(excess) == pytest.approx(0.0, abs=1e-5)
    heads.speaker_head.layers[-1].bias.data[0] = 5.0
    passes.speaker(1.0)
    assert float(passes.falling()[1]) > 1.0


def test_fine_tuning_of_no_steps_is_the_frozen_model(some_waves):
    data = frames_of(some_waves)
    start = finetuning.begin(data, FROZEN, seed=0)
    settings = replace(QUICK, steps=0)
    model = finetuning.fine_tune(data, settings, start=start, strategy="none", seed=0)
    assert np.array_equal(model.represent(data.neutral), start.represent(data.neutral))
    assert np.array_equal(model.predict(data.emotional), start.predict(data.emotional))


def test_behind_an_eraser_the_speakers_of_its_corpus_have_one_mean_before_and_after(some_waves):
    data = frames_of(some_waves)
    settings = replace(QUICK, rank=2, refit_steps=1)
    start = finetuning.begin(data, FROZEN, rank=2, seed=0)
    model = finetuning.fine_tune(data, settings, start=start, strategy="none", seed=0)
    for one in (start, model):
        seen = one.represent(data.neutral)
        means = [seen[data.speaker == speaker].mean(0) for speaker in range(3)]
        assert np.abs(np.std(means, axis=0)).max() < 1e-4
    assert not np.array_equal(start.view.eraser.matrix, model.view.eraser.matrix)
