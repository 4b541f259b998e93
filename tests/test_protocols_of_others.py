"""Folds that others publish are taken as they are, and refused where they leak."""

import dataclasses
import json

import pytest
from acted_corpora import acted, utterance, values
from made_splits import make_split

from spknorm.corpora.records import Utterance
from spknorm.errors import DataError, MissingError
from spknorm.protocols import Split, check_split, divide, folds_of
from spknorm.protocols.owners import num_folds
from spknorm.schema import DataConfig

OFFICIAL = DataConfig(protocol="official")


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
    split, splitting = divide(official(), OFFICIAL, fold="fold1", dev="given", seed=0)
    assert [len(part) for part in split] == [20, 10, 20]
    assert (splitting.dev, splitting.leaks) == ("given", ())
    again = make_split(official(), protocol="official", fold="fold1", dev="speaker_disjoint")
    assert {u.id for u in again.test} == {u.id for u in split.test}
    assert len(values(again.dev, "speaker")) == 1


def test_a_given_split_that_leaks_is_refused_by_the_names_of_the_speakers():
    with pytest.raises(DataError) as caught:
        make_split(official(3), protocol="official", fold="fold1", dev="given")
    said = str(caught.value)
    assert said.startswith(
        "train and test of the protocol official share 3 speakers: Speaker0, Speaker1, Speaker2."
    )
    assert "`downstream_expert.datarc.allow_leak` to true" in said
    leaking = dataclasses.replace(OFFICIAL, allow_leak=True)
    _, splitting = divide(official(3), leaking, fold="fold1", dev="given", seed=0)
    assert splitting.leaks == (
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
    folds = folds_of(DataConfig(protocol="emosuperb", corpus="crema_d"))
    assert folds == tuple(f"fold{n}" for n in range(1, 6))


def test_audbs_split_of_ravdess_is_16_4_4_actors_and_emodbs_has_no_dev_part():
    actors = [utterance(f"{n:02d}", f"ravdess_{n:02d}") for n in range(1, 25)]
    split = make_split(actors, protocol="audb", fold="fold1", dev="given", corpus="ravdess")
    assert [len(part) for part in split] == [16, 4, 4]
    names = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    berlin = [utterance(name, f"emodb_{name}") for name in names]
    audb = DataConfig(protocol="audb", corpus="emodb")
    split, splitting = divide(berlin, audb, fold="fold1", dev="given", seed=0)
    assert [len(part) for part in split] == [5, 1, 4]
    assert splitting.dev == "speaker_disjoint"


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


def test_speakers_that_differ_in_capitals_alone_are_told(caplog):
    names = {"train": ["Anna", "ben"], "dev": ["cleo"], "test": ["anna ", "dora", "CLEO"]}
    parts = [
        tuple(utterance(f"{part}{place}", name) for place, name in enumerate(names[part]))
        for part in ("train", "dev", "test")
    ]
    check_split(Split(*parts), DataConfig(protocol="si5"))
    assert caplog.messages == [
        "2 test speakers differ from training ones in capitals or spaces alone (`CLEO` and `cleo`, "
        "`anna ` and `Anna`): if they are the same people, write them alike, or the test is not on "
        "unseen speakers."
    ]
    caplog.clear()
    check_split(Split(parts[0], parts[1], parts[2][1:2]), DataConfig(protocol="si5"))
    assert caplog.messages == []
