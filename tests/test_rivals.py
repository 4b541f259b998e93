"""Each rival on planted Gaussians, against what theory says of it; its control; its arithmetic."""

from dataclasses import replace

import numpy as np
import planted
import planted_theory
import pytest
import torch

from spknorm.controlled import frozen
from spknorm.controlled.fitted import of_model
from spknorm.controlled.rivals import RIVALS, training
from spknorm.controlled.rivals.adversaries import Branches
from spknorm.controlled.rivals.alignment import Alignment, contrast, coral, mmd
from spknorm.controlled.rivals.embedding import Embedder
from spknorm.controlled.rivals.prior import aligned
from spknorm.errors import DataError

TWO_POINTS = 0.02
NUM_SPEAKERS, PER_SPEAKER = 100, 96
LEARN = frozen.Settings(
    steps=400, weight_decay=0.01, dropout=0.0, emotion_batch=256, speaker_batch=256, gate_width=32
)


@pytest.fixture(scope="module")
def world():
    return planted.plant(num_speakers=NUM_SPEAKERS, per_speaker=PER_SPEAKER)


@pytest.fixture(scope="module")
def who():
    return np.repeat(np.arange(NUM_SPEAKERS), PER_SPEAKER)


def accuracy(model, world, who):
    return np.mean(model.predict(world.test, who) == world.emotion)


def test_every_rival_has_a_theory_and_settings():
    assert set(planted_theory.THEORY) == set(planted_theory.SETTINGS) == set(RIVALS)


@pytest.mark.slow
@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_ends_where_its_own_theory_says_and_its_control_does_nothing(name):
    """On a draw of the world that chose nothing; more draws: benchmarks/planted_rivals.py."""
    trial = planted_theory.attempt(name, planted_theory.FRESH[0])
    assert trial.measured == pytest.approx(trial.theory, abs=TWO_POINTS)
    assert abs(trial.control) < TWO_POINTS


def permuted(known):
    rng = np.random.default_rng(0)
    return known._replace(who=rng.permutation(known.who), speaker=rng.permutation(known.speaker))


@pytest.mark.parametrize("name", ["leace", "inlp"])
def test_of_permuted_speakers_an_erasure_takes_nothing(world, who, name):
    known, short = permuted(world.train), replace(LEARN, steps=20)
    model = RIVALS[name].fit(known, short, 4, 3)
    alone = of_model(frozen.train(known, short, seed=3))
    assert np.array_equal(model.predict(world.test, who), alone.predict(world.test, who))
    assert model.num_parameters == alone.num_parameters
    true = RIVALS[name].fit(world.train, short, 6, 3)
    erased = (true.num_parameters - alone.num_parameters) / (2 * planted.NUM_EMOTIONS)
    assert erased == {"leace": 2, "inlp": 1}[name] * planted.NUM_EMOTIONS  # and not six


