"""How much say the adversary had: what a run measures of it, and the doubts that it names."""

import json
import math

import pytest
import tiny_runs
import torch
from killed_runs import metrics_of
from tensorboardX.proto.event_pb2 import Event
from toy_model import Toy

from spknorm.method.optim.ascent import Ascent
from spknorm.runs import checkpoint, instrument
from spknorm.runs.adversary import judge
from spknorm.runs.instrument import Instrument, Start
from spknorm.runs.state import Counters
from spknorm.schema import ExpertConfig, MethodConfig, SpeakerCorpusConfig
from spknorm.statistics.targets import Classes

ASCENTS = ["ascent_share", "ascent_angle", "ascents_clipped", "ascents_paused", "ascents_skipped"]


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def lines_of(folder, split="train"):
    return [line for line in metrics_of(folder) if line["split"] == split]


def step_of(toy, update, **options):
    """Do an iteration; return the shared part's steps by (1) and (3), each as one vector."""
    between = []

    def vector():
        shared = toy.shared
        return torch.cat([p.detach().flatten() for p in shared])

    def speaker_pass(coefficient):
        between.append(vector())
        toy.speaker_loss(coefficient).backward()

    before = vector()
    done = update.step(lambda: toy.emotion_loss().backward(), speaker_pass, 1.0, measure=True)
    return between[0] - before, vector() - between[0], done.ascent


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
@pytest.mark.parametrize(
    "method",
    [
        {"update": "literal"},
        {"update": "literal", "ascent_clip": 1e-4},
        {"update": "relative", "speaker_lambda": 0.3},
        {"update": "adaptive", "ascent_lr": 1e-5},
    ],
)
def test_share_and_angle_are_those_of_the_two_steps(strategy, method):
    toy = Toy(strategy)
    taken, climbed, ascent = step_of(toy, toy.update(method=method))
    assert ascent.share == pytest.approx(float(climbed.norm() / taken.norm()), rel=1e-9)
    cosine = float(climbed @ taken / climbed.norm() / taken.norm())
    assert ascent.angle == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-6)


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
def test_under_reversal_they_are_those_of_the_two_gradients(strategy):
    toy = Toy(strategy)
    shared = toy.shared
    emotion, speaker = (
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared)])
        for loss in (toy.emotion_loss(), toy.raw_speaker_loss())
    )
    ascent = step_of(toy, toy.update(method={"update": "reversal", "speaker_lambda": 0.4}))[2]
    assert ascent.share == pytest.approx(0.4 * float(speaker.norm() / emotion.norm()), rel=1e-9)
    cosine = -float(emotion @ speaker / emotion.norm() / speaker.norm())
    assert ascent.angle == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-6)


@pytest.mark.parametrize("update", ["literal", "relative", "reversal", "adaptive"])
def test_measuring_changes_no_weight(update):
    method = {"update": update, **({"ascent_lr": 1e-5} if update == "adaptive" else {})}
    ends = []
    for measure in (True, False):
        toy = Toy("TAP")
        own = toy.update(method=method)
        for _ in range(2):
            toy.step(own, measure=measure)
        ends.append(toy.values())
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


@pytest.mark.parametrize("much", [0, 1 << 30], ids=["in a file", "in memory"])
def test_drift_is_the_change_over_the_norm_at_the_start(much, monkeypatch):
    monkeypatch.setattr(instrument, "_MUCH", much)
    weights = [
        torch.nn.Parameter(torch.tensor([3.0, 0.0])),
        torch.nn.Parameter(torch.tensor([4.0])),
    ]
    start = Start()
    start.keep(weights)
    assert start.drift() == 0.0
    with torch.no_grad():
        weights[0][1] += 0.5
    assert start.drift() == pytest.approx(0.1)
    assert bool(start._files) == (much == 0)
    assert Start().drift() is None


