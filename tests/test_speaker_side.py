"""The speaker side: what is held out, when the ascent pauses, and a head that starts trained."""

import itertools
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_runs import settings_of, train, weights_of

from spknorm import config
from spknorm.batches import Batch
from spknorm.batches.task import read_speakers
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError
from spknorm.runner.passes import Passes
from spknorm.runner.speaker_side import SpeakerSide, in_pieces, pauses
from spknorm.runs import checkpoint
from spknorm.runs.state import Counters
from spknorm.schema import DataConfig, SpeakerCorpusConfig

SPEAKERS = 1251


LOG_K = math.log(SPEAKERS)


def side(losses, *, ceiling=1.0, every=1, shuffled=False):
    """Return a speaker side whose held-out batches have these losses, and its counters."""
    expert = type("Expert", (), {})()
    expert.heads, expert.num_speakers = None, SPEAKERS
    expert.streams = SimpleNamespace(held_out=lambda rank, world: "stream")
    settings = config.parse(
        {
            "downstream_expert": {
                "spknorm": {"ceiling": ceiling, "held_out_every": every},
                "speaker_corpus": {"shuffle_labels": shuffled},
            }
        }
    )
    counters, said = Counters(), []
    world = type("World", (), {"rank": 0, "size": 1, "device": torch.device("cpu")})()
    found = SpeakerSide(
        expert, None, [], world, settings=settings, counters=counters, say=said.append
    )
    found._evaluate = lambda number: (losses[number], 0.5)
    return found, counters, said


def walk(losses, **options):
    """Return at which steps a sequence of held-out losses lets the ascent go on."""
    found, counters, said = side(losses, **options)
    ascends = []
    for counters.step in range(len(losses) * options.get("every", 1)):
        ascends.append(found.ascends())
    return ascends, counters, said


def flips(ascends):
    return sum(one != other for one, other in itertools.pairwise(ascends))


@pytest.mark.parametrize("centre", [0.85, 0.95, 1.0, 1.05])
def test_noise_around_log_k_flips_the_ascent_once_at_most(centre):
    noise = np.random.default_rng(0).normal(centre * LOG_K, 0.4, 500)
    ascends, _, _ = walk(noise.tolist())
    assert flips(ascends) <= 1
    single = [loss <= LOG_K for loss in noise]  # what one noisy batch would say
    assert centre != 1.0 or flips(single) > 100


def test_a_head_that_overfits_or_an_upstream_that_ran_away_pauses_the_ascent():
    ascends, _, said = walk([3.0] * 5 + [60.0] * 2)
    assert ascends == [True] * 5 + [False] * 2
    assert said == [
        "the ascent pauses at step 5: the held-out speaker loss is 10.1, above 7.13 (a guess has "
        "7.13)"
    ]
    slowly = np.linspace(3.0, 9.0, 60).tolist()
    ascends, _, _ = walk(slowly)
    assert flips(ascends) == 1
    assert 41 <= ascends.index(False) <= 51


def test_a_paused_ascent_goes_on_when_the_head_knows_a_tenth_again():
    losses = [8.0] * 3 + [6.8] * 20 + [6.0] * 30
    ascends, _, said = walk(losses)
    assert ascends[:25] == [False] * 25
    assert all(ascends[35:])
    assert said[-1].startswith("the ascent goes on at step 2")
    assert flips(ascends) == 1
    assert said[-1].endswith("below 6.42 (a guess has 7.13)")


def test_the_ceiling_scales_both_bounds_and_null_never_pauses():
    assert not pauses(3.5, limit=0.5 * LOG_K, paused=False)
    assert pauses(3.6, limit=0.5 * LOG_K, paused=False)
    assert pauses(3.5, limit=0.5 * LOG_K, paused=True)
    assert not pauses(3.2, limit=0.5 * LOG_K, paused=True)
    ascends, _, said = walk([50.0] * 9, ceiling=None)
    assert (all(ascends), said) == (True, [])


