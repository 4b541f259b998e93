import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spknorm import controlled
from spknorm.controlled import finetuning, frozen, grid, outcome, planted, pool, upstream, verdicts
from spknorm.controlled.grid import Row
from spknorm.controlled.plan import Plan, Variant, read_plan
from spknorm.demo import population
from spknorm.erasure import erase, fit_leace
from spknorm.errors import ConfigError, MissingError
from spknorm.model import Heads

TWO_POINTS = 0.02
LEARN = frozen.Settings(
    steps=400, weight_decay=0.01, dropout=0.0, emotion_batch=256, speaker_batch=256, gate_width=32
)


@pytest.fixture(scope="module")
def world():
    return planted.plant(num_speakers=100, per_speaker=96)


def accuracy(model, features, emotion):
    return np.mean(model.predict(features) == emotion)


# Planted truth


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


# The product is what is tested


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
    assert torch.allclose(frozen.emotion_logits(heads, features), expected, atol=1e-6)


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
            loss = frozen.speaker_loss(heads, features, labels, 0.3, adversary)
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


def test_the_transformer_that_is_tuned_starts_as_the_frozen_upstream(some_waves):
    expert = upstream.load_upstream()
    expected = upstream.pool_layers(expert, some_waves)
    frames = finetuning.front_end(expert, some_waves)
    tuned = finetuning.TunedModel(upstream.load_encoder(), heads_of("none", 128), 0.0)
    assert np.abs(tuned.represent(frames) - expected).max() < 1e-5


@pytest.mark.parametrize("strategy", ["none", "TAP"])
def test_fine_tuning_moves_the_transformer_and_tap_hears_the_speakers(some_waves, strategy):
    frames = finetuning.front_end(upstream.load_upstream(), some_waves)
    labels = np.arange(6) % 4
    data = finetuning.Frames(frames, labels, frames, np.arange(6))
    settings = finetuning.FineTuning(steps=2, emotion_batch=4, speaker_batch=4, speaker_steps=2)
    model = finetuning.fine_tune(data, settings, strategy=strategy, seed=0)
    start = dict(upstream.load_encoder().named_parameters())
    moved = [
        not torch.equal(weight, start[name]) for name, weight in model.encoder.named_parameters()
    ]
    assert all(moved)
    assert model.predict(frames).shape == (6,)
    assert np.isnan(model.speaker_loss) == (strategy == "none")


# Corpora of a seed


def test_a_fold_trains_on_four_sessions_and_tests_on_the_fifth():
    for fold in range(5):
        train, test = pool.training_rows(0, 0.9, fold), pool.test_rows(0, fold)
        seen = pool.test_rows(0, fold, seen=True)
        assert (len(train.row), len(test.row), len(seen.row)) == (384, 128, 512)
        assert set(test.speaker) == {2 * fold, 2 * fold + 1}
        assert set(train.speaker) == set(seen.speaker) == set(range(10)) - set(test.speaker)
        assert np.bincount(test.emotion).tolist() == [32, 32, 32, 32]
        assert not set(train.row) & (set(test.row) | set(seen.row))


def test_rows_carry_the_emotion_that_their_utterance_was_spoken_in():
    spoken = pool.utterances_of(0)
    rows = pool.training_rows(0, 0.6, 2)
    assert [spoken[row][1] for row in rows.row] == rows.emotion.tolist()
    assert [spoken[row][0].speaker for row in rows.row] == rows.speaker.tolist()


def test_corpora_of_neighbouring_rho_share_most_of_their_utterances():
    shared = set(pool.training_rows(0, 0.8, 0).row) & set(pool.training_rows(0, 0.9, 0).row)
    assert len(shared) > 0.85 * 384


def test_twelve_utterances_of_each_speaker_train_and_four_probe():
    speaker, is_train = pool.speaker_split()
    assert np.bincount(speaker[is_train]).tolist() == [12] * 80
    assert np.bincount(speaker[~is_train]).tolist() == [4] * 80


def test_features_are_computed_once_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "emotional_waves", lambda seed: iter([np.zeros(16000)] * 45))
    monkeypatch.setattr(pool, "neutral_waves", lambda seed: iter([np.ones(16000)] * 2))
    first = pool.make_pool(1, tmp_path / "features" / "seed-1.npz")
    assert first.emotional["hubert"].shape == (45, 128)
    assert first.neutral["handcrafted"].shape == (2, 74)
    monkeypatch.setattr(pool, "emotional_waves", lambda seed: pytest.fail("computed twice"))
    second = pool.make_pool(1, tmp_path / "features" / "seed-1.npz")
    assert np.array_equal(first.emotional["hubert"], second.emotional["hubert"])


