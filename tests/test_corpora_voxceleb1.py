"""VoxCeleb1's layout and its identification split list, against s3prl's own reading of it."""

import importlib

import pytest

from spknorm.corpora.reading import read_corpus
from spknorm.corpora.voxceleb1 import read_voxceleb1
from spknorm.errors import DataError, MissingError
from spknorm.schema import ExpertConfig, SpeakerCorpusConfig

LISTED = (
    "1 id10002/abc_-1/00001.wav\n"
    "3 id10001/x/00002.wav\n"
    "2 id10001/x/00001.wav\n"
    "1 id10270/y/00001.wav\n"
)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "vox"
    for name in (
        "dev/wav/id10001/x/00001.wav",
        "dev/wav/id10001/x/00002.wav",
        "dev/wav/id10002/abc_-1/00001.wav",
        "test/wav/id10270/y/00001.wav",
        "test/wav/id10270/y/._00001.wav",
        "test/wav/id10270/y/notes.txt",
        "dev/wav/notes/x/00001.wav",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"sound")
    (root / "iden_split.txt").write_text(LISTED)
    return root


def test_the_list_gives_order_and_split_and_the_folder_the_speaker(tree):
    records = read_voxceleb1(tree)
    assert [(one.id, one.speaker, one.split) for one in records] == [
        ("id10002/abc_-1/00001", "id10002", "train"),
        ("id10001/x/00002", "id10001", "test"),
        ("id10001/x/00001", "id10001", "dev"),
        ("id10270/y/00001", "id10270", "train"),
    ]
    assert records[3].path == tree / "test/wav/id10270/y/00001.wav"
    assert records[0].labels == {"video": "abc_-1"}
    assert records[0].emotion is None


def test_the_splits_equal_s3prls(tree, tmp_path, monkeypatch):
    importlib.import_module("spknorm.compat")
    dataset = importlib.import_module("s3prl.downstream.voxceleb1.dataset")
    monkeypatch.setattr(dataset, "CACHE_PATH", str(tmp_path / "cache"))
    ours = read_voxceleb1(tree)
    for split in ("train", "dev", "test"):
        theirs = dataset.SpeakerClassifiDataset(split, tree, tree / "iden_split.txt")
        assert theirs.dataset == [str(one.path) for one in ours if one.split == split]


def test_a_list_may_be_named_or_be_called_as_s3prl_calls_it(tree, tmp_path):
    elsewhere = tmp_path / "list.txt"
    (tree / "iden_split.txt").rename(elsewhere)
    assert len(read_voxceleb1(tree, split_file=elsewhere)) == 4
    section = SpeakerCorpusConfig(root=str(tree), meta_data=str(elsewhere))
    assert len(read_corpus(ExpertConfig(speaker_corpus=section), "speaker")) == 4
    elsewhere.rename(tree / "veri_test_class.txt")
    assert read_voxceleb1(tree)[0].split == "train"
    with pytest.raises(MissingError) as error:
        read_voxceleb1(tree, split_file=elsewhere)
    assert str(error.value) == f"There is no VoxCeleb1 identification split list {elsewhere}."


def test_without_a_list_every_file_is_taken_in_order(tree):
    (tree / "iden_split.txt").unlink()
    records = read_voxceleb1(tree)
    assert [one.id for one in records] == [
        "id10001/x/00001",
        "id10001/x/00002",
        "id10002/abc_-1/00001",
        "id10270/y/00001",
    ]
    assert {one.split for one in records} == {None}


def test_a_folder_of_speakers_without_dev_and_test_will_do(tree, tmp_path):
    (tmp_path / "part").mkdir()
    (tree / "dev/wav").rename(tmp_path / "part/wav")
    assert len(read_voxceleb1(tmp_path / "part")) == 3


def test_a_part_of_the_corpus_is_used_and_told(tree, caplog):
    (tree / "test/wav/id10270/y/00001.wav").unlink()
    assert len(read_voxceleb1(tree)) == 3
    assert caplog.messages[1:] == [
        f"1 of the 4 utterances in {tree / 'iden_split.txt'} are not under {tree} and are left out"
    ]
    assert caplog.messages[0] == (
        f"3 files under {tree} are not taken: 1 not where the corpus has its recordings, 1 hidden "
        "(`._x.wav`, `.DS_Store`), 1 .txt"
    )


def test_a_list_of_another_corpus_is_refused(tree):
    (tree / "iden_split.txt").write_text("1 id99999/x/00001.wav\n")
    with pytest.raises(DataError) as error:
        read_voxceleb1(tree)
    assert str(error.value) == (
        f"None of the 1 utterances in {tree / 'iden_split.txt'} is under {tree}."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("4 id10001/x/00001.wav", "but found '4 id10001/x/00001.wav'"),
        ("1 ../../x/00001.wav", "but found '1 ../../x/00001.wav'"),
        ("1 id10001/../00001.wav", "but found '1 id10001/../00001.wav'"),
        ("1 id10001/x/..", "but found '1 id10001/x/..'"),
        ("id10001/x/00001.wav", "but found 'id10001/x/00001.wav'"),
        (
            "1 id10001/x/00001.wav\n2 id10001/x/00001.wav",
            "line 2: id10001/x/00001.wav is listed more than once",
        ),
    ],
)
def test_a_malformed_line_is_named(tree, content, said):
    file = tree / "iden_split.txt"
    file.write_text(content + "\n")
    with pytest.raises(DataError) as error:
        read_voxceleb1(tree)
    assert str(error.value).startswith(f"1 lines of {file} cannot be used:\n  line ")
    assert said in str(error.value)


def test_an_empty_list_is_refused(tree):
    (tree / "iden_split.txt").write_text("\n\n")
    with pytest.raises(DataError) as error:
        read_voxceleb1(tree)
    assert str(error.value) == f"{tree / 'iden_split.txt'} lists no utterance."


def test_a_tree_that_is_not_voxceleb1_is_refused(tmp_path):
    with pytest.raises(MissingError) as error:
        read_voxceleb1(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} is not VoxCeleb1: it has none of the folders dev/wav, test/wav and wav."
    )
    (tmp_path / "dev/wav").mkdir(parents=True)
    with pytest.raises(MissingError) as error:
        read_voxceleb1(tmp_path)
    assert str(error.value) == f"No audio lies under {tmp_path / 'dev/wav'}."
