"""Folds that others publish, held-out sentences, several corpora: no leak, or one that is told."""

import itertools
import re

import pytest
from acted_corpora import acted, utterance, values
from hypothesis import given, settings
from hypothesis import strategies as st
from made_splits import make_split
from test_protocols import check_any_order

from spknorm.corpora.records import EMOTIONS
from spknorm.errors import ConfigError, DataError
from spknorm.protocols import cross_split, folds_of, in_common, renamed
from spknorm.schema import DataConfig


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
    folds = folds_of(DataConfig(protocol=protocol, groups=groups, unseen=unseen)) or ("fold1",)
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
    check_any_order(records, chosen, shuffler)


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
        for fold in folds_of(DataConfig(protocol="loso-group", groups=4, unseen="sentences"))
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
        check_split(split, DataConfig(protocol="cross"), dev="speaker_disjoint")
