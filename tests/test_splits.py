"""The audit of splits: what train and test share, of lists of anybody's and of our protocols."""

import json

import pytest

from spknorm.audio import index
from spknorm.cli import main
from spknorm.demo.coded_names import names_of
from spknorm.demo.corpus_trees import write_tree
from spknorm.protocols.leaks import named_by_dialogue


def write(folder, *rows, header="path,emotion,speaker,sentence,split"):
    for row in rows:
        path = folder / row.split(",")[0]
        path.write_bytes(path.name.encode())
    file = folder / "list.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def splits(*words):
    return main(["splits", *map(str, words)])


def test_a_speaker_who_trains_and_is_tested_is_found(tmp_path, capsys):
    file = write(
        tmp_path,
        "a.wav,neu,anna,s1,train",
        "b.wav,hap,anna,s2,test",
        "c.wav,hap,ben,s1,test",
    )
    assert splits(file) == 0
    assert capsys.readouterr().out == (
        f"{file}\n"
        "  split: 1 train, 0 dev, 2 test\n"
        "    classes in train/dev/test: hap 0/0/2, neu 1/0/0\n"
        "    LEAK 1 of 2 speakers of test are in train (1 utterances): anna\n"
        "    1 of 2 sentences of test are in train (1 utterances): s1\n"
    )
    assert splits(file, "--strict") == 3


def test_contents_are_read_again_only_where_they_have_changed(tmp_path, monkeypatch):
    rows = ["a.wav,neu,anna,s1,train", "b.wav,hap,ben,s2,test"]
    file, read = write(tmp_path, *rows), []
    hash_of = index.sha256_of
    monkeypatch.setattr(index, "sha256_of", lambda path: read.append(path.name) or hash_of(path))
    assert splits(file) == splits(file) == 0
    (tmp_path / "b.wav").write_bytes(b"another recording")
    assert splits(file) == 0
    assert sorted(read[:2]) == ["a.wav", "b.wav"] and read[2:] == ["b.wav"]


def test_sentences_alone_are_told_and_are_no_leak(tmp_path, capsys):
    file = write(tmp_path, "a.wav,neu,anna,s1,train", "b.wav,hap,ben,s1,test")
    assert splits(file, "--strict") == 0
    assert "no leak found" in capsys.readouterr().out


def test_recordings_of_equal_content_are_found_under_other_names(tmp_path, capsys):
    file = write(
        tmp_path,
        "a.wav,neu,anna,s1,train",
        "b.wav,hap,ben,s2,dev",
        "c.wav,sad,carl,,test",
    )
    (tmp_path / "c.wav").write_bytes((tmp_path / "b.wav").read_bytes())
    assert splits(file, "--strict") == 3
    assert "LEAK 1 of 1 recordings of test are in dev (1 utterances): c.wav" in (
        capsys.readouterr().out
    )
    assert splits(file, "--strict", "--names") == 0


def test_files_that_are_not_there_are_counted(tmp_path, capsys):
    file = write(tmp_path, "a.wav,neu,anna,s1,train", "b.wav,hap,ben,s2,test")
    (tmp_path / "a.wav").unlink()
    splits(file)
    assert "1 files are not there, so their content is not compared" in capsys.readouterr().out


def test_folds_are_told_apart_and_an_utterance_may_be_in_each(tmp_path):
    rows = [
        "a.wav,neu,anna,one,train", "b.wav,hap,anna,one,test",
        "a.wav,neu,anna,two,train", "b.wav,hap,ben,two,test",
    ]  # fmt: skip
    file = write(tmp_path, *rows, header="path,emotion,speaker,fold,split")
    splits(file, "--json", tmp_path / "out.json")
    one, two = json.loads((tmp_path / "out.json").read_text())[str(file)]
    assert (one["name"], two["name"]) == ("one", "two")
    assert one["utterances"] == {"train": 1, "dev": 0, "test": 1}
    assert one["classes"]["test"] == {"hap": 1}
    numbers = {shared["what"]: shared["number"] for shared in one["shared"]}
    assert numbers == {"utterances": 0, "speakers": 1, "recordings": 0}
    assert all(shared["number"] == 0 for shared in two["shared"])


def test_a_list_without_parts_asks_for_a_protocol(tmp_path, capsys):
    file = write(tmp_path, "a.wav,neu,anna", header="path,emotion,speaker")
    assert splits(file) == 2
    assert capsys.readouterr().err == (
        f"spknorm: {file} does not say who trains and who tests (1 utterances without `split`): "
        "name a --protocol.\n"
    )


def test_our_protocols_can_be_asked_about_any_corpus(tmp_path, capsys):
    write_tree(tmp_path, "savee", num_speakers=4, per_emotion=3)
    assert splits("savee", "--root", tmp_path, "--protocol", "loso", "--strict") == 0
    shown = capsys.readouterr().out
    assert shown.count("no leak found") == 4
    assert shown.count("21 of 21 sentences of test are in train") == 4
    assert splits("savee", "--root", tmp_path, "--protocol", "sd", "--strict") == 3
    assert "LEAK" in capsys.readouterr().out


def test_esds_own_cut_shares_all_its_speakers(tmp_path, capsys):
    """Its train, evaluation and test folders are by sentence, so that everybody is in each."""
    for name in names_of("esd")[::175]:
        folder, _, stem = name.path.rpartition("/")
        for part, number in (("train", 60), ("evaluation", 1), ("test", 30)):
            other = f"{stem[:5]}{int(stem[5:11]) + number - 1:06d}.wav"
            file = tmp_path / folder / part / other
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(other.encode())
    assert splits("esd", "--root", tmp_path, "--strict") == 3
    assert "LEAK 20 of 20 speakers of test are in train" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["list.txt", "msp"])
def test_what_is_neither_a_list_nor_a_corpus_is_refused(name, capsys):
    assert splits(name) == 2
    said = capsys.readouterr().err
    assert (
        f"`{name}` is neither a list (a .csv or .jsonl file, a folder) nor one of iemocap" in said
    )


def test_iemocaps_dialogue_is_not_the_speaker(tmp_path):
    from spknorm.corpora.doors import read_list

    rows = [
        f"{name}.wav,{name},neu,{name[:6]},test"
        for name in (
            "Ses01F_impro01_F000",
            "Ses01F_impro01_M000",
            "Ses02M_script01_1_F003",
        )
    ]
    file = write(tmp_path, *rows, header="path,id,emotion,speaker,split")
    records = read_list(file)
    assert named_by_dialogue(records) == (3, 2)
    assert named_by_dialogue([*records, *records]) == (3, 2)  # of several folds


def test_any_protocol_can_be_counted_and_a_leak_is_told_instead_of_refused(tmp_path, capsys):
    rows = [f"{n}{k}.wav,neu,s{n},text{k},train" for n in range(4) for k in range(2)]
    file = write(tmp_path, *rows, "x.wav,neu,s0,text0,test")
    assert splits(file, "--protocol", "official", "--strict") == 3
    said = capsys.readouterr().out
    assert "official fold1: " in said
    assert "LEAK 1 of 1 speakers of test are in " in said
    options = ("--protocol", "loso-group", "--groups", "2", "--unseen", "both", "--strict")
    assert splits(file, *options) == 0
    said = capsys.readouterr().out
    assert "loso-group fold2" in said
    assert "sentences of test are in" not in said
