"""The speaker head before step 1: what it learns, and that a kill does not change it."""

import json
import logging
import math

import pytest
import torch
from killed_runs import KilledError, at_step, kill, metrics_of, same_weights
from tiny_runs import outcome_of, settings_of, train, weights_of
from torch import nn

from spknorm.method.model import SpeakerHead
from spknorm.runner import pretraining


def planted(num_speakers=40, dim=32, each=20, spread=3.0):
    """Return features (N, H) around a mean per speaker, far from 0 and small, and labels."""
    generator = torch.Generator().manual_seed(0)
    means = spread * torch.randn(num_speakers, dim, generator=generator)
    labels = torch.arange(num_speakers).repeat_interleave(each)
    noise = torch.randn(len(labels), dim, generator=generator)
    return 5.0 + 0.05 * (means[labels] + noise), labels.tolist()


def head_of(features, labels):
    torch.manual_seed(1)
    return SpeakerHead(features.shape[1], max(labels) + 1, hidden=[32], batch_norm=True)


def test_pretraining_teaches_the_head_its_speakers_and_is_a_function_of_the_seed():
    features, labels = planted()
    heads = [head_of(features, labels) for _ in range(3)]
    before = pretraining.examine(heads[0], features, labels)
    assert before.accuracy < 0.1
    torch.manual_seed(7)  # global generators do not count
    found = [
        pretraining.pretrain(head, features, labels, steps=300, seed=seed)
        for head, seed in zip(heads, (3, 3, 4), strict=True)
    ]
    after = pretraining.examine(heads[0], features, labels)
    assert after.accuracy > 0.95
    assert found[0] == found[1] != found[2]
    one, same, other = (nn.utils.parameters_to_vector(head.parameters()) for head in heads)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def pretrained(corpora, strategy, **options):
    method = {"speaker_pretrain_steps": 20, "ceiling": 1.0, "held_out_every": 2}
    head = {"speaker_head": {"batch_norm": True}}
    return settings_of(
        corpora, strategy=strategy, method=method, expert={"modelrc": head}, **options
    )


@pytest.fixture(scope="module")
def whole(tiny_hubert, tmp_path_factory):
    """A function that trains each run once without a kill, and returns its folder."""
    kept = {}

    def train_once(mapping, **flags):
        key = json.dumps([mapping, flags])
        if key not in kept:
            kept[key] = tmp_path_factory.mktemp("whole") / "run"
            train(tiny_hubert, mapping, kept[key], **flags)
        return kept[key]

    return train_once


@pytest.mark.parametrize(
    ("strategy", "trainable", "cache"),
    [("TAP", True, "off"), ("SNP", False, "auto"), ("SNP", True, "auto")],
)
@pytest.mark.parametrize("step", [1, 3])
def test_a_pretrained_run_killed_before_or_after_its_first_checkpoint_goes_on_bit_for_bit(
    tiny_hubert, tiny_corpora, whole, tmp_path, monkeypatch, strategy, trainable, cache, step
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    mapping = pretrained(
        tiny_corpora, strategy, total_steps=4, other={"upstream": {"cache": cache}}
    )
    flags = {"upstream_trainable": trainable}
    with at_step(monkeypatch, step, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path / "run", **flags)
    train(tiny_hubert, mapping, tmp_path / "run", resume=True, **flags)
    undisturbed = whole(mapping, **flags)
    assert same_weights(tmp_path / "run", undisturbed)
    assert outcome_of(tmp_path / "run") == outcome_of(undisturbed)


def test_a_run_says_what_its_head_knew_before_the_first_step(tiny_hubert, tiny_corpora, tmp_path):
    mapping = pretrained(tiny_corpora, "TAP", total_steps=1)
    mapping["downstream_expert"]["spknorm"]["speaker_pretrain_steps"] = 600
    train(tiny_hubert, mapping, tmp_path)
    first, *_ = metrics_of(tmp_path)
    assert (first["step"], first["split"], first["steps"]) == (0, "pretrain", 600)
    assert first["log_num_speakers"] == pytest.approx(math.log(3))
    assert first["speaker_loss"] < 0.5 * math.log(3)
    assert first["speaker_accuracy"] > 0.9
    text = (tmp_path / "log.log").read_text().splitlines()[0]
    assert text == (
        "the speaker head was trained for 600 steps on the features of 6 utterances: loss "
        f"{first['speaker_loss']:.3g}, accuracy {first['speaker_accuracy']:.1%}; on 3 held-out "
        f"ones (the corpus' own dev part): loss {first['held_out_loss']:.3g}, accuracy "
        f"{first['held_out_accuracy']:.1%}; a guess has 1.1, 33.3%"
    )


@pytest.mark.parametrize(("strategy", "trainable"), [("TAP", True), ("SNP", True), ("SNP", False)])
def test_pretraining_moves_the_speaker_head_alone(
    tiny_hubert, tiny_corpora, tmp_path, strategy, trainable
):
    """At rate zero everywhere only what comes before step 1 can move anything."""
    groups = {name: {"lr": 0.0} for name in ("upstream", "gate", "emotion_head")}
    results = {}
    for steps in (0, 20):
        mapping = pretrained(
            tiny_corpora, strategy, total_steps=1,
            other={"optimizer": {"groups": {**groups, "speaker_head": {"lr": 1e-2}}}},
        )  # fmt: skip
        method = mapping["downstream_expert"]["spknorm"]
        method.update(speaker_pretrain_steps=steps, speaker_lambda=0.0)
        train(tiny_hubert, mapping, tmp_path / str(steps), upstream_trainable=trainable)
        results[steps] = weights_of(tmp_path / str(steps))
    moved = {n for n, w in results[0].items() if not torch.equal(w, results[20][n])}
    assert moved
    assert all(name.startswith("Downstream.heads.speaker_head.") for name in moved)


def test_what_the_head_reads_does_not_depend_on_the_room_for_a_cache(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    found = {}
    for name, upstream in {
        "no room": {"cache": "auto", "cache_limit_gb": 1e-9},
        "room": {"cache": "auto"}, "off": {"cache": "off"},
    }.items():  # fmt: skip
        folder = tmp_path / name
        with caplog.at_level(logging.INFO):
            mapping = pretrained(tiny_corpora, "TAP", total_steps=1, other={"upstream": upstream})
            train(tiny_hubert, mapping, folder)
        found[name] = metrics_of(folder)[0]
    assert found["room"] == found["no room"] == found["off"]
    assert "The features of 9 utterances are not cached" in caplog.text


def test_a_last_batch_of_one_utterance_does_not_end_the_pretraining():
    number = pretraining.BATCH_SIZE + 1
    features, labels = torch.randn(number, 4), [place % 3 for place in range(number)]
    head = SpeakerHead(4, 3, hidden=[5], batch_norm=True)
    known = pretraining.pretrain(head, features, labels, steps=2, seed=0)
    assert math.isfinite(known.loss)
    assert int(head.layers[0].num_batches_tracked) == 1
