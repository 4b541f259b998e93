"""LibriSpeech's layout."""

import pytest
from corpus_files import read_tree

from spknorm.errors import MissingError

FILES = (
    "dev-clean/84/121123/84-121123-0000.flac",
    "train-clean-100/103/1240/103-1240-0001.flac",
    "train-clean-100/103/1240/103-1240-0000.flac",
    "train-clean-100/26/495/26-495-0000.flac",
)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "LibriSpeech"
    for name in (*FILES, "train-clean-100/103/1240/103-1240.trans.txt", "SPEAKERS.TXT"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"sound")
    return root


def test_the_speaker_is_the_first_part_below_the_subset(tree):
    records = read_tree(tree, "librispeech")
    assert [(one.id, one.speaker, one.labels["subset"]) for one in records] == [
        ("84-121123-0000", "84", "dev-clean"),
        ("103-1240-0000", "103", "train-clean-100"),
        ("103-1240-0001", "103", "train-clean-100"),
        ("26-495-0000", "26", "train-clean-100"),
    ]
    assert records[1].path == tree / FILES[2]
    assert records[1].labels["chapter"] == "1240"
    assert {one.split for one in records} == {None}


def test_the_folder_above_or_a_single_subset_will_do(tree):
    assert read_tree(tree.parent, "librispeech") == read_tree(tree, "librispeech")
    assert [one.speaker for one in read_tree(tree / "train-clean-100", "librispeech")] == [
        "103",
        "103",
        "26",
    ]


@pytest.mark.parametrize("name", ["", "nothing", "LibriSpeech/dev-clean/84/121123"])
def test_a_tree_that_is_not_librispeech_is_refused(tree, tmp_path, name):
    root = tmp_path / "other" if name == "" else tmp_path / name
    with pytest.raises(MissingError) as error:
        read_tree(root, "librispeech")
    assert str(error.value) == (
        f"{root} is not LibriSpeech: expected <subset>/<speaker>/<chapter>/*.flac, for instance "
        "train-clean-100/103/1240/103-1240-0000.flac."
    )