def test_where_no_disk_takes_it_the_start_stays_in_memory(monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(instrument, "_MUCH", 0)
    monkeypatch.setattr(instrument.os, "posix_fallocate", refuse)
    start = Start()
    start.keep([torch.nn.Parameter(torch.ones(2))])
    assert (start._files, start.drift()) == ([], 0.0)


def test_a_run_without_an_adversary_measures_none():
    instrument = Instrument(
        Counters(), Start(), target=Classes(("neu", "hap", "ang", "sad")), num_speakers=0
    )
    instrument.add(None, Ascent(), paused=False, skipped=False)
    read = instrument.read()
    assert {read[name] for name in (*ASCENTS, "speaker_gain", "drift")} == {None}
    none = ExpertConfig(spknorm=MethodConfig(strategy="none"))
    assert judge(none, read, num_speakers=0) is None


GOOD = {"ascent_share": 0.3, "speaker_gain": 0.5, "ascents_paused": 0.1}


@pytest.mark.parametrize(
    ("method", "measured", "without_effect", "doubts"),
    [
        ({"update": "literal"}, GOOD, False, ()),
        (
            {"update": "literal"}, {**GOOD, "ascent_share": 0.004}, True,
            ("The adversary moved the upstream 0.4 % as far as the emotion loss did: raise "
             "speaker_lambda, or set update: relative, which goes by the emotion step.",),
        ),
        (
            {"strategy": "SNP", "update": "relative"}, {**GOOD, "ascent_share": 0.001}, True,
            ("The adversary moved the gate 0.1 % as far as the emotion loss did: raise "
             "speaker_lambda, which is that share while nothing pauses the ascent.",),
        ),
        (
            {"update": "relative", "adversary": "confusion"},
            {**GOOD, "ascent_share": 0.001}, True,
            ("The adversary moved the upstream 0.1 % as far as the emotion loss did: raise "
             "speaker_lambda.",),
        ),
        (
            {"update": "adaptive", "ascent_lr": 1e-9}, {**GOOD, "ascent_share": 0.0}, True,
            ("The adversary moved the upstream 0 % as far as the emotion loss did: raise "
             "ascent_lr.",),
        ),
        (
            {"update": "reversal"}, {**GOOD, "speaker_gain": 0.012}, True,
            ("The adversary's head knew next to nothing of the speakers: at best it came 1.2 % of "
             "the way from a guess to certainty. Raise optimizer.groups.speaker_head.lr, "
             "speaker_corpus.batch_size or speaker_steps.",),
        ),
        (
            {"update": "literal"}, {**GOOD, "ascents_paused": 0.63}, False,
            ("The ceiling paused the ascent in 63 % of the steps: the speaker head did not keep "
             "up. Raise optimizer.groups.speaker_head.lr or speaker_steps, or lower "
             "speaker_lambda.",),
        ),
        # what was not measured is not judged, nor is the control without an ascent
        ({"update": "literal"}, {}, False, ()),
        ({"speaker_lambda": 0.0}, {"ascent_share": 0.0, "speaker_gain": 0.0}, False, ()),
    ],
)  # fmt: skip
def test_doubts_name_what_is_wrong_and_what_to_set(method, measured, without_effect, doubts):
    asked = ExpertConfig(spknorm=MethodConfig(**{"strategy": "TAP", **method}))
    found = judge(asked, measured, num_speakers=40)
    assert (found.without_effect, found.doubts) == (without_effect, doubts)
    assert found.chance == 1 / 40


def test_the_head_of_permuted_labels_is_meant_to_know_nothing():
    measured = {**GOOD, "speaker_gain": 0.0}
    permuted = ExpertConfig(speaker_corpus=SpeakerCorpusConfig(shuffle_labels=True))
    assert judge(ExpertConfig(), measured, num_speakers=9).without_effect
    assert not judge(permuted, measured, num_speakers=9).without_effect


KNOWING = {
    "modelrc": {"speaker_head": {"hidden": [32], "batch_norm": True}},
    "speaker_corpus": {"batch_size": 12, "max_seconds": None},
}
FAST = {
    "optimizer": {"lr": 1e-2, "groups": {"upstream": {"lr": 1e-4}, "speaker_head": {"lr": 1e-2}}},
}


@pytest.fixture(scope="module")
def trained(tiny_hubert, tiny_corpora, tmp_path_factory):
    """A function that trains a run with a speaker head that learns; returns its folder."""

    def train(*, update, strategy="TAP", **method):
        folder = tmp_path_factory.mktemp("run")
        mapping = tiny_runs.settings_of(
            tiny_corpora, strategy=strategy, update=update, total_steps=12, eval_step=12,
            save_step=12, log_step=4, expert=KNOWING, other=FAST,
            method={
                "ceiling": None, "held_out_every": 1, "speaker_pretrain_steps": 30, **method,
            },
        )  # fmt: skip
        tiny_runs.train(tiny_hubert, mapping, folder)
        return folder

    return train


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
def test_a_run_whose_adversary_did_nothing_says_so_in_log_and_result(trained, strategy):
    folder = trained(update="literal", strategy=strategy, speaker_lambda=1e-6)
    adversary = result_of(folder)["adversary"]
    assert adversary["without_effect"] is True
    assert adversary["ascent_share"] < 0.01
    (doubt,) = adversary["doubts"]
    assert f"The adversary moved the {'gate' if strategy == 'SNP' else 'upstream'} " in doubt
    assert doubt in (folder / "log.log").read_text().splitlines()


@pytest.mark.parametrize("strategy", ["TAP", "SNP"])
def test_a_run_whose_adversary_had_a_say_raises_no_doubt(trained, strategy):
    folder = trained(update="relative", strategy=strategy, speaker_lambda=0.3, relative_to="step")
    adversary = result_of(folder)["adversary"]
    assert (adversary["without_effect"], adversary["doubts"]) == (False, [])
    assert adversary["ascent_share"] == pytest.approx(0.3, rel=1e-3)
    assert adversary["speaker_gain"] > 0.1
    assert adversary["chance"] == pytest.approx(1 / 3)
    assert 0 < adversary["drift"] < 1
    assert adversary["ascents_skipped"] == adversary["ascents_paused"] == 0
    assert "The adversary" not in (folder / "log.log").read_text()
    for line in lines_of(folder):
        assert line["ascent_share"] == pytest.approx(0.3, rel=1e-3)
        assert 0 <= line["ascent_angle"] <= 180
        expected = 1 - line["speaker_loss"] / line["log_num_speakers"]
        assert line["speaker_gain"] == pytest.approx(expected)
    drifts = [line["drift"] for line in lines_of(folder)]
    assert drifts == sorted(drifts)
    names = set()
    for path in folder.glob("events*"):
        data, place = path.read_bytes(), 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 8], "little")
            event = Event.FromString(data[place + 12 : place + 12 + size])
            names.update(value.tag.rpartition("/")[2] for value in event.summary.value)
            place += size + 16
    assert {f"train-{name}" for name in (*ASCENTS, "speaker_gain", "drift")} <= names