def test_shuffled_speakers_are_the_same_labels_in_another_order():
    speaker, _ = pool.speaker_split()
    shuffled = grid.shuffled_speakers(speaker, 3)
    assert np.bincount(shuffled).tolist() == np.bincount(speaker).tolist()
    assert np.mean(shuffled == speaker) < 0.1


# The grid


@pytest.fixture
def small(monkeypatch):
    """A plan of seconds: random features, five steps."""

    def make_pool(seed, cache=None):
        rng = np.random.default_rng(seed)
        emotional = rng.standard_normal((len(pool.utterances_of(seed)), 6)).astype(np.float32)
        neutral = rng.standard_normal((1280, 6)).astype(np.float32)
        return pool.Pool(seed, {"hubert": emotional}, {"hubert": neutral})

    monkeypatch.setattr(pool, "make_pool", make_pool)
    return Plan(
        rho=(0.9, 0.0),
        controls=("gate", "confusion", "znorm"),
        tuned=(),
        num_folds=1,
        num_seeds=2,
        rank=2,
        frozen=frozen.Settings(steps=3, emotion_batch=8, speaker_batch=8),
    )


def test_a_grid_has_a_row_per_variant_rho_seed_and_fold(small, tmp_path):
    progress = []
    rows = grid.run_grid(small, tmp_path, workers=1, progress=lambda *at: progress.append(at))
    variants = {Variant(row.features, row.method, row.labels) for row in rows}
    assert len(variants) == 8
    assert len(rows) == 8 * 2 * 2
    assert {row.seed for row in rows} == {100, 101}
    assert progress == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert {row.method: row.speaker_loss is None for row in rows} == {
        "none": True,
        "SNP": False,
        "erasure": True,
        "gate": False,
        "confusion": False,
        "znorm": True,
    }


def test_what_is_there_is_not_computed_again(small, tmp_path, monkeypatch):
    first = grid.run_grid(small, tmp_path, workers=1)
    monkeypatch.setattr(frozen, "train", lambda *_, **__: pytest.fail("computed twice"))
    assert grid.run_grid(small, tmp_path, workers=1) == first


def test_a_stopped_grid_continues_with_what_is_missing(small, tmp_path):
    first = grid.run_grid(small, tmp_path, workers=1)
    (tmp_path / "rows" / "frozen-rho0-seed101.json").unlink()
    before = (tmp_path / "rows" / "frozen-rho0-seed100.json").stat().st_mtime_ns
    assert len(grid.read_rows(small, tmp_path)) == 3 * 8
    assert grid.run_grid(small, tmp_path, workers=1) == first
    assert (tmp_path / "rows" / "frozen-rho0-seed100.json").stat().st_mtime_ns == before


def test_another_method_adds_rows_and_keeps_the_others(small, tmp_path):
    few = replace(small, controls=(), shuffled=())
    kept = grid.run_grid(few, tmp_path, workers=1)
    rows = grid.run_grid(small, tmp_path, workers=1)
    assert set(kept) < set(rows)


def test_other_settings_are_other_rows(small, tmp_path):
    first = grid.run_grid(small, tmp_path, workers=1)
    other = replace(small, frozen=replace(small.frozen, speaker_lambda=3.0))
    assert grid.read_rows(other, tmp_path) == []
    assert grid.run_grid(other, tmp_path, workers=1) != first


def test_znorm_and_erasure_take_out_what_they_promise(small):
    features = pool.make_pool(100)
    data = grid._FoldData(features, "hubert", 0.9, 0)
    speaker = data.speaker[data.is_train]
    train, *_ = data._features(Variant("hubert", "znorm", "true"), speaker, 2)
    for one in set(data.train.speaker):
        assert np.abs(train[data.train.speaker == one].mean(0)).max() < 1e-5
    *_, neutral = data._features(Variant("hubert", "erasure", "true"), speaker, 6)
    means = [neutral[data.is_train][speaker == one].mean(0) for one in range(80)]
    assert np.abs(np.std(means, axis=0)).max() < 1e-5


def test_the_probe_is_the_shrunk_discriminant_of_scikit_learn():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(7), 12)
    centres = rng.standard_normal((7, 5))
    train = (centres[speaker] + rng.standard_normal((84, 5))).astype(np.float32)
    test = (centres[speaker] + rng.standard_normal((84, 5))).astype(np.float32)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(train, speaker)
    expected = reference.score(test, speaker)
    assert 0.3 < expected < 0.9
    assert grid.leakage(train, speaker, test, speaker) == pytest.approx(expected)


