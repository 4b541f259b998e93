"""IEMOCAP's release layout and s3prl's fold JSON, against s3prl's own generator and loader."""

import importlib
import json
import os
import time
from collections import Counter

import pytest
from iemocap_trees import HEADER, write_dialogue, write_iemocap
from made_splits import make_split
from small_iemocap import read_corpus, small_tree  # noqa: F401 (fixture)

from spknorm.corpora.folds import write_folds
from spknorm.corpora.iemocap import COUNTS, check_counts, is_full, parse_name, read_iemocap
from spknorm.corpora.records import EMOTIONS
from spknorm.errors import DataError, MissingError

TEST_SIZES = (1085, 1023, 1151, 1031, 1241)


FOLDS = tuple(f"fold{number}" for number in range(1, 6))


@pytest.fixture(scope="module")
def full_tree(tmp_path_factory):
    return write_iemocap(tmp_path_factory.mktemp("full"))


@pytest.fixture
def sorted_listing(monkeypatch):
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda *where: sorted(listdir(*where)))


def test_the_full_corpus_is_read_folded_and_checked(full_tree, caplog):
    start = time.process_time()  # of this process alone: the machine may be busy
    records = read_corpus(full_tree)
    splits = [make_split(records, protocol="si5", fold=fold) for fold in FOLDS]
    assert time.process_time() - start < 30
    assert caplog.records == []
    assert len(records) == 5531
    assert is_full(records)
    assert check_counts(records) == []
    assert tuple(len(split.test) for split in splits) == TEST_SIZES
    for split in splits:
        ids = [one.id for part in (split.train, split.dev, split.test) for one in part]
        assert len(set(ids)) == 5531
        trained = {one.speaker for one in (*split.train, *split.dev)}
        assert trained.isdisjoint(one.speaker for one in split.test)
        assert len(trained) == 8


def test_the_counts_are_those_of_the_literature():
    assert sum(map(sum, COUNTS.values())) == 5531
    assert tuple(map(sum, COUNTS.values())) == TEST_SIZES


def test_the_folds_equal_s3prls_own_generator_under_a_sorted_listing(
    small_tree, tmp_path, sorted_listing
):
    from s3prl.downstream.emotion import IEMOCAP_preprocess

    IEMOCAP_preprocess.main(str(small_tree))
    written = write_folds(small_tree, tmp_path / "ours")
    assert len(written) == 10
    for path in written:
        theirs = small_tree / "meta_data" / path.relative_to(tmp_path / "ours")
        assert json.loads(path.read_text()) == json.loads(theirs.read_text())


def test_the_full_folds_equal_s3prls_own_generator(full_tree, tmp_path, sorted_listing):
    from s3prl.downstream.emotion import IEMOCAP_preprocess

    out = tmp_path / "test.json"
    IEMOCAP_preprocess.preprocess(str(full_tree), ["Session1", "Session3"], str(out))
    expected = [item["path"] for item in json.loads(out.read_text())["meta_data"]]
    records = read_iemocap(full_tree)
    found = [one for one in records if one.session in ("Session1", "Session3")]
    assert [one.path.relative_to(full_tree).as_posix() for one in found] == expected


def test_train_and_dev_equal_s3prls_emotion_expert_index_by_index(full_tree, tmp_path):
    importlib.import_module("spknorm.compat")
    expert_class = importlib.import_module("s3prl.downstream.emotion.expert").DownstreamExpert
    write_folds(full_tree, tmp_path / "meta_data")
    for fold in FOLDS:
        data = {
            "root": str(full_tree),
            "meta_data": str(tmp_path / "meta_data"),
            "test_fold": fold,
            "valid_ratio": 0.2,
            "pre_load": False,
        }
        model = {
            "projector_dim": 4,
            "select": "UtteranceLevel",
            "UtteranceLevel": {"pooling": "MeanPooling"},
        }
        config = {"datarc": data, "modelrc": model}
        expert = expert_class(upstream_dim=4, downstream_expert=config, expdir=str(tmp_path))
        records = read_corpus(full_tree, meta_data=tmp_path / "meta_data", test_fold=fold)
        split = make_split(records, protocol="si5", fold=fold, ordered=True)
        for ours, theirs in ((split.train, expert.train_dataset), (split.dev, expert.dev_dataset)):
            items = theirs.dataset.meta_data
            expected = [(items[index]["path"], items[index]["label"]) for index in theirs.indices]
            found = [(one.path.relative_to(full_tree).as_posix(), one.emotion) for one in ours]
            assert found == expected


