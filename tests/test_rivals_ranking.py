"""What is made of the rivals' rows, and how an experiment file asks for them."""

import json
from pathlib import Path

import numpy as np
import pytest

from spknorm.controlled import pool, rivals
from spknorm.controlled.pool import Pool
from spknorm.controlled.rivals import RIVALS
from spknorm.controlled.rivals.grid import RivalRow, choose
from spknorm.controlled.rivals.outcome import write_outcome
from spknorm.controlled.rivals.plan import Plan, read_plan
from spknorm.controlled.rivals.ranking import rank
from spknorm.errors import ConfigError
from spknorm.statistics.fairness import gini

ROOT = Path(__file__).parents[1]
PLAN = Plan(rivals=("leace", "znorm", "irm"), num_seeds=6, num_folds=2)


def row(method, seed, fold, accuracy, *, labels="true", rho=0.9, strength=1.0):
    speakers = {str(2 * fold): accuracy - 0.1, str(2 * fold + 1): accuracy + 0.1}
    return RivalRow(method, strength, labels, rho, seed, fold, speakers, 0.5, 0.4, 10, 2.0)


def rows_with(gains, *, noise=0.002):
    random = np.random.default_rng(0)
    found = []
    for seed in PLAN.seeds:
        for fold in range(2):
            base = 0.5 + 0.05 * random.standard_normal()
            for method, gain in {"none": 0.0, "gate": 0.0, **gains}.items():
                value = base + gain + noise * random.standard_normal()
                found.append(row(method, seed, fold, value))
                found.append(row(method, seed, fold, base, rho=0.0))
                if method in RIVALS:
                    found.append(row(method, seed, fold, base, labels="shuffled"))
    return found


def test_rivals_are_ranked_by_their_gain_and_judged_on_it():
    standings = rank(PLAN, {}, rows_with({"leace": 0.05, "znorm": 0.0, "irm": -0.05}))
    assert [one.method for one in standings] == ["none", "gate", "leace", "znorm", "irm"]
    assert [one.verdict for one in standings[2:]] == ["helps", "not shown", "harms"]
    leace = standings[2]
    assert leace.gain.mean == pytest.approx(0.05, abs=0.005)
    assert leace.gain.low < 0.05 < leace.gain.high
    assert tuple(leace.rank) == (1, 1, 1)
    assert leace.worst_gain.mean == pytest.approx(0.05, abs=0.01)
    assert leace.cost.mean == 0.0
    assert leace.control.mean == pytest.approx(0.0, abs=0.005)
    assert standings[0].gain is None and standings[1].rank is None


def test_seeds_that_some_method_lacks_count_for_none():
    rows = rows_with({"leace": 0.05, "znorm": 0.0, "irm": 0.0})
    last = PLAN.seeds[-1]
    fewer = [one for one in rows if one.seed != last or one.method != "irm"]
    without = [one for one in rows if one.seed != last]
    assert rank(PLAN, {}, fewer) == rank(PLAN, {}, without)


def test_of_few_seeds_there_is_no_interval_no_test_and_no_range_of_ranks():
    rows = [
        one
        for one in rows_with({"leace": 0.05, "znorm": 0.0, "irm": 0.0})
        if one.seed < PLAN.first_seed + 2
    ]
    standing = rank(PLAN, {}, rows)[2]
    assert (standing.gain.low, standing.gain.high) == (None, None)
    assert (standing.p_holm, standing.verdict) == (None, "")
    assert standing.rank == (1, None, None)


def test_the_strength_with_the_best_mean_is_chosen_the_least_of_equal_ones():
    rows = [
        row("leace", seed, 0, {1.0: 0.5, 2.0: 0.6, 3.0: 0.6}[strength] + seed, strength=strength)
        for seed in (0, 1)
        for strength in (1.0, 2.0, 3.0)
    ]
    assert choose(rows) == {"leace": 2.0}


def test_page_table_and_record_say_the_same(tmp_path):
    rows = rows_with({"leace": 0.05, "znorm": 0.0, "irm": -0.05})
    standings = rank(PLAN, {"leace": 10.0}, rows)
    write_outcome(PLAN, {"leace": 10.0}, rows, tmp_path)
    record = json.loads((tmp_path / "rivals.json").read_text())
    assert [one["method"] for one in record["standings"]] == [one.method for one in standings]
    assert record["standings"][2]["gain"]["mean"] == standings[2].gain.mean
    for text in ((tmp_path / "table.md").read_text(), (tmp_path / "report.html").read_text()):
        assert "LEACE" in text and "helps" in text and "1 (1-1)" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rivals: [snp, magic]", "there is no rival `magic`. There are snp, cdan"),
        ("select_seeds: [310]", "`select_seeds` must be seeds that are not reported"),
        ("rho: [1.5]", "`rho` must be numbers within 0 and 1"),
        ("num_folds: 6", "`num_folds` and `select_folds` must be within 1 and 5"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path, text, message):
    (tmp_path / "plan.yaml").write_text(f"kind: rivals\n{text}\n")
    with pytest.raises(ConfigError) as raised:
        read_plan(tmp_path / "plan.yaml")
    assert message in str(raised.value)


@pytest.fixture
def small_pool(monkeypatch):
    """Features of the right number and order, without a voice or an upstream."""

    def made(seed, folder):
        random = np.random.default_rng(seed)
        emotions = np.array([emotion for _, emotion in pool.utterances_of(seed)])
        emotional = random.standard_normal((len(emotions), 12)).astype(np.float32)
        emotional[:, :4] += 2 * np.eye(4, dtype=np.float32)[emotions]
        speaker, _ = pool.speaker_split()
        neutral = random.standard_normal((len(speaker), 12)).astype(np.float32)
        return Pool(seed, emotional, neutral + 0.1 * (speaker % 7)[:, None].astype(np.float32))

    monkeypatch.setattr(pool, "features_of", made)


def test_an_experiment_file_goes_on_where_it_was_stopped(tmp_path, small_pool):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "kind: rivals\nrivals: [leace, znorm]\nrho: [0.9]\nselect_seeds: [0]\nselect_folds: 1\n"
        "num_seeds: 1\nnum_folds: 1\nfrozen: {steps: 5}\n"
    )
    plan, seen = read_plan(path), []

    def stop(done, total):
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rivals.complete(plan, tmp_path, progress=stop, workers=1)
    kept = {one.name: one.read_bytes() for one in (tmp_path / "rows").iterdir()}
    assert len(kept) == 4
    text, whole = rivals.complete(plan, tmp_path, progress=lambda *_: None, workers=1)
    assert whole and "LEACE" in text and "z-norm" in text
    for name, content in kept.items():
        assert (tmp_path / "rows" / name).read_bytes() == content


def test_the_page_of_rivals_has_the_table_of_the_code():
    lines = ["| key | method | after | needs | strengths tried |", "| --- " * 5 + "|"]
    for key, one in RIVALS.items():
        tried = ", ".join(f"{value:g}" for value in one.strengths)
        lines.append(f"| `{key}` | {one.title} | {one.source} | {one.needs} | {tried} |")
    assert "\n".join(lines) in (ROOT / "docs" / "rivals.md").read_text()


def test_ginis_coefficient_is_that_of_the_definition():
    values = np.array([0.9, 0.6, 0.8, 0.5])
    pairs = [abs(a - b) for a in values for b in values]
    assert gini(values) == pytest.approx(np.mean(pairs) / 2 / np.mean(values))
    assert gini(np.array([[0.3, 0.3], [0.0, 0.0]])).tolist() == [0.0, 0.0]