# Verdicts


def rows_of(effects, *, seeds=range(100, 110), noise=0.01, number=0):
    """Rows in which each (method, rho) has a known accuracy and leakage."""
    rng = np.random.default_rng(number)
    return [
        Row(*variant, rho, seed, fold, *(value + noise * rng.standard_normal(3)), None)
        for (variant, rho), value in effects.items()
        for seed in seeds
        for fold in range(2)
    ]


def world_of(gain_at_9=0.1, gain_at_0=0.0, shuffled=-0.03, tap=0.0, tap_leakage=-0.1):
    def level(unseen=0.0, leakage=0.0):
        return np.array([0.4 + unseen, 0.4, 0.3 + leakage])

    return {
        (verdicts.NONE, 0.0): level(0.15),
        (verdicts.NONE, 0.8): level(0.03),
        (verdicts.NONE, 0.9): level(),
        (verdicts.SNP, 0.0): level(0.15 + gain_at_0, -0.1),
        (verdicts.SNP, 0.8): level(0.08, -0.1),
        (verdicts.SNP, 0.9): level(gain_at_9, -0.1),
        (verdicts.GATE, 0.9): level(),
        (verdicts.SHUFFLED, 0.9): level(shuffled),
        (verdicts.TUNED, 0.9): level(0.0, 0.3),
        (verdicts.TAP, 0.9): level(tap, 0.3 + tap_leakage),
    }


def test_a_world_in_which_the_paper_is_right_is_recognised():
    judged = {one.name: one.verdict for one in verdicts.judge(rows_of(world_of(tap=0.05)))}
    assert judged == dict.fromkeys(
        ["H1", "H2a", "H2b", "H3", "H4", "H5a", "H5b", "H6"], "confirmed"
    )


def test_where_nothing_happens_a_family_is_wrong_once_in_twenty_at_most():
    level = np.array([0.4, 0.4, 0.3])
    wrong = 0
    for number in range(60):
        rows = rows_of(dict.fromkeys(world_of(), level), noise=0.02, number=number)
        words = {one.verdict for one in verdicts.judge(rows) if one.name != "H4"}
        wrong += words != {"not shown"}
    assert wrong <= 7  # 3 expected; P(more than 7) = .01 at a rate of 5 %


def test_harm_is_called_refuted_and_an_equal_gain_everywhere_does_not_confirm_h3():
    harmful = world_of(gain_at_9=-0.1, tap=-0.1, tap_leakage=0.1, shuffled=0.05)
    judged = {one.name: one.verdict for one in verdicts.judge(rows_of(harmful))}
    assert (judged["H2b"], judged["H5b"], judged["H6"]) == ("refuted", "refuted", "refuted")
    assert judged["H4"] == "not shown"
    everywhere = rows_of(world_of(gain_at_9=0.1, gain_at_0=0.1))
    assert {one.name: one.verdict for one in verdicts.judge(everywhere)}["H3"] == "not shown"