def test_what_a_name_says():
    assert parse_name("Ses01F_impro01_M013") == ("Session1", "Ses01_M", "improvised")
    assert parse_name("Ses05M_script01_1b_F003") == ("Session5", "Ses05_F", "scripted")
    assert parse_name("Ses03M_impro05a_MXX0") == ("Session3", "Ses03_M", "improvised")


def test_speakers_turns_and_sessions_come_from_the_names(small_tree):
    records = read_iemocap(small_tree)
    assert {one.speaker for one in records} == {
        f"Ses0{number}_{letter}" for number in range(1, 6) for letter in "FM"
    }
    assert {one.turn for one in records} == {"improvised", "scripted"}
    for one in records:
        assert one.id == one.path.stem
        assert one.speaker == f"{one.id[:5]}_{one.id.split('_')[-1][0]}"
        assert one.session == f"Session{one.id[4]}"
        assert one.path.is_file()
        assert one.path.is_absolute()


def test_excited_counts_as_happy_and_other_emotions_are_left_out(tmp_path):
    emotions = ["neu", "exc", "fru", "hap", "ang", "xxx", "sad", "oth", "sur", "dis", "fea"]
    write_dialogue(tmp_path, "Session1", "Ses01F_impro01", emotions, b"sound")
    found = [one.emotion for one in read_iemocap(tmp_path)]
    assert found == ["neu", "hap", "hap", "ang", "sad"]


def test_files_of_other_systems_are_passed_over(small_tree):
    labels = small_tree / "Session1/dialog/EmoEvaluation"
    (labels / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07[\xff")
    (labels / "Attribute").mkdir()
    wavs = small_tree / "Session1/sentences/wav/Ses01F_impro01"
    (wavs / "._Ses01F_impro01_F000.wav").write_bytes(b"\x00\x05")
    (small_tree / "Documentation").mkdir()
    assert len(read_iemocap(small_tree)) == 5 * 18


def test_lines_end_as_on_any_system_and_comments_may_be_of_any_encoding(small_tree):
    before = read_iemocap(small_tree)
    for file in small_tree.glob("Session*/dialog/EmoEvaluation/*.txt"):
        text = file.read_text(encoding="utf-8").encode("latin-1")
        file.write_bytes(text.replace(b"\n", b"\r\n"))
    assert read_iemocap(small_tree) == before


def test_labelled_utterances_without_sound_are_told(small_tree, caplog):
    gone = small_tree / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav"
    labels = small_tree / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    text = labels.read_text().splitlines(keepends=True)
    text[2] = text[2].replace(text[2].split("\t")[2], "ang")
    labels.write_text("".join(text))
    before = len(read_iemocap(small_tree))
    gone.unlink()
    assert len(read_iemocap(small_tree)) == before - 1
    assert caplog.messages == [
        "1 labelled utterances of IEMOCAP have no sound file and are left out, "
        "the first: Ses02F_impro01_F000"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "[1.0 - 2.0] Ses01F_impro01_F000 neu",
            "expected `[start - end]`, name and emotion between tabs, but found "
            "'[1.0 - 2.0] Ses01F_impro01_F000 neu'",
        ),
        (
            "[x - y]\tSes01F_impro01_F000\tneu\t[1, 1, 1]",
            "expected `[start - end]`, name and emotion between tabs, but found "
            "'[x - y]\\tSes01F_impro01_F000\\tneu\\t[1, 1, 1]'",
        ),
        (
            "[1.0 - 2.0]\tSes01F_impro01_F000\tglad\t[1, 1, 1]",
            "unknown emotion `glad`, IEMOCAP has neu, hap, ang, sad, exc, dis, fea, fru, oth, "
            "sur, xxx",
        ),
        (
            "[1.0 - 2.0]\tF000\tneu\t[1, 1, 1]",
            "`F000` is not an IEMOCAP name such as Ses01F_impro01_M013",
        ),
        (
            "[1.0 - 2.0]\tSes02F_impro01_F000\tneu\t[1, 1, 1]",
            "`Ses02F_impro01_F000` lies under Session1",
        ),
    ],
)
def test_a_line_that_is_not_as_released_is_named(small_tree, line, said):
    file = small_tree / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    file.write_text(HEADER + line + "\n")
    with pytest.raises(DataError) as error:
        read_iemocap(small_tree)
    assert str(error.value) == (
        f"1 lines of IEMOCAP are not as released:\n  {file}, line 3: {said}"
    )