def test_an_adversary_that_goes_by_the_loss_as_the_tasks_own_does_has_a_say(trained):
    folder = trained(update="relative", adversary="confusion", speaker_lambda=3.0)
    adversary = result_of(folder)["adversary"]
    assert (adversary["without_effect"], adversary["doubts"]) == (False, [])
    assert adversary["ascent_share"] > 0.01


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ({"ceiling": 0.01}, "ascents_paused"),
        ({"ceiling": None, "ascent_clip": 1e-9}, "ascents_clipped"),
    ],
)
def test_paused_and_clipped_ascents_are_counted(tiny_hubert, tiny_corpora, tmp_path, method, what):
    mapping = tiny_runs.settings_of(tiny_corpora, method=method)
    tiny_runs.train(tiny_hubert, mapping, tmp_path)
    (other,) = {"ascents_paused", "ascents_clipped"} - {what}
    lines = lines_of(tmp_path)
    assert [line[what] for line in lines] == [1] * 6
    assert [line[other] for line in lines] == [0] * 6
    if what == "ascents_paused":
        assert [line["ascent_share"] for line in lines] == [0.0] * 6
    adversary = result_of(tmp_path)["adversary"]
    assert (adversary[what], adversary[other]) == (1, 0)


def test_a_resumed_run_measures_its_drift_from_where_it_began(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    mapping = tiny_runs.settings_of(tiny_corpora, total_steps=4)
    tiny_runs.train(tiny_hubert, mapping, tmp_path / "run")
    tiny_runs.train(
        tiny_hubert, tiny_runs.settings_of(tiny_corpora, total_steps=6), tmp_path / "run",
        resume=True,
    )  # fmt: skip
    whole = undisturbed("TAP", "literal")
    assert result_of(tmp_path / "run")["adversary"] == result_of(whole)["adversary"]
    counters = checkpoint.latest(tmp_path / "run")[1]["Spknorm"]["counters"]
    assert len(counters["totals"]) == len(counters["window"])


@pytest.mark.parametrize("strategy", ["none", "SNP", "TAP"])
def test_under_s3prls_runner_the_head_is_known_and_the_ascent_is_not(
    tiny_hubert, tiny_corpora, tmp_path, strategy
):
    from s3prl.downstream.runner import Runner

    mapping = tiny_runs.settings_of(
        tiny_corpora, strategy=strategy, update="reversal", engine="s3prl", total_steps=4
    )
    mapping["optimizer"].pop("groups")
    mapping.pop("upstream")
    tiny_runs.make_runner(tiny_hubert, mapping, tmp_path, runner=Runner).train()
    adversary = result_of(tmp_path)["adversary"]
    if strategy == "none":
        assert adversary is None
        return
    assert {adversary[name] for name in (*ASCENTS, "drift")} == {None}
    assert adversary["speaker_gain"] < 1
    assert adversary["chance"] == pytest.approx(1 / 3)
