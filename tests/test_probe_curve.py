"""A sample's probe says what a probe of the whole would find, and how sure that is."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from spknorm.probe import Pooled, run_probe
from spknorm.probe.arrays import Layers
from spknorm.probe.audit import table
from spknorm.probe.curve import extrapolate, nested_parts
from spknorm.runs.probes import ProbeRow


def _world(seed, *, num=12_000, speakers=30, width=24, noise=3.0):
    """Speakers' places and noise around them; every sixth utterance of each is held out."""
    generator = np.random.default_rng(seed)
    labels = np.arange(num) % speakers
    features = generator.normal(0, noise, (num, width))
    features += generator.normal(0, 1, (speakers, width))[labels]
    held_out = np.arange(num) // speakers % 6 == 5
    return features.astype(np.float32), labels, held_out


def _parts(features, labels, held_out, share):
    place = np.arange(len(labels)) // 30  # of an utterance among its speaker's
    kept = place < share * (place.max() + 1)
    return [Pooled(features[rows], labels[rows]) for rows in (~held_out & kept, held_out & kept)]


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_the_interval_of_a_sample_holds_the_score_of_the_whole(kind):
    ours, alone = [], []
    for seed in range(20, 24):
        world = _world(seed, num=6_000, width=96)
        found = run_probe(kind, *_parts(*world, 0.25), whole=5_000)
        assert found.on_sample is not None
        whole = run_probe(kind, *_parts(*world, 1.0))
        assert whole.on_sample is None
        assert found.low <= whole.score <= found.high
        assert found.high - found.low < 0.2
        ours.append(found.score - whole.score)
        alone.append(found.on_sample - whole.score)
    assert np.mean(alone) < -0.02  # a probe learns less from a sample
    assert abs(np.mean(ours)) < abs(np.mean(alone)) / 2


@pytest.mark.parametrize(("kind", "control"), [("linear", "shuffled"), ("eer", None)])
def test_what_learns_nothing_is_not_extrapolated(kind, control):
    parts = _parts(*_world(0), 0.1)
    assert run_probe(kind, *parts, control=control, whole=10_000) == run_probe(
        kind, *parts, control=control
    )


def test_a_whole_is_not_extrapolated_to_the_bit():
    parts = _parts(*_world(0), 0.1)
    plain = run_probe("linear", *parts)
    assert run_probe("linear", *parts, whole=len(parts[0].labels)) == plain
    assert run_probe("linear", *parts, whole=None) == plain
    assert run_probe("linear", *parts, whole=10_000).on_sample == plain.score


def test_the_sum_of_layers_is_extrapolated_too():
    features, labels, held_out = _world(1)
    features = np.stack([np.zeros_like(features), features], axis=1)
    train, test = _parts(features, labels, held_out, 0.1)
    layered = run_probe(
        "weighted",
        train._replace(features=Layers.of(train.features)),
        test._replace(features=Layers.of(test.features)),
        whole=10_000,
    )
    assert layered.score > layered.on_sample
    assert layered.low < layered.on_sample < layered.high


def test_without_features_of_anyone_the_estimate_stays_at_chance():
    generator = np.random.default_rng(0)
    _, labels, held_out = _world(0)
    noise = generator.normal(0, 1, (len(labels), 24)).astype(np.float32)
    found = run_probe("linear", *_parts(noise, labels, held_out, 0.1), whole=10_000)
    assert found.low < 1 / 30 < found.high


def test_a_curve_that_is_known_is_found_and_the_interval_covers_it():
    size, sizes, held = 2000, [2500, 5000, 10_000], 0

    def share(n, exponent):
        return 1 / (1 + np.exp(-(1.0 - 30 * (n / 10) ** -exponent)))

    for seed in range(40):
        for exponent in (0.3, 0.5, 1.0):
            hard = np.random.default_rng(seed).random(size)
            correct = [hard < share(n, exponent) for n in sizes]
            found = extrapolate(correct, sizes, np.arange(size) % 200, whole=80_000)
            held += found.low < share(80_000, exponent) < found.high
    assert 108 <= held <= 119  # 95 % of 120 within their binomial error
    few = extrapolate(correct, sizes, np.arange(size) % 3, whole=80_000)
    assert (few.low, few.high) == (None, None)


def test_parts_are_nested_and_have_a_share_of_every_class():
    labels = np.repeat(np.arange(4), [80, 40, 3, 1])
    quarter, half, whole = nested_parts(labels, 0)
    assert set(quarter) < set(half) < set(whole)
    assert np.bincount(labels[quarter]).tolist() == [20, 10, 1, 1]
    assert np.bincount(labels[half]).tolist() == [40, 20, 2, 1]
    assert len(whole) == len(labels)


def test_a_sample_of_too_few_has_the_score_that_it_has():
    labels = np.repeat(np.arange(8), 2)
    features = np.eye(8, dtype=np.float32)[labels]
    parts = Pooled(features, labels), Pooled(features, labels)
    assert [len(part) for part in nested_parts(labels, 0)] == [16]
    assert run_probe("linear", *parts, whole=500) == run_probe("linear", *parts)


def test_the_table_says_from_how_many_utterances_it_extrapolates():
    row = ProbeRow(
        upstream="hubert", stage="none", corpus="speaker", label="speaker", probe="linear",
        layer="head", accuracy=0.6, low=0.5, high=0.7, n=1500, drawn_from=6000, on_sample=0.55,
        learnt_on=13500, learnt_of=54000, num_classes=60,
    )  # fmt: skip
    text = table([row])
    assert "1500 of 6000" in text
    assert "accuracies are extrapolated from 13500 utterances to 54000 learnt on" in text
    plain = {**asdict(row), "learnt_on": None, "learnt_of": None, "on_sample": None}
    assert "extrapolated" not in table([ProbeRow(**plain)])
    assert json.dumps(plain)