def test_at_most_20_lines_are_named(small_tree):
    file = small_tree / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    file.write_text("[bad\n" * 50)
    with pytest.raises(DataError) as error:
        read_iemocap(small_tree)
    lines = str(error.value).splitlines()
    assert lines[0] == "50 lines of IEMOCAP are not as released:"
    assert len(lines) == 22
    assert lines[-1] == "  ... and 30 more"


def test_a_tree_that_is_not_iemocap_is_refused(tmp_path):
    for root, said in (
        (tmp_path / "no", f"The IEMOCAP root {tmp_path / 'no'} cannot be read: No such file or "),
        (
            tmp_path,
            f"{tmp_path} is not an IEMOCAP release: it has no folder Session1 ... Session5.",
        ),
    ):
        with pytest.raises(MissingError) as error:
            read_iemocap(root)
        assert str(error.value).startswith(said)
    write_iemocap(tmp_path / "IEMOCAP_full_release", {"Session1": (1, 1, 1, 1)})
    with pytest.raises(MissingError) as error:
        read_iemocap(tmp_path)
    assert str(error.value).endswith(f"Did you mean {tmp_path / 'IEMOCAP_full_release'}?")


@pytest.mark.parametrize("part", ["dialog/EmoEvaluation", "sentences/wav"])
def test_a_session_that_lacks_a_part_is_named(small_tree, part):
    (small_tree / "Session3" / part).rename(small_tree / "elsewhere")
    with pytest.raises(MissingError) as error:
        read_iemocap(small_tree)
    assert str(error.value).endswith(f"missing: no folder {small_tree / 'Session3' / part}.")


def test_a_full_tree_with_other_counts_is_told_exactly(full_tree, caplog):
    records = read_iemocap(full_tree)
    first = next(one for one in records if one.session == "Session4" and one.emotion == "sad")
    different = [one for one in records if one is not first]
    assert check_counts(different) == ["Session4 has 142 utterances of `sad` instead of 143"]


def test_other_counts_are_a_warning_of_the_reader(tmp_path, caplog):
    counts = {**COUNTS, "Session5": (384, 440, 170, 245)}
    read_corpus(write_iemocap(tmp_path, counts))
    assert caplog.messages == [
        "This IEMOCAP differs from the corpus of the literature (5531 utterances), so results do "
        "not compare with it: Session5 has 440 utterances of `hap` instead of 442"
    ]


def test_parts_and_demos_are_not_compared_with_the_full_corpus(small_tree, full_tree):
    assert check_counts(read_iemocap(small_tree)) == []
    four_sessions = [one for one in read_iemocap(full_tree) if one.session != "Session5"]
    assert not is_full(four_sessions)
    assert check_counts(four_sessions) == []


def test_class_counts_of_the_written_tree_are_right(full_tree):
    found = Counter((one.session, one.emotion) for one in read_iemocap(full_tree))
    for session, counts in COUNTS.items():
        assert tuple(found[session, emotion] for emotion in EMOTIONS) == counts
