"""Protocols on hand-made manifests, on s3prl's own random_split, and on any manifest."""

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_splits import make_split
from torch.utils.data import random_split

from spknorm.corpora.records import EMOTIONS, Utterance
from spknorm.errors import ConfigError, DataError
from spknorm.protocols import Split, check_split, folds_of
from spknorm.schema import DataConfig

TURN_NAMES = ("improvised", "scripted")


def utterance(number, session, gender="F", emotion="neu", turn="improvised"):
    name = f"Ses0{session}_{turn[:3]}_{gender}{number:04d}"
    return Utterance(
        id=name,
        path=Path(f"/corpus/{name}.wav"),
        emotion=emotion,
        speaker=f"Ses0{session}_{gender}",
        session=f"Session{session}",
        turn=turn,
    )


def corpus(per_speaker=24):
    """Ten speakers in five sessions, all emotions and both kinds of turn for each speaker."""
    return [
        utterance(i, session, gender, EMOTIONS[i % 4], TURN_NAMES[i // 4 % 2])
        for session in range(1, 6)
        for gender in "FM"
        for i in range(per_speaker)
    ]


def ids(part):
    return [one.id for one in part]


@st.composite
def manifests(draw):
    """Utterances of ten speakers in five sessions, in any number, mixture and order."""
    cells = st.tuples(st.sampled_from(EMOTIONS), st.sampled_from(TURN_NAMES))
    records = []
    for session in range(1, 6):
        for gender in "FM":
            for number, (emotion, turn) in enumerate(draw(st.lists(cells, min_size=2, max_size=6))):
                records.append(utterance(number, session, gender, emotion, turn))
    return draw(st.permutations(records))


@st.composite
def settings_of_a_fold(draw):
    """Any protocol with settings that belong to it."""
    names = ["si5", "si10", "loso", "loso-group", "sd", "low_resource"]
    protocol = draw(st.sampled_from(names))
    devs = ["superb", "speaker_disjoint"][protocol.startswith("loso") :]
    groups = draw(st.integers(2, 6))
    base = draw(st.sampled_from(["si5", "sd"])) if protocol == "low_resource" else "si5"
    random_parts = protocol == "sd" or base == "sd"
    folds = folds_of(DataConfig(protocol=protocol, base=base, groups=groups))
    return {
        "protocol": protocol,
        "base": base,
        "fold": draw(st.sampled_from(folds or ["fold2"])),
        "groups": groups,
        "dev": "superb" if random_parts else draw(st.sampled_from(devs)),
        "seed": draw(st.integers(0, 3)),
        "draw": draw(st.integers(0, 4)),
        "samples_per_label": draw(st.integers(1, 6)) if protocol == "low_resource" else None,
        "train_turns": draw(st.sampled_from(["all", "improvised"])),
        "test_turns": draw(st.sampled_from(["all", "scripted"])),
    }


@given(manifests(), settings_of_a_fold())
@settings(max_examples=150, deadline=None)
def test_no_protocol_lets_a_test_utterance_or_unseen_speaker_into_training(records, chosen):
    try:
        split = make_split(records, **chosen)
    except DataError as error:
        assert any(one in str(error) for one in ("is empty", "groups of speakers", "on speaker"))
        return
    for held, others in ((split.test, split.train + split.dev), (split.dev, split.train)):
        assert not set(ids(held)) & set(ids(others))
    speakers = [{one.speaker for one in part} for part in split]
    random_parts = chosen["protocol"] == "sd" or chosen["base"] == "sd"
    assert random_parts or not speakers[2] & (speakers[0] | speakers[1])
    if chosen["dev"] == "speaker_disjoint":
        assert not speakers[0] & speakers[1]
    assert all(one in records for part in split for one in part)


def check_any_order(records, chosen, shuffler):
    """See that a split is the same in any order of records, and takes no global random number."""
    shuffled = list(records)
    shuffler.shuffle(shuffled)
    state = (random.getstate(), torch.get_rng_state().tolist())
    try:
        split = make_split(records, **chosen)
    except DataError:
        with pytest.raises(DataError):
            make_split(shuffled, **chosen)
        return
    assert make_split(shuffled, **chosen) == split
    assert (random.getstate(), torch.get_rng_state().tolist()) == state


@given(manifests(), settings_of_a_fold(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_same_seed_gives_the_same_split_in_any_file_order(records, chosen, shuffler):
    check_any_order(records, chosen, shuffler)


@given(manifests(), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_low_resource_draws_are_nested_and_stratified(records, draw, few, more):
    options = {"protocol": "low_resource", "fold": "fold1", "draw": draw}
    whole = make_split(records, protocol="si5", fold="fold1")
    small = make_split(records, samples_per_label=few, **options)
    large = make_split(records, samples_per_label=few + more, **options)
    assert set(ids(small.train)) <= set(ids(large.train)) <= set(ids(whole.train))
    assert (small.dev, small.test) == (large.dev, large.test) == (whole.dev, whole.test)
    for emotion in EMOTIONS:
        available = sum(one.emotion == emotion for one in whole.train)
        drawn = sum(one.emotion == emotion for one in small.train)
        assert drawn == min(few, available)


def test_draws_differ_from_one_another():
    options = {"protocol": "low_resource", "fold": "fold1", "samples_per_label": 10}
    parts = [set(ids(make_split(corpus(), draw=draw, **options).train)) for draw in range(5)]
    assert len({frozenset(part) for part in parts}) == 5


def test_the_superb_dev_set_is_the_one_of_s3prl_index_by_index():
    records = corpus()
    random.Random(3).shuffle(records)
    for number in range(1, 6):
        fold = f"fold{number}"
        split = make_split(records, protocol="si5", fold=fold, seed=7, ordered=True)
        pool = [one for one in records if one.session != f"Session{number}"]
        num_train = int((1 - 0.2) * len(pool))
        torch.manual_seed(0)
        train, dev = random_split(range(len(pool)), [num_train, len(pool) - num_train])
        assert ids(split.train) == [pool[i].id for i in train]
        assert ids(split.dev) == [pool[i].id for i in dev]
        assert ids(split.test) == [one.id for one in records if one.session == f"Session{number}"]


def test_si10_holds_out_each_speaker_once():
    held = [
        {one.speaker for one in make_split(corpus(), protocol="si10", fold=fold).test}
        for fold in folds_of(DataConfig(protocol="si10"))
    ]
    assert [len(speakers) for speakers in held] == [1] * 10
    assert len(set.union(*held)) == 10


def test_sd_is_80_10_10_within_each_emotion_and_differs_over_seeds():
    split = make_split(corpus(40), protocol="sd", fold="fold1", seed=1)
    for emotion in EMOTIONS:
        counts = [sum(one.emotion == emotion for one in part) for part in split]
        assert counts == [80, 10, 10]
    assert split != make_split(corpus(40), protocol="sd", fold="fold1", seed=2)


def test_a_speaker_disjoint_dev_set_takes_its_share_of_the_speakers():
    split = make_split(corpus(), protocol="si5", fold="fold2", dev="speaker_disjoint")
    assert len({one.speaker for one in split.dev}) == 2
    assert len({one.speaker for one in split.train}) == 6


def test_turns_choose_what_trains_and_what_tests():
    split = make_split(
        corpus(), protocol="si5", fold="fold1", train_turns="improvised", test_turns="scripted"
    )
    assert {one.turn for one in split.train + split.dev} == {"improvised"}
    assert {one.turn for one in split.test} == {"scripted"}


def test_a_speaker_in_train_and_test_is_refused_by_name():
    records = [*corpus(), utterance(99, 1)]
    stray = records[-1]
    records[-1] = Utterance(
        id=stray.id, path=stray.path, emotion="neu", speaker=stray.speaker, session="Session2"
    )
    message = r"^(train|dev) and test share speakers, which si5 forbids: Ses01_F\.$"
    with pytest.raises(DataError, match=message):
        make_split(records, protocol="si5", fold="fold1")


def test_a_file_under_two_names_is_refused():
    first = utterance(0, 1)
    second = Utterance(id="other", path=first.path, emotion="neu", speaker="B", session="Session2")
    message = r"^train and test share files, which si5 forbids: /corpus/Ses01_imp_F0000\.wav\.$"
    with pytest.raises(DataError, match=message):
        check_split(Split((second,), (), (first,)), DataConfig(protocol="si5"))


def test_the_names_in_an_overlap_are_cut_after_five():
    part = tuple(utterance(i, 1) for i in range(7))
    with pytest.raises(DataError, match=r"F0003, Ses01_imp_F0004 and 2 more\.$"):
        check_split(Split(part, (), part), DataConfig(protocol="sd"))


def test_the_same_audio_in_two_files_is_refused_whatever_the_format(tmp_path):
    noise = np.random.default_rng(0).integers(-9000, 9000, 8000).astype(np.int16)
    paths = [tmp_path / name for name in ("a.wav", "b.flac", "c.wav")]
    for path, samples in zip(paths, (noise, noise, noise[::-1]), strict=True):
        soundfile.write(path, samples, 16000)
    records = [
        Utterance(id=path.stem, path=path, emotion="neu", speaker=path.stem) for path in paths
    ]
    distinct = Split((records[0],), (), (records[2],))
    check_split(distinct, DataConfig(protocol="sd"), check_audio=True)
    overlapping = distinct._replace(test=(records[1],))
    check_split(overlapping, DataConfig(protocol="sd"))
    message = rf"^train and test share audio, which sd forbids: {paths[0]} = {paths[1]}\.$"
    with pytest.raises(DataError, match=message):
        check_split(overlapping, DataConfig(protocol="sd"), check_audio=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"protocol": "si5", "fold": "fold6"},
            "`test_fold` must be one of fold1, fold2, fold3, fold4, fold5 under the protocol si5, "
            "but is `fold6`.",
        ),
        (
            {"protocol": "mine", "fold": "fold1"},
            "`protocol` must be one of si5, si10, loso, loso-group, sd, low_resource, official, "
            "emobox, emosuperb, audb, cross, but is `mine`.",
        ),
        (
            {"protocol": "loso-group", "fold": "fold4", "groups": 3},
            "`test_fold` must be one of fold1, fold2, fold3 under the protocol loso-group, but is "
            "`fold4`.",
        ),
        (
            {"protocol": "loso", "fold": "first", "dev": "speaker_disjoint"},
            "`test_fold` must be one of fold1, fold2, ... under the protocol loso, but is `first`.",
        ),
        (
            {"protocol": "loso-group", "fold": "fold1"},
            "`dev: superb` shares speakers between train and dev, which loso-group does not: set "
            "`dev: speaker_disjoint`.",
        ),
        (
            {"protocol": "sd", "fold": "fold1", "dev": "given"},
            "`dev: given` is the dev part of a list (official, emobox, emosuperb, audb), which sd "
            "has not: set `dev` to speaker_disjoint.",
        ),
        (
            {"protocol": "si5", "fold": "fold1", "samples_per_label": 50},
            "`samples_per_label` and the protocol low_resource belong together, but protocol is "
            "`si5` and samples_per_label is 50.",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        make_split(corpus(), **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        (
            [Utterance(id="a", path=Path("/a.wav"), emotion="neu")],
            {"protocol": "si5"},
            "The protocol si5 needs the session of every utterance; a has none. Without sessions, "
            "groups of speakers can be held out (protocol loso-group, dev speaker_disjoint), or "
            "each speaker (loso).",
        ),
        (
            [utterance(0, 1)],
            {"protocol": "loso-group", "dev": "speaker_disjoint"},
            "loso-group makes 5 groups of speakers, but there are 1: lower `groups`, or take the "
            "protocol loso.",
        ),
        (
            [utterance(0, 1)],
            {"protocol": "loso", "fold": "fold7", "dev": "speaker_disjoint"},
            "fold7 of loso tests on speaker 7, but there are 1.",
        ),
        (
            [Utterance(id="a", path=Path("/a.wav"), emotion="neu")],
            {"protocol": "si10"},
            "The protocol si10 needs the speaker of every utterance; a has none.",
        ),
        (
            [Utterance(id="a", path=Path("/a.wav"), speaker="s")],
            {"protocol": "sd"},
            "Utterance a (/a.wav) has no emotion, so it has no part.",
        ),
        (
            [utterance(0, 1), utterance(0, 1)],
            {"protocol": "sd"},
            "Two utterances have the id Ses01_imp_F0000; ids must be unique.",
        ),
        (
            [utterance(0, 2), utterance(0, 3)],
            {"protocol": "si5"},
            "No utterance is of Session1, which fold1 tests on; there are: Session2, Session3.",
        ),
        (
            [utterance(0, 1)],
            {"protocol": "si10", "fold": "fold2"},
            "fold2 of si10 tests on speaker 2, but there are 1.",
        ),
        (
            [utterance(0, 1), utterance(0, 2)],
            {"protocol": "si5", "dev": "speaker_disjoint"},
            "A speaker-disjoint dev set needs two training speakers; there are 1. `dev: superb` "
            "takes a random share of the utterances instead, whose speakers train.",
        ),
        (
            [utterance(0, 1), utterance(0, 2)],
            {"protocol": "si5"},
            "The train part of si5 fold1 is empty: 2 utterances, train_turns all, test_turns all, "
            "valid_ratio 0.2.",
        ),
    ],
)
def test_records_that_cannot_be_divided_are_refused(records, options, message):
    with pytest.raises(DataError) as caught:
        make_split(records, **{"fold": "fold1", **options})
    assert str(caught.value) == message