def test_a_control_with_shuffled_speakers_ascends_as_often_as_what_it_controls():
    ascends, counters, _ = walk([7.5] * 9, shuffled=True)
    assert all(ascends)
    assert counters.held_out_loss == 7.5


def test_a_loss_that_is_not_finite_pauses_and_is_forgotten_in_time():
    ascends, counters, _ = walk([3.0] * 3 + [math.nan, math.inf] + [3.0] * 40)
    assert ascends[:3] == [True] * 3
    assert ascends[3:5] == [False] * 2
    assert all(ascends[-15:])
    assert counters.held_out_loss == pytest.approx(3.0, abs=0.1)
    assert counters.held_out_lowest == pytest.approx(3.0, abs=0.01)


def test_the_head_is_looked_at_every_so_many_steps():
    ascends, counters, _ = walk([3.0, 40.0, 40.0], every=10)
    assert ascends == [True] * 10 + [False] * 20
    assert counters.held_out_accuracy == 0.5


def utterances(counts, split=None):
    return [
        Utterance(id=f"{name}-{number}", path=Path(f"/{name}-{number}"), speaker=name, split=split)
        for name, count in counts.items()
        for number in range(count)
    ]


@pytest.fixture
def corpus(monkeypatch):
    """A function that reads given records as the speaker corpus."""

    def read(records, *, seed=0, **options):
        monkeypatch.setattr("spknorm.batches.task.read_corpus", lambda *_, **__: records)
        monkeypatch.setattr("spknorm.batches.task.usable", lambda found, **_: found)
        monkeypatch.setattr(
            "spknorm.batches.task.digest_of", lambda found, *, parts, **_: sorted(parts)
        )
        return read_speakers(
            SpeakerCorpusConfig(**options), data=DataConfig(), seed=seed, work_dir=None
        )

    return read


def test_the_corpus_own_dev_part_is_held_out_and_its_test_part_is_not_touched(corpus):
    train = utterances({"a": 5, "b": 5}, "train")
    dev = [
        Utterance(id=f"d{n}", path=Path(f"/d{n}"), speaker=n, split="dev")
        for n in ("a", "b", "other")
    ]
    test = [Utterance(id="t", path="/t", speaker="a", split="test")]
    found, speakers, labels, digested, held = corpus([*train, *dev, *test])
    assert list(found) == train
    assert speakers == ("a", "b")
    assert Counter(labels) == {0: 5, 1: 5}
    assert [u.id for u in held.utterances] == ["da", "db"]
    assert held.labels == (0, 1)
    assert held.origin == "the corpus' own dev part"
    assert digested == ["held_out", "train"]


def test_a_share_of_each_speaker_is_held_out_where_the_corpus_has_no_dev_part(corpus):
    records = utterances({"a": 60, "b": 20, "c": 3, "d": 2})
    found, _, labels, digested, held = corpus(records)
    assert Counter(u.speaker for u in held.utterances) == {"a": 3, "b": 1, "c": 1}
    assert {u.id for u in found} | {u.id for u in held.utterances} == {u.id for u in records}
    assert len(found) + len(held.utterances) == len(records) == len(labels) + len(held.labels)
    assert held.origin == "5% of each speaker's utterances, at least one"
    assert digested == ["held_out", "train"]
    assert corpus(list(reversed(records)), seed=7)[4].utterances == held.utterances


def test_a_control_with_shuffled_labels_shuffles_what_is_held_out_too(corpus):
    records = utterances(dict.fromkeys("abcd", 40))
    plain, shuffled = corpus(records), corpus(records, shuffle_labels=True)
    assert shuffled[4].utterances == plain[4].utterances
    assert shuffled[4].labels != plain[4].labels
    assert sorted(shuffled[4].labels) == sorted(plain[4].labels)