def test_orthogonality_to_a_branch_that_knows_nobody_weighs_nothing(world):
    weights = []
    for known in (world.train, permuted(world.train)):
        torch.manual_seed(0)
        rule, generator = Branches(known, LEARN), torch.Generator().manual_seed(0)
        heads = frozen.make_heads(known, LEARN, "SNP")
        optimizer = torch.optim.Adam(rule.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            terms = rule(heads, None, generator)
            terms.own.backward()
            optimizer.step()
        weights.append((rule.known(generator), float(terms.penalty.detach())))
    assert weights[0][0] > 0.5 and weights[0][1] > 0.01
    assert weights[1] == (0.0, 0.0)


TINY = frozen.Settings(steps=4, emotion_batch=8, speaker_batch=8, gate_width=8, speaker_hidden=8)
REFUSED = {
    ("one speaker", "leace"): "Erasure needs at least two classes.",
    ("one speaker", "kernel"): "Erasure needs at least two classes.",
    **{
        (case, name): "A speaker embedding needs two speakers at least, and more utterances than "
        f"speakers, but the speaker corpus has {told}."
        for case, told in (("one speaker", "48 of 1"), ("one utterance", "48 of 48"))
        for name in ("appended", "film")
    },
}


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("case", ["one speaker", "one utterance", "one emotion", "uneven"])
def test_speakers_of_any_number_utterances_and_emotions_work_or_are_one_line(case, name):
    speaker = {
        "one speaker": np.zeros(48, np.int64),
        "one utterance": np.arange(48),
        "one emotion": np.repeat(np.arange(6), 8),
        "uneven": np.r_[np.zeros(40, np.int64), np.arange(1, 9)],
    }[case]
    rows = np.random.default_rng(0).normal(size=(2, 48, 12)).astype(np.float32)
    emotion = (speaker if case == "one emotion" else np.arange(48)) % 4
    known = frozen.Data(rows[0], emotion, rows[1], speaker, speaker)
    strength = RIVALS[name].strengths[-1]
    if (case, name) in REFUSED:
        with pytest.raises(DataError) as caught:
            RIVALS[name].fit(known, TINY, strength, 0)
        assert str(caught.value) == REFUSED[case, name]
        return
    model = RIVALS[name].fit(known, TINY, strength, 0)
    for some in (slice(None), slice(1)):
        assert np.isfinite(model.represent(rows[0][some], speaker[some])).all()
        assert set(model.predict(rows[0][some], speaker[some])) <= set(range(4))


def test_theory_orders_what_is_known_of_the_speaker(world, who):
    free, confounded, told = (
        rule(world, who)
        for rule in (planted_theory.free, planted_theory.confounded, planted_theory.told)
    )
    assert free == pytest.approx(world.free, abs=TWO_POINTS)
    assert confounded == pytest.approx(world.confounded, abs=TWO_POINTS)
    assert told == pytest.approx(confounded, abs=0.01)


def test_without_confounding_every_theory_is_the_free_rule():
    world = planted.plant(kappa=0.0, num_speakers=20, per_speaker=200)
    who = np.repeat(np.arange(20), 200)
    free = planted_theory.free(world, who)
    for name in ("group_dro", "appended", "adapted", "centred", "whitened"):
        assert planted_theory.THEORY[name](world, who) == pytest.approx(free, abs=0.015), name


def test_a_speakers_embedding_holds_no_axis_that_tells_nobody_apart(world):
    embedder = Embedder(world.train)
    assert embedder(world.train.emotional, world.train.who).shape[1] == planted.NUM_EMOTIONS


@pytest.mark.parametrize("distance", [mmd, coral])
def test_a_distance_cannot_be_had_for_less_by_shrinking_a_dimension(world, distance):
    """Else the gate shrinks the speaker's dimensions, and the head behind it swells them again."""
    settings = replace(LEARN, speaker_batch=64)
    rule = Alignment(world.train, settings, distance)
    found = []
    for scale in (1.0, 1e-2):
        heads = frozen.make_heads(world.train, settings, "none")
        shrink = torch.ones(2 * planted.NUM_EMOTIONS)
        shrink[:2] = scale
        heads.gated = lambda rows, shrink=shrink: rows * shrink
        found.append(float(rule(heads, None, torch.Generator().manual_seed(0)).penalty))
    assert found[0] > 0.01
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_distances_of_pairs_at_once_are_those_of_each_by_hand():
    one, other = torch.randn(2, 3, 12, 5, generator=torch.Generator().manual_seed(0)).double()
    for place in range(3):
        x, y = one[place], other[place]
        means = (x.mean(0) - y.mean(0)).square().mean()
        covariances = [torch.cov(rows.T, correction=0) for rows in (x, y)]
        moments = means + (covariances[0] - covariances[1]).square().mean()
        assert float(coral(one, other)[place]) == pytest.approx(float(moments))
        both = torch.cat([x, y])
        squares = (both[:, None] - both).square().sum(-1)
        kernel = sum(torch.exp(-squares / (w * squares.mean())) for w in (0.25, 0.5, 1, 2, 4)) / 5
        off = ~torch.eye(12, dtype=torch.bool)
        inner = kernel[:12, :12][off].mean() + kernel[12:, 12:][off].mean()
        assert float(mmd(one, other)[place]) == pytest.approx(
            float(inner - 2 * kernel[:12, 12:].mean())
        )


def test_the_distance_of_alike_speakers_is_nothing_on_average():
    rows = torch.randn(2000, 12, 4, generator=torch.Generator().manual_seed(0))
    found = [float(mmd(one, other)) for one, other in rows.reshape(-1, 2, 12, 4)]
    assert abs(np.mean(found)) < 3 * np.std(found) / len(found) ** 0.5


@pytest.mark.parametrize("name", ["matched", "centred", "adapted", "appended"])
def test_what_is_said_of_a_speaker_does_not_depend_on_other_speakers(world, who, name):
    model = RIVALS[name].fit(world.train, replace(LEARN, steps=20), 1.0, 0)
    some = who < 5
    assert np.array_equal(
        model.predict(world.test, who)[some], model.predict(world.test[some], who[some])
    )


def test_a_rival_without_strength_is_the_gate_alone(world, who):
    known, short = world.train, replace(LEARN, steps=30)
    alone = training.train(known, short, None, weight=0.0, seed=3)
    for name in ("snp", "mmd", "club"):
        model = RIVALS[name].fit(known, short, 0.0, 3)
        assert np.mean(model.predict(world.test, who) == alone.predict(world.test, who)) > 0.9


def test_the_baseline_is_the_products_own_training(world, who):
    known, short = world.train, replace(LEARN, steps=30)
    model = frozen.train(known, short, strategy="none", seed=3)
    fitted = of_model(frozen.train(known, short, seed=3))
    assert np.array_equal(fitted.predict(world.test, who), model.predict(world.test))


def test_aligned_posteriors_have_the_mean_that_was_asked_for():
    random = np.random.default_rng(0)
    posteriors = random.dirichlet([4.0, 2.0, 1.0, 1.0], size=200)
    target = np.full(4, 0.25)
    weighted = aligned(posteriors, target, 1.0)
    assert (weighted / weighted.sum(1, keepdims=True)).mean(0) == pytest.approx(target, abs=1e-6)
    assert np.array_equal(aligned(posteriors, target, 0.0), posteriors)


def test_the_contrast_equals_its_sum_by_hand():
    rows = torch.nn.functional.normalize(torch.randn(6, 3, generator=torch.Generator()), dim=1)
    emotion, who = torch.tensor([0, 0, 1, 1, 0, 1]), torch.tensor([0, 1, 0, 1, 0, 0])
    losses = []
    for i in range(6):
        others = [j for j in range(6) if not (emotion[j] == emotion[i] and who[j] == who[i])]
        scores = {j: float(rows[i] @ rows[j]) / 0.2 for j in others}
        total = np.log(sum(np.exp(score) for score in scores.values()))
        positives = [j for j in others if emotion[j] == emotion[i] and who[j] != who[i]]
        losses.append(-np.mean([scores[j] - total for j in positives]))
    assert float(contrast(rows, emotion, who)) == pytest.approx(np.mean(losses), abs=1e-5)


def test_without_a_positive_there_is_no_contrast():
    rows = torch.eye(3, requires_grad=True)
    loss = contrast(rows, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0]))
    loss.backward()
    assert float(loss) == 0.0
