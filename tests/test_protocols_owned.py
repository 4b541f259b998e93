"""Folds that others publish, held-out sentences, several corpora: no leak, or one that is told."""

import itertools
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spknorm.corpora.records import EMOTIONS, Utterance
from spknorm.errors import ConfigError, DataError, MissingError
from spknorm.protocols import cross_split, divide, folds_of, in_common, make_split, renamed
from spknorm.protocols.owners import num_folds, owners_of


def utterance(name, speaker, emotion="neu", **known):
    return Utterance(
        id=name, path=Path(f"/corpus/{name}.wav"), emotion=emotion, speaker=speaker, **known
    )


def acted(speakers=8, sentences=6, emotions=EMOTIONS, sessions=5):
    """Everybody says every sentence in every emotion, as acted corpora have it."""
    return [
        utterance(
            f"{speaker:02d}-{sentence}-{emotion}",
            f"c_{speaker:02d}",
            emotion,
            sentence=f"text{sentence}",
            session=f"Session{speaker % sessions + 1}",
        )
        for speaker, sentence, emotion in itertools.product(
            range(speakers), range(sentences), emotions
        )
    ]


def values(part, column):
    return {one.label(column) for one in part}


@st.composite
def corpora(draw):
    """Any corpus: who says what in which emotion, with given parts, in any order."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 7), st.integers(0, 5), st.sampled_from(EMOTIONS),
                st.sampled_from(["train", "dev", "test"]),
            ),
            min_size=8, max_size=60,
        )
    )  # fmt: skip
    return [
        utterance(
            f"u{place:03d}", f"s{speaker}", emotion, sentence=f"t{text}", split=part,
            session=f"Session{speaker % 5 + 1}",
        )
        for place, (speaker, text, emotion, part) in enumerate(rows)
    ]  # fmt: skip


@st.composite
def protocols(draw):
    protocol = draw(
        st.sampled_from(["si5", "si10", "loso", "loso-group", "sd", "official", "low_resource"])
    )
    ours = protocol not in ("sd", "official")
    groups = draw(st.integers(2, 4))
    unseen = draw(st.sampled_from(["speakers", "sentences", "both"])) if ours else "speakers"
    folds = folds_of(protocol, groups=groups, unseen=unseen) or ("fold1",)
    return {
        "protocol": protocol,
        "unseen": unseen,
        "groups": groups,
        "fold": draw(st.sampled_from(folds)),
        "dev": draw(st.sampled_from(["speaker_disjoint", *(["given"] if not ours else [])]))
        if protocol == "official"
        else "speaker_disjoint",
        "samples_per_label": 3 if protocol == "low_resource" else None,
        "seed": draw(st.integers(0, 2)),
    }


@given(corpora(), protocols())
@settings(max_examples=300, deadline=None)
def test_no_corpus_and_no_protocol_leaks_what_it_says_is_unseen(records, chosen):
    try:
        split = make_split(records, **chosen)
    except DataError:
        return  # too few speakers or sentences, or a given split that leaks: refused
    parts = [*split]
    for one, other in itertools.combinations(parts, 2):
        assert not {u.id for u in one} & {u.id for u in other}
    trained = (*split.train, *split.dev)
    if chosen["protocol"] != "sd":
        if chosen["unseen"] in ("speakers", "both"):
            assert not values(split.test, "speaker") & values(trained, "speaker")
        if chosen["unseen"] in ("sentences", "both"):
            assert not values(split.test, "sentence") & values(trained, "sentence")
    if chosen["dev"] == "speaker_disjoint":
        assert not values(split.dev, "speaker") & values(split.train, "speaker")


@given(corpora(), protocols(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_folds_are_the_same_on_any_machine_and_in_any_file_order(records, chosen, shuffler):
    shuffled = list(records)
    shuffler.shuffle(shuffled)
    state = random.getstate()
    try:
        split = make_split(records, **chosen)
    except DataError:
        with pytest.raises(DataError):
            make_split(shuffled, **chosen)
        return
    assert make_split(shuffled, **chosen) == split
    assert random.getstate() == state


def test_folds_do_not_depend_on_the_machine():
    """What this machine says, by name: hashes and whole numbers alone decide."""
    records = acted()
    said = {}
    for unseen in ("speakers", "sentences", "both"):
        split = make_split(
            records, protocol="loso-group", fold="fold2", groups=3, unseen=unseen,
            dev="speaker_disjoint",
        )  # fmt: skip
        said[unseen] = [
            sorted(values(part, column)) for part in split for column in ("speaker", "sentence")
        ]
    assert said["both"][4] == said["speakers"][4]
    assert said["both"][5] == said["sentences"][5]
    assert said["speakers"][4] == TEST_SPEAKERS
    assert said["sentences"][5] == TEST_SENTENCES


TEST_SPEAKERS = ["c_00", "c_03", "c_05"]
TEST_SENTENCES = ["text1", "text2"]


def test_held_out_sentences_are_tested_by_known_speakers_and_both_by_strangers():
    options = {"protocol": "loso-group", "groups": 2, "fold": "fold1", "dev": "speaker_disjoint"}
    sentences = make_split(acted(), unseen="sentences", **options)
    assert len(values(sentences.test, "speaker")) == 8
    assert len(values(sentences.test, "sentence")) == 3
    both = make_split(acted(), unseen="both", **options)
    assert len(values(both.test, "speaker")) == 4
    assert len(both.test) == 4 * 3 * 4
    assert len(both.train) + len(both.dev) == 4 * 3 * 4  # a half is in neither


def test_every_sentence_is_tested_once():
    options = {"protocol": "loso-group", "groups": 4, "unseen": "sentences"}
    tested = [
        values(make_split(acted(), fold=fold, dev="speaker_disjoint", **options).test, "sentence")
        for fold in folds_of("loso-group", groups=4, unseen="sentences")
    ]
    assert sum(map(len, tested)) == len(set.union(*tested)) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"protocol": "sd", "unseen": "sentences"},
            "`unseen: sentences` has no effect under the protocol sd",
        ),
        ({"protocol": "emosuperb", "corpus": "tess"}, "emosuperb is known for crema_d, iemocap"),
        (
            {"protocol": "audb", "corpus": "ravdess", "fold": "fold2", "dev": "given"},
            "must be one of fold1 ... fold1 under the protocol audb on ravdess, but is `fold2`",
        ),
    ],
)
def test_what_a_protocol_cannot_do_is_refused(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_split(acted(), **{"fold": "fold1", **options})


def test_sentences_that_are_not_known_are_asked_for():
    records = [utterance(str(n), f"s{n % 4}") for n in range(20)]
    with pytest.raises(DataError, match="need the sentence of every utterance; 0 has none"):
        make_split(records, protocol="loso", fold="fold1", unseen="both", dev="speaker_disjoint")


def official(share=0):
    """Ten speakers in given parts; `share` of the four test speakers train, too."""
    records = []
    for number in range(10):
        part = "test" if number < 4 else "dev" if number < 6 else "train"
        records += [
            utterance(f"{number}-{k}", f"Speaker{number}", split=part, part=part.title())
            for k in range(5)
        ]
    records += [
        utterance(f"{number}-extra", f"Speaker{number}", split="train", part="Train")
        for number in range(share)
    ]
    return records


def test_the_corpus_own_parts_are_taken_as_they_are():
    divided = divide(official(), protocol="official", fold="fold1", dev="given")
    assert [len(part) for part in divided.split] == [20, 10, 20]
    assert (divided.dev, divided.leaks) == ("given", ())
    again = make_split(official(), protocol="official", fold="fold1", dev="speaker_disjoint")
    assert {u.id for u in again.test} == {u.id for u in divided.split.test}
    assert len(values(again.dev, "speaker")) == 1


def test_a_given_split_that_leaks_is_refused_by_the_names_of_the_speakers():
    with pytest.raises(DataError) as caught:
        make_split(official(3), protocol="official", fold="fold1", dev="given")
    said = str(caught.value)
    assert said.startswith(
        "train and test of the protocol official share 3 speakers: Speaker0, Speaker1, Speaker2."
    )
    assert "`downstream_expert.datarc.allow_leak` to true" in said
    divided = divide(official(3), protocol="official", fold="fold1", dev="given", allow_leak=True)
    assert divided.leaks == (
        "3 of 4 test speakers also train, in 15 of 20 test utterances: Speaker0, Speaker1, "
        "Speaker2",
    )


def test_what_is_allowed_is_a_known_speaker_and_never_a_known_recording():
    records = official(1)
    twice = utterance("other", "Speaker9", split="test", part="Test")
    records.append(Utterance(**{**vars(twice), "path": records[-1].path}))
    with pytest.raises(DataError, match="train and test share files"):
        make_split(records, protocol="official", fold="fold1", dev="given", allow_leak=True)


def test_several_test_parts_are_several_folds():
    records = official()
    records += [utterance(f"late-{k}", "Late", split="test", part="Test2") for k in range(3)]
    first, second = (
        make_split(records, protocol="official", fold=f"fold{n}", dev="given") for n in (1, 2)
    )
    assert values(second.test, "speaker") == {"Late"}
    assert first.train == second.train
    assert not {u.id for u in first.test} & {u.id for u in second.test}
    with pytest.raises(DataError, match="which has 2: Test, Test2"):
        make_split(records, protocol="official", fold="fold3", dev="given")


def test_emosuperbs_folds_are_by_session_and_by_actor():
    records = acted(speakers=10)
    split = make_split(records, protocol="emosuperb", fold="fold1", dev="given", corpus="iemocap")
    assert values(split.test, "session") == {"Session4"}
    assert values(split.dev, "session") == {"Session5"}
    assert values(split.train, "session") == {"Session1", "Session2", "Session3"}
    actors = [utterance(str(n), f"crema_d_{n}") for n in range(1001, 1092)]
    tested = []
    for number in range(1, num_folds("emosuperb", "crema_d") + 1):
        split = make_split(
            actors, protocol="emosuperb", fold=f"fold{number}", dev="given", corpus="crema_d"
        )
        tested += [one.speaker for one in split.test]
        assert len(split.test) + len(split.dev) + len(split.train) == 91
    assert sorted(tested) == [one.speaker for one in actors]
    assert owners_of("crema_d") == ("emosuperb", "audb")
    assert folds_of("emosuperb", corpus="crema_d") == tuple(f"fold{n}" for n in range(1, 6))


def test_audbs_split_of_ravdess_is_16_4_4_actors_and_emodbs_has_no_dev_part():
    actors = [utterance(f"{n:02d}", f"ravdess_{n:02d}") for n in range(1, 25)]
    split = make_split(actors, protocol="audb", fold="fold1", dev="given", corpus="ravdess")
    assert [len(part) for part in split] == [16, 4, 4]
    names = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    berlin = [utterance(name, f"emodb_{name}") for name in names]
    divided = divide(berlin, protocol="audb", fold="fold1", dev="given", corpus="emodb")
    assert [len(part) for part in divided.split] == [5, 1, 4]
    assert divided.dev == "speaker_disjoint"


def lists(folder, corpus, parts, number=1):
    for part, entries in parts.items():
        path = folder / f"fold_{number}" / f"{corpus}_{part}_fold_{number}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"key": key, "wav": wav}) for key, wav in entries]
        path.write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("corpus", "make"),
    [
        ("ravdess", lambda s, n: (f"03-01-0{n}-{s:02d}", f"ravdess-03-01-0{n}-{s:02d}", "")),
        ("cremad", lambda s, n: (f"10{s:02d}_DFA_ANG_X{n}", f"cremad-10{s:02d}-DFA-ANG-X{n}", "")),
        ("casia", lambda s, n: (f"p{s}_angry_{200 + n}", f"casia-{200 + n}-p{s}-angry", "")),
        ("aesdd", lambda s, n: (f"a0{n} ({s})", f"aesdd-a0{n}-{s}", f"x/anger/a0{n} ({s}).wav")),
    ],
)  # fmt: skip
def test_emoboxs_lists_are_found_by_the_names_of_the_utterances(corpus, make, tmp_path, caplog):
    records, entries = [], {}
    for speaker in range(1, 5):
        for number in range(1, 4):
            name, key, wav = make(speaker, number)
            records.append(utterance(name, f"s{speaker}"))
            part = {1: "test", 2: "valid"}.get(speaker, "train")
            entries.setdefault(part, []).append((key, wav))
    entries["train"].append((f"{corpus}-gone-99", ""))
    folder = lists(tmp_path / corpus, corpus, entries)
    options = {"protocol": "emobox", "fold": "fold1", "fold_lists": str(folder)}
    split = make_split(records, dev="given", **options)
    assert [len(part) for part in split] == [6, 3, 3]
    assert values(split.test, "speaker") == {"s1"}
    assert "1 of 13 listed utterances are not in the corpus" in caplog.text
    with pytest.raises(MissingError, match=r"has no list fold_2/<corpus>_test_fold_2\.jsonl"):
        make_split(records, dev="given", **{**options, "fold": "fold2"})


def test_emoboxs_lists_that_mix_speakers_are_refused_and_test_lists_alone_leave_the_rest_to_train(
    tmp_path,
):
    records = [utterance(f"03a0{n}W{k}", f"emodb_{n}") for n in range(4) for k in "abc"]
    every = [(f"emodb-{one.id}", "") for one in records]
    mixed = lists(tmp_path / "mixed", "emodb", {"train": every[1:], "test": every[:1]})
    options = {"protocol": "emobox", "fold": "fold1", "dev": "given"}
    with pytest.raises(DataError, match=r"share 1 speakers: emodb_0\."):
        make_split(records, fold_lists=str(mixed), **options)
    alone = lists(tmp_path / "alone", "esd", {"test": every[:3]})
    split = make_split(records, fold_lists=str(alone), **options)
    assert [len(part) for part in split] == [6, 3, 3]
    others = [utterance(f"other{n}", f"s{n}") for n in range(5)]
    with pytest.raises(DataError, match="are these the lists of this corpus"):
        make_split(others, fold_lists=str(mixed), **options)


def two_corpora():
    sources = {"a": renamed(acted(6), "a"), "b": renamed(acted(4, emotions=EMOTIONS[:3]), "b")}
    return sources, {"t": renamed(acted(3), "t")}


def test_cross_trains_and_validates_on_sources_alone_with_their_people_apart():
    sources, tested = two_corpora()
    names, kept = in_common(sources | tested)
    assert names == EMOTIONS[:3]
    split = cross_split(
        {name: kept[name] for name in sources},
        {name: kept[name] for name in tested},
        dev="speaker_disjoint",
        valid_ratio=0.25,
        seed=0,
    )
    prefixes = [{one.id.partition(":")[0] for one in part} for part in split]
    assert prefixes == [{"a", "b"}, {"a", "b"}, {"t"}]
    assert not values(split.dev, "speaker") & values(split.train, "speaker")
    assert len(values(split.test, "speaker")) == 3
    assert {one.emotion for one in split.test} == set(EMOTIONS[:3])


def test_corpora_without_two_classes_in_common_are_refused_with_what_each_has():
    corpora_ = {"a": acted(2, emotions=("neu", "hap")), "b": acted(2, emotions=("hap", "sad"))}
    with pytest.raises(DataError, match=r"a has neu, hap; b has hap, sad\."):
        in_common(corpora_)


def test_corpora_of_the_same_people_do_not_test_whom_they_train_on():
    from spknorm.protocols import check_split

    speech = renamed([utterance(f"{n}", f"ravdess_{n:02d}") for n in range(1, 7)], "ravdess")
    song = renamed(
        [utterance(f"{n}", f"ravdess_song_{n:02d}") for n in range(1, 7)], "ravdess_song"
    )
    split = cross_split(
        {"ravdess": speech}, {"ravdess_song": song}, dev="speaker_disjoint", valid_ratio=0.2, seed=0
    )
    with pytest.raises(DataError, match="share speakers, which cross forbids: ravdess:01"):
        check_split(split, protocol="cross", dev="speaker_disjoint")
