import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from spknorm import controlled
from spknorm.controlled import folds, frozen, grid, pool
from spknorm.controlled.fitted import Fitted
from spknorm.controlled.plan import Plan, Variant


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
    assert first.emotional.shape == (45, 128)
    assert first.neutral.shape == (2, 128)
    monkeypatch.setattr(pool, "emotional_waves", lambda seed: pytest.fail("computed twice"))
    second = pool.make_pool(1, tmp_path / "features" / "seed-1.npz")
    assert np.array_equal(first.emotional, second.emotional)


def test_shuffled_speakers_are_the_same_labels_in_another_order():
    speaker, _ = pool.speaker_split()
    shuffled = folds.shuffled_speakers(speaker, 3)
    assert np.bincount(shuffled).tolist() == np.bincount(speaker).tolist()
    assert np.mean(shuffled == speaker) < 0.1


SMALL = Plan(
    rho=(0.9, 0.0),
    controls=("gate", "confusion", "znorm"),
    tuned=(),
    num_folds=1,
    num_seeds=2,
    rank=2,
    frozen=frozen.Settings(steps=3, emotion_batch=8, speaker_batch=8),
)
"""A plan of seconds, three steps a model."""


def random_features(seed, cache=None):
    rng = np.random.default_rng(seed)
    emotional = rng.standard_normal((len(pool.utterances_of(seed)), 6)).astype(np.float32)
    neutral = rng.standard_normal((1280, 6)).astype(np.float32)
    return pool.Pool(seed, emotional, neutral)


@pytest.fixture
def small(monkeypatch):
    """The plan, on random features."""
    monkeypatch.setattr(pool, "make_pool", random_features)
    return SMALL


def run_grid(plan, out, progress=lambda *_: None):
    return grid.run_grid(plan, out, workers=1, progress=progress)


class Done(NamedTuple):
    """A folder with a whole grid, its rows, and what was told of its progress."""

    out: Path
    rows: list
    progress: list


@pytest.fixture(scope="module")
def done_once(tmp_path_factory):
    out, progress = tmp_path_factory.mktemp("grid"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "make_pool", random_features)
        rows = run_grid(SMALL, out, progress=lambda *at: progress.append(at))
    return Done(out, rows, progress)


@pytest.fixture
def done(done_once, tmp_path):
    """The same in a folder of the test's own."""
    return done_once._replace(out=shutil.copytree(done_once.out, tmp_path / "out"))


def test_a_grid_has_a_row_per_variant_rho_seed_and_fold(done):
    rows, progress = done.rows, done.progress
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


def test_what_is_there_is_not_computed_again(small, done, monkeypatch):
    monkeypatch.setattr(frozen, "train", lambda *_, **__: pytest.fail("computed twice"))
    assert run_grid(small, done.out) == done.rows


def test_a_stopped_grid_continues_with_what_is_missing(small, done):
    (done.out / "rows" / "frozen-rho0-seed101.json").unlink()
    before = (done.out / "rows" / "frozen-rho0-seed100.json").stat().st_mtime_ns
    assert len(grid.read_rows(small, done.out)) == 3 * 8
    assert run_grid(small, done.out) == done.rows
    assert (done.out / "rows" / "frozen-rho0-seed100.json").stat().st_mtime_ns == before


def test_another_method_adds_rows_and_keeps_the_others(small, tmp_path):
    small = replace(small, rho=(0.9,), num_seeds=1)
    few = replace(small, controls=(), shuffled=())
    kept = run_grid(few, tmp_path)
    rows = run_grid(small, tmp_path)
    assert set(kept) < set(rows)


def test_other_settings_are_other_rows(small, done):
    one = {"rho": (0.9,), "num_seeds": 1}
    other = replace(small, **one, frozen=replace(small.frozen, speaker_lambda=3.0))
    assert grid.read_rows(other, done.out) == []
    first = grid.read_rows(replace(small, **one), done.out)
    found = run_grid(other, done.out)
    assert len(found) == len(first) == 8
    assert found != first


def test_znorm_and_erasure_take_out_what_they_promise(small):
    fold = folds.standardised(folds.Fold(pool.make_pool(100), 0.9, 0))
    data, plan = fold.data(), replace(small, rank=6)
    seen = folds.fit(data, "znorm", plan, 0).represent(data.emotional, data.who)
    for one in set(data.who):
        assert np.abs(seen[data.who == one].mean(0)).max() < 1e-5
    seen = folds.fit(data, "erasure", plan, 0).represent(data.neutral, data.speaker)
    means = [seen[data.speaker == one].mean(0) for one in range(80)]
    assert np.abs(np.std(means, axis=0)).max() < 1e-5


def test_permuted_speakers_are_those_that_a_model_is_told_in_training_and_test(small):
    fold = folds.Fold(pool.make_pool(100), 0.9, 0)
    data, told = fold.data("shuffled"), []
    assert not np.array_equal(data.who, fold.train.speaker)
    assert sorted(data.speaker) == sorted(fold.data().speaker)

    def predict(features, who):
        told.append(who)
        return np.zeros(len(who))

    fold.score(Fitted(predict, lambda features, who: features, 0), "shuffled")
    assert np.array_equal(told[0], folds.shuffled_speakers(fold.test.speaker, 100))


def test_run_goes_from_file_to_report_and_again(small, tmp_path, no_pictures):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "kind: controlled\nrho: [0.9, 0.0]\nnum_folds: 1\nnum_seeds: 4\nrank: 2\ntuned: []\n"
        "frozen: {steps: 2, emotion_batch: 8, speaker_batch: 8}\n"
    )
    plan = controlled.read_plan(path)
    assert controlled.describe(plan) == (
        "8 parts: 64 models on frozen features and 0 fine-tuned ones, seeds 100 to 103, rho 0.9, 0."
    )
    out, quietly = tmp_path / "out", {"progress": lambda *_: None, "workers": 1}
    first = controlled.complete(plan, out, **quietly)
    verdicts = json.loads((out / "controlled.json").read_text())["verdicts"]
    assert [one["name"] for one in verdicts] == ["H1", "H2b", "H3", "H4", "H5a"]
    assert controlled.complete(plan, out, **quietly) == first


def is_running(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells processes by /proc")
@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_a_grid_that_is_killed_leaves_no_process_behind(tmp_path, how):
    script = Path(__file__).with_name("parallel_jobs.py")
    bench = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    deadline = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    os.kill(bench.pid, how)
    bench.wait(60)
    deadline = time.monotonic() + 60
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))
