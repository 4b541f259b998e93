"""s3prl's fold JSON: what it says is taken, and what cannot be is named."""

import json
from dataclasses import replace

import pytest
from small_iemocap import read_corpus, small_tree  # noqa: F401 (fixture)

from spknorm.corpora.folds import read_folds, write_folds
from spknorm.corpora.iemocap import read_iemocap
from spknorm.corpora.records import EMOTIONS
from spknorm.errors import ConfigError, DataError, MissingError


def test_fold_json_keeps_its_order_and_its_utterances(small_tree, tmp_path):
    write_folds(small_tree, tmp_path / "meta")
    file = tmp_path / "meta/Session2/train_meta_data.json"
    content = json.loads(file.read_text())
    content["meta_data"].reverse()
    del content["meta_data"][:3]
    file.write_text(json.dumps(content))
    records = read_folds(tmp_path / "meta", "fold2", small_tree)
    assert len(records) == 4 * 18 - 3 + 18
    listed = [small_tree / item["path"] for item in content["meta_data"]]
    assert [one.path for one in records[: len(listed)]] == listed
    assert {one.session for one in records[len(listed) :]} == {"Session2"}
    by_id = {one.id: one for one in read_iemocap(small_tree)}
    nothing = {"arousal": None, "valence": None, "dominance": None, "votes": (), "original": None}
    assert all(replace(by_id[one.id], **nothing) == one for one in records)


def change(file, action):
    content = json.loads(file.read_text())
    action(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("path", "../../etc/Ses02F_impro01_F000.wav", "leads out of the root"),
        ("path", "/etc/Ses02F_impro01_F000.wav", "leads out of the root"),
        ("path", "", "the path is empty"),
        ("path", "a\0b", "the path is empty or holds a NUL character"),
        ("path", 7, "expected an object with `path` and `label`"),
        ("path", "Session2/x.wav", "`x` is not an IEMOCAP name"),
        ("label", "exc", "the label must be one of neu, hap, ang, sad, but is 'exc'"),
        ("label", 2, "the label must be one of neu, hap, ang, sad, but is 2"),
        ("label", None, "the label must be one of neu, hap, ang, sad, but is None"),
    ],
)
def test_an_entry_of_the_fold_json_that_cannot_be_used_is_named(
    small_tree, tmp_path, name, value, said
):
    write_folds(small_tree, tmp_path / "meta")
    file = tmp_path / "meta/Session1/train_meta_data.json"
    change(file, lambda content: content["meta_data"][4].update({name: value}))
    with pytest.raises(DataError) as error:
        read_folds(tmp_path / "meta", "fold1", small_tree)
    assert str(error.value).startswith(f"1 entries of {file} cannot be used:\n  meta_data[4]: ")
    assert said in str(error.value)


def test_paths_may_leave_the_root_if_that_is_allowed(small_tree, tmp_path):
    write_folds(small_tree, tmp_path / "meta")
    for part in ("train", "test"):
        change(
            tmp_path / f"meta/Session1/{part}_meta_data.json",
            lambda content: [
                item.update(path=f"{small_tree}/{item['path']}") for item in content["meta_data"]
            ],
        )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert len(read_folds(tmp_path / "meta", "fold1", small_tree)) == 90  # absolute, but inside
    with pytest.raises(DataError):
        read_folds(tmp_path / "meta", "fold1", elsewhere)
    found = read_folds(tmp_path / "meta", "fold1", elsewhere, allow_outside=True)
    assert sorted(one.id for one in found) == sorted(one.id for one in read_iemocap(small_tree))


def test_fold_json_that_mixes_the_held_out_session_in_is_refused(small_tree, tmp_path):
    write_folds(small_tree, tmp_path / "meta")
    file = tmp_path / "meta/Session1/train_meta_data.json"
    stray = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    change(file, lambda content: content["meta_data"][0].update(path=stray))
    with pytest.raises(DataError) as error:
        read_folds(tmp_path / "meta", "fold1", small_tree)
    assert str(error.value) == (
        f"{file} holds utterances of Session1; these are wrong:\n  Ses01F_impro01_F000"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[" * 100_000, "is not valid JSON: maximum recursion depth exceeded"),
        ("[]", "is not s3prl's fold JSON: expected `labels` and `meta_data`."),
        ("{}", "is not s3prl's fold JSON: expected `labels` and `meta_data`."),
        ('{"labels": {"neu": 1}, "meta_data": []}', "`labels` must be {'neu': 0, 'hap': 1, "),
        ('{"labels": LABELS, "meta_data": []}', "lists no utterance."),
        ('{"labels": LABELS, "meta_data": [3]}', "cannot be used:\n  meta_data[0]: expected an "),
    ],
)
def test_a_file_that_is_not_fold_json_is_refused(tmp_path, content, said):
    file = tmp_path / "Session1/train_meta_data.json"
    file.parent.mkdir()
    labels = json.dumps({emotion: number for number, emotion in enumerate(EMOTIONS)})
    file.write_text(content.replace("LABELS", labels))
    with pytest.raises(DataError) as error:
        read_folds(tmp_path, "fold1", tmp_path)
    assert str(file) in str(error.value)
    assert said in str(error.value)


def test_an_utterance_listed_twice_is_named(small_tree, tmp_path):
    write_folds(small_tree, tmp_path / "meta")
    file = tmp_path / "meta/Session1/test_meta_data.json"
    change(file, lambda content: content["meta_data"].append(content["meta_data"][0]))
    name = read_iemocap(small_tree)[0].id
    with pytest.raises(DataError) as error:
        read_folds(tmp_path / "meta", "fold1", small_tree)
    assert str(error.value) == (
        f"1 entries of {file} cannot be used:\n  `{name}` is listed more than once"
    )


def test_missing_fold_json_says_what_is_expected(small_tree, tmp_path):
    with pytest.raises(MissingError) as error:
        read_folds(tmp_path / "meta", "fold4", small_tree)
    assert str(error.value) == (
        f"There is no {tmp_path / 'meta/Session4/train_meta_data.json'}. `meta_data` must be a "
        "folder with s3prl's SessionN/{train,test}_meta_data.json; without `meta_data` folds are "
        "made from the IEMOCAP tree."
    )
    with pytest.raises(DataError) as error:
        read_folds(tmp_path / "meta", "../fold4", small_tree)
    assert str(error.value) == (
        "`test_fold` must be fold1 ... fold5 with fold JSON, but is `../fold4`."
    )
    with pytest.raises(ConfigError) as error:
        read_corpus(small_tree, meta_data=tmp_path / "meta")
    assert str(error.value) == (
        "With `meta_data`, `test_fold` must say which of its folds to read."
    )