def test_intervals_and_p_values_are_those_of_a_paired_t_test():
    from scipy import stats

    rows = rows_of(world_of())
    (h2b,) = [one for one in verdicts.judge(rows) if one.name == "H2b"]

    def per_seed(variant):
        return [
            np.mean([row.unseen for row in rows if row[:4] == (*variant, 0.9) and row.seed == seed])
            for seed in range(100, 110)
        ]

    expected = stats.ttest_rel(per_seed(verdicts.SNP), per_seed(verdicts.NONE))
    assert h2b.p == pytest.approx(expected.pvalue)
    assert (h2b.low, h2b.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert h2b.p_holm >= h2b.p
    assert h2b.num_seeds == 10


def test_hypotheses_without_rows_are_left_out_and_one_seed_judges_nothing():
    effects = {key: value for key, value in world_of().items() if key[0].features == "hubert"}
    names = [one.name for one in verdicts.judge(rows_of(effects))]
    assert names == ["H1", "H2a", "H2b", "H3", "H4", "H5a"]
    assert verdicts.judge(rows_of(effects, seeds=[100])) == []
    assert verdicts.judge([]) == []


def test_only_seeds_that_have_both_sides_count():
    effects = world_of()
    rows = [row for row in rows_of(effects) if not (row.method == "SNP" and row.seed in (100, 101))]
    counts = {one.name: one.num_seeds for one in verdicts.judge(rows)}
    assert (counts["H1"], counts["H2b"]) == (10, 8)


def test_the_regained_share_is_the_part_of_the_loss_that_comes_back():
    cells = verdicts.summarise(rows_of(world_of(), noise=0.0))
    assert verdicts.regained_share(cells, verdicts.SNP, 0.9) == pytest.approx(0.1 / 0.15)
    assert verdicts.regained_share(cells, verdicts.TAP, 0.9) is None
    assert verdicts.regained_share(cells, verdicts.SNP, 0.0) is None


def test_a_cell_averages_folds_first_and_then_seeds():
    rows = [
        Row("hubert", "none", "true", 0.9, seed, fold, value, value, 0.1, None)
        for seed, fold, value in [(0, 0, 0.2), (0, 1, 0.4), (1, 0, 0.5)]
    ]
    (cell,) = verdicts.summarise(rows)
    assert cell.unseen == pytest.approx((0.3 + 0.5) / 2)
    assert cell.unseen_std == pytest.approx(np.std([0.3, 0.5], ddof=1))
    assert (cell.num_seeds, cell.num_models) == (2, 3)


# Plan and outcome


def test_the_projects_own_plan_confirms_on_seeds_that_chose_nothing():
    plan = read_plan(Path(__file__).parent.parent / "configs/controlled.yaml")
    assert plan.seeds == tuple(range(100, 110))
    assert sorted(plan.rho) == [0.0, 0.4, 0.6, 0.8, 0.9]
    assert set(plan.methods) | set(plan.controls) == {
        "none",
        "gate",
        "SNP",
        "confusion",
        "erasure",
        "znorm",
    }
    quick = read_plan(Path(__file__).parent.parent / "configs/controlled.yaml", quick=True)
    assert sorted(quick.rho) == [0.0, 0.8, 0.9]
    assert len(quick.seeds) == 3
    assert quick.frozen == plan.frozen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rho: [1.5]", "{path}: `rho` must be within 0 and 1, but is 1.5."),
        ("tuned_folds: 6", "{path}: `tuned_folds` must be within 0 and 5."),
        ("num_seeds: 1", "{path}: `num_seeds` must be 2 or more: seeds are what is tested over."),
        (
            "methods: [SNIP]",
            "`plan.yaml.methods[0]` must be one of none, gate, SNP, confusion, erasure, znorm, "
            "but is `'SNIP'` (str).",
        ),
    ],
)
def test_mistakes_in_a_plan_are_told(tmp_path, text, message):
    path = tmp_path / "plan.yaml"
    path.write_text(f"kind: controlled\n{text}\n")
    with pytest.raises(ConfigError) as error:
        read_plan(path)
    assert str(error.value) == message.format(path=path)


def test_a_missing_plan_is_missing(tmp_path):
    with pytest.raises(MissingError):
        controlled.describe(tmp_path / "no.yaml")


def test_the_outcome_holds_every_number_that_it_shows(tmp_path):
    rows = rows_of(world_of())
    done = outcome.write_outcome(Plan(), rows, tmp_path)
    record = json.loads((tmp_path / "controlled.json").read_text())
    assert record["schema"] == "spknorm.controlled/1"
    assert len(record["cells"]) == len(done.cells) == 10
    assert [one["name"] for one in record["verdicts"]] == [one.name for one in done.verdicts]
    assert {path.name for path in done.files} == {
        "controlled.json",
        "table.md",
        "report.html",
        "controlled_accuracy.png",
        "controlled_regained.png",
        "controlled_leakage.png",
    }
    assert all(path.stat().st_size > 500 for path in done.files)
    for text in (done.text, (tmp_path / "table.md").read_text()):
        assert "SNP, shuffled speakers" in text
        assert "confirmed" in text
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64") == 3


def test_equal_rows_give_equal_bytes(tmp_path):
    rows = rows_of(world_of())
    contents = [
        [path.read_bytes() for path in outcome.write_outcome(Plan(), rows, tmp_path / name).files]
        for name in "ab"
    ]
    assert contents[0] == contents[1]


def test_run_goes_from_file_to_report_and_again(small, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "kind: controlled\nrho: [0.9, 0.0]\nnum_folds: 1\nnum_seeds: 2\nrank: 2\ntuned: []\n"
        "frozen: {steps: 2, emotion_batch: 8, speaker_batch: 8}\n"
    )
    assert controlled.describe(path) == (
        "4 parts: 32 models on frozen features and 0 fine-tuned ones, seeds 100 to 101, rho 0.9, 0."
    )
    first = controlled.run(path, tmp_path / "out", workers=1)
    assert [one.name for one in first.verdicts] == ["H1", "H2b", "H3", "H4", "H5a"]
    assert controlled.run(path, tmp_path / "out", workers=1) == first