def test_a_step_of_the_speaker_head_is_the_same_in_one_piece_and_in_several(
    tiny_hubert, tiny_corpora, tmp_path
):
    """Nor does it depend on how many micro-batches the emotion side accumulates."""
    weights = []
    for place, (micro, accumulate) in enumerate([(None, 1), (2, 1), (None, 2)]):
        mapping = settings_of(
            tiny_corpora, strategy="SNP", total_steps=3, gradient_accumulate_steps=accumulate,
            expert={"speaker_corpus": {"batch_size": 5, "micro_batch_size": micro}},
            method={"speaker_lambda": 0.0},
            other={"optimizer": {"groups": {"gate": {"lr": 0.0}, "upstream": {"lr": 0.0}}}},
        )  # fmt: skip
        folder = tmp_path / str(place)
        train(tiny_hubert, mapping, folder, upstream_trainable=False)
        weights.append({n: w for n, w in weights_of(folder).items() if "speaker_head" in n})
    for other in weights[1:]:
        for name, weight in weights[0].items():
            assert torch.allclose(weight, other[name], atol=1e-6), name


def test_the_head_catches_up_alone_before_the_next_step_on_a_batch_of_its_own(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    """In an order of their own: SNP by the loss, whose first ascents take much."""
    seen, emotion, speaker = [], Passes.emotion, Passes.speaker
    monkeypatch.setattr(Passes, "emotion", lambda *a: (seen.append("emotion"), emotion(*a))[1])
    monkeypatch.setattr(
        Passes, "speaker", lambda self, *a: (seen.append((a[0].ids, a[1])), speaker(self, *a))[1]
    )
    method = {"relative_to": "loss", "speaker_lambda": 3.0, "speaker_catch_up": 0.01}
    options = {"strategy": "SNP", "update": "relative", "method": method, "total_steps": 3}
    train(tiny_hubert, settings_of(tiny_corpora, **options), tmp_path / "catching up")
    regular, further = (
        [one for one in seen if one != "emotion" and one[1] == coefficient]
        for coefficient in (1.0, 0.0)
    )
    first, second, third = regular
    assert len(further) == 2
    assert further[0] != further[1]
    assert seen == ["emotion", first, further[0], "emotion", second, further[1], "emotion", third]
    states = checkpoint.read(checkpoint.latest(tmp_path / "catching up")[0])
    assert Counters.of(states).caught_up == 2
    seen.clear()
    method["speaker_catch_up"] = None
    train(tiny_hubert, settings_of(tiny_corpora, **options), tmp_path / "not")
    assert seen == ["emotion", first, "emotion", second, "emotion", third]


def test_batch_norm_sees_the_batch_whatever_the_pieces_even_one_of_one_utterance(
    tiny_hubert, tiny_corpora, tmp_path
):
    """Five utterances in pieces of two at most are one, two and two."""
    mapping = settings_of(
        tiny_corpora, total_steps=2,
        expert={
            "speaker_corpus": {"batch_size": 5, "micro_batch_size": 2},
            "modelrc": {"speaker_head": {"batch_norm": True}},
        },
    )  # fmt: skip
    pieces = in_pieces(
        Batch([], [0] * 5, list("abcde"), [0] * 5),
        SpeakerCorpusConfig(batch_size=5, micro_batch_size=2),
    )
    assert [len(piece.ids) for piece in pieces] == [1, 2, 2]
    train(tiny_hubert, mapping, tmp_path)
    weights = weights_of(tmp_path)
    assert all(w.isfinite().all() for w in weights.values())
    assert int(weights["Downstream.heads.speaker_head.layers.0.num_batches_tracked"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"speaker_corpus": {"batch_size": 4, "micro_batch_size": 1}},
            "`config.downstream_expert.modelrc.speaker_head.batch_norm` normalises over each piece "
            "of a speaker batch, so that batch_size and micro_batch_size must be at least 2, but "
            "are 4 and 1.",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(changes, message):
    head = {"modelrc": {"speaker_head": {"batch_norm": True}}}
    with pytest.raises(ConfigError) as refused:
        config.parse({"downstream_expert": {**head, **changes}})
    assert str(refused.value) == message
