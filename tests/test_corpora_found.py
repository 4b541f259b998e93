"""Files as people have them: links, copies, names of every kind, tables from other programs."""

import json
import logging
import os
import unicodedata

import numpy as np
import pytest
import soundfile
from corpus_files import read_tree
from iemocap_trees import write_iemocap

from spknorm.audio import Walk
from spknorm.corpora.doors import read_list
from spknorm.corpora.iemocap import read_iemocap
from spknorm.corpora.voxceleb1 import read_voxceleb1
from spknorm.errors import DataError, MissingError
from spknorm.predict import Prediction, find_audio, write_rows

NOISE = np.random.default_rng(0).normal(0, 0.1, 1600)


def touch(path, content=b"sound"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def elsewhere(folder, target):
    """Move a folder and leave a link to it in its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    folder.symlink_to(target)


@pytest.fixture
def iemocap(tmp_path):
    return write_iemocap(tmp_path / "I", {"Session1": (2, 2, 2, 2), "Session2": (1, 1, 1, 1)})


def wavs_of(root, session="Session1"):
    return root / session / "sentences/wav"


def test_linked_dialogues_and_sessions_of_iemocap_are_read(iemocap, tmp_path):
    before = [one.id for one in read_iemocap(iemocap)]
    for number, dialogue in enumerate(list(wavs_of(iemocap).iterdir())):
        elsewhere(dialogue, tmp_path / f"disk/{number}")
    elsewhere(iemocap / "Session2", tmp_path / "disk/Session2")
    assert [one.id for one in read_iemocap(iemocap)] == before


def test_a_linked_chapter_speaker_and_subset_of_librispeech_are_read(tmp_path):
    root = tmp_path / "L"
    for name in ("1/2/1-2-0000", "1/3/1-3-0000", "4/5/4-5-0000"):
        touch(root / f"dev-clean/{name}.flac")
    touch(root / "test-clean/6/7/6-7-0000.flac")
    elsewhere(root / "dev-clean/1/2", tmp_path / "disk/a")
    elsewhere(root / "dev-clean/4", tmp_path / "disk/b")
    elsewhere(root / "test-clean", tmp_path / "disk/c")
    found = read_tree(root, "librispeech")
    assert [(one.id, one.speaker) for one in found] == [
        ("1-2-0000", "1"),
        ("1-3-0000", "1"),
        ("4-5-0000", "4"),
        ("6-7-0000", "6"),
    ]


def test_links_that_lead_back_end_and_are_counted(tmp_path, caplog):
    touch(tmp_path / "a/b/1.wav")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(".")
    walk = Walk()
    assert list(walk.files(tmp_path)) == [tmp_path / "a/b/1.wav"]
    assert walk.summary() == "2 a link back to its own folder"
    walk.report(tmp_path)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_links_to_themselves_and_to_one_another_are_counted(tmp_path):
    touch(tmp_path / "a/1.wav")
    (tmp_path / "a/2.wav").symlink_to("2.wav")
    (tmp_path / "a/3").symlink_to("4")
    (tmp_path / "a/4").symlink_to("3")
    walk = Walk()
    assert list(walk.files(tmp_path)) == [tmp_path / "a/1.wav"]
    assert walk.summary() == "3 a link back to its own folder"


def test_what_is_not_taken_is_counted_by_kind(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for name in ("a.wav", "B.FLAC", "c.m4a", "d.M4A", "e.webm", "f.txt", "g", "._a.wav"):
        touch(tmp_path / name)
    touch(tmp_path / ".DS_Store")
    walk = Walk()
    assert [path.name for path in walk.files(tmp_path)] == ["B.FLAC", "a.wav"]
    walk.report(tmp_path)
    assert caplog.messages == [
        f"7 files under {tmp_path} are not taken: 2 hidden (`._x.wav`, `.DS_Store`), 2 .m4a, "
        "1 .webm, 1 .txt, 1 without a suffix (convert what is sound to wav)"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_text_and_hidden_files_alone_are_no_warning(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    touch(tmp_path / "1-2.trans.txt")
    touch(tmp_path / "._1.wav")
    walk = Walk()
    assert list(walk.files(tmp_path)) == []
    walk.report(tmp_path)
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_a_second_copy_that_differs_is_an_error_that_names_both(iemocap):
    first = read_iemocap(iemocap)[0]
    copy = touch(wavs_of(iemocap) / "backup" / first.path.name, first.path.read_bytes())
    assert read_iemocap(iemocap)[0].path == first.path  # the same content: the dialogue's own
    copy.write_bytes(b"another take")
    with pytest.raises(DataError) as error:
        read_iemocap(iemocap)
    assert str(error.value) == (
        "1 utterances of IEMOCAP have several files that differ; which one is meant cannot be "
        f"known, so remove the others:\n  {first.id}: {first.path}, {copy}"
    )


def test_a_copy_of_an_utterance_that_is_not_used_does_not_matter(iemocap):
    before = read_iemocap(iemocap)
    for folder in ("a", "b"):
        touch(wavs_of(iemocap) / folder / "Ses01F_impro09_F099.wav", folder.encode())
    assert read_iemocap(iemocap) == before


def test_the_same_name_as_wav_and_flac_is_named_too(tmp_path):
    root = tmp_path / "L/dev-clean/1/2"
    touch(root / "1-2-0000.flac", b"a")
    touch(root / "1-2-0000.wav", b"b")
    with pytest.raises(DataError, match=r"1-2-0000: .*1-2-0000\.flac, .*1-2-0000\.wav"):
        read_tree(tmp_path / "L", "librispeech")


def voxceleb1(tmp_path, ending="wav", listed="1 id10001/x/00001.wav\n3 id10002/y/00001.wav\n"):
    root = tmp_path / "V"
    touch(root / f"dev/wav/id10001/x/00001.{ending}", b"a")
    touch(root / f"test/wav/id10002/y/00001.{ending}", b"b")
    (root / "iden_split.txt").write_text(listed)
    return root


@pytest.mark.parametrize("ending", ["flac", "FLAC", "ogg", "opus"])
def test_voxceleb1_in_another_format_than_its_list_says_is_read(tmp_path, ending):
    found = read_voxceleb1(voxceleb1(tmp_path, ending))
    assert [(one.id, one.split) for one in found] == [
        ("id10001/x/00001", "train"),
        ("id10002/y/00001", "test"),
    ]
    assert found[0].path.name == f"00001.{ending}"


def test_what_the_list_names_goes_before_another_format(tmp_path):
    root = voxceleb1(tmp_path)
    touch(root / "dev/wav/id10001/x/00001.flac", b"c")
    assert read_voxceleb1(root)[0].path.name == "00001.wav"
    (root / "iden_split.txt").unlink()
    with pytest.raises(DataError, match="1 utterances of VoxCeleb1 have several files"):
        read_voxceleb1(root)


def test_one_voxceleb1_utterance_in_dev_and_test_is_named(tmp_path):
    root = voxceleb1(tmp_path)
    touch(root / "test/wav/id10001/x/00001.wav", b"another")
    with pytest.raises(DataError, match=r"id10001/x/00001: .*/dev/wav/.*, .*/test/wav/"):
        read_voxceleb1(root)


@pytest.mark.parametrize(
    "listed",
    [
        "1 id10001\\x\\00001.wav\r\n3 id10002\\y\\00001.wav\r\n",
        "\ufeff1 id10001/x/00001.wav\n3 id10002/y/00001.wav\n",
    ],
)
def test_a_split_list_from_windows_is_read(tmp_path, listed):
    assert len(read_voxceleb1(voxceleb1(tmp_path, listed=listed))) == 2


def test_a_tree_of_m4a_says_so(tmp_path):
    root = voxceleb1(tmp_path, "m4a")
    with pytest.raises(MissingError, match=r"No audio lies under .* \(2 \.m4a are not taken\)\."):
        read_voxceleb1(root)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_as_other_programs_write_it_is_read(tmp_path, delimiter, end, mark):
    rows = [["", "path", "speaker"], ["0", "a.wav", "anna"], ["1", "b.wav", "bea"]]
    text = mark + end.join(delimiter.join(row) for row in rows) + end
    (tmp_path / "m.csv").write_bytes(text.encode())
    found = read_list(tmp_path / "m.csv")
    assert [(one.id, one.speaker, one.labels) for one in found] == [
        ("a.wav", "anna", {}),
        ("b.wav", "bea", {}),
    ]


def test_columns_nobody_reads_may_hold_anything(tmp_path):
    rows = [
        {"path": "a.wav", "duration": 1.25, "tags": ["x"], "about": {"a": 1}, "old": True},
        {"path": "b.wav", "duration": float("nan"), "age": 3},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\r\n" for row in rows))
    first, second = read_list(tmp_path / "m.jsonl")
    assert first.labels == {"duration": "1.25", "old": "true"}
    assert second.labels == {"age": "3"}  # NaN is how pandas writes that there is nothing


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("kept", ["NFC", "NFD"])
def test_either_spelling_of_accents_finds_the_file(tmp_path, written, kept):
    name = "Zoë/Crème brûlée.wav"
    path = touch(tmp_path / unicodedata.normalize(kept, name))
    (tmp_path / "m.csv").write_text(f"path\n{unicodedata.normalize(written, name)}\n")
    (found,) = read_list(tmp_path / "m.csv")
    assert found.path == path


def test_two_files_that_differ_in_spelling_alone_are_kept_apart(tmp_path):
    names = [unicodedata.normalize(form, "Zoë.wav") for form in ("NFC", "NFD")]
    for name in names:
        touch(tmp_path / name)
    (tmp_path / "m.csv").write_text("path\n" + "\n".join(names) + "\n")
    assert [one.path.name for one in read_list(tmp_path / "m.csv")] == names


def test_backslashes_are_read_where_a_file_is_found_and_named_where_none_is(tmp_path):
    path = touch(tmp_path / "a/b/c.wav")
    odd = touch(tmp_path / "a\\d.wav")
    (tmp_path / "m.csv").write_text("path\na\\b\\c.wav\na\\d.wav\n")
    assert [one.path for one in read_list(tmp_path / "m.csv")] == [path, odd]
    (tmp_path / "m.csv").write_text("path\na\\none.wav\nC:\\data\\c.wav\n")
    with pytest.raises(DataError) as error:
        read_list(tmp_path / "m.csv")
    assert str(error.value) == (
        f"2 lines of {tmp_path / 'm.csv'} cannot be used:\n"
        "  line 2: the path 'a\\\\none.wav' has backslashes, and with / instead names no file of "
        "the corpus\n"
        "  line 3: the path 'C:\\\\data\\\\c.wav' has backslashes, and with / instead names no "
        "file of the corpus"
    )


def test_backslashes_do_not_lead_out_of_the_root(tmp_path):
    touch(tmp_path / "secret.wav")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/m.csv").write_text("path\n..\\secret.wav\n")
    with pytest.raises(DataError, match="leads out of the root"):
        read_list(tmp_path / "root/m.csv")


def test_names_that_are_not_utf_8_are_read_and_printed(tmp_path):
    folder = tmp_path / "L/dev-clean/1/2"
    folder.mkdir(parents=True)
    soundfile.write(tmp_path / "a.wav", NOISE, 16000)
    os.rename(tmp_path / "a.wav", os.fsencode(folder) + b"/Zo\xeb.wav")  # noqa: PTH104
    (found,) = read_tree(tmp_path / "L", "librispeech")
    assert found.id == "Zo\\xeb"
    assert found.path.is_file()


def test_predict_follows_links_and_passes_over_hidden_files(tmp_path, caplog):
    folder = tmp_path / "mine"
    for name in ("b.wav", "._b.wav", ".DS_Store", "c.m4a", "d.webm"):
        touch(folder / name)
    touch(tmp_path / "disk/a.wav")
    (folder / "a").symlink_to(tmp_path / "disk")
    (folder / "loop").symlink_to(folder)
    assert find_audio([folder]) == [folder / "a/a.wav", folder / "b.wav"]
    (said,) = caplog.messages
    assert said.startswith(f"5 files under {folder} are not taken: ")
    for part in ("1 .m4a", "1 .webm", "2 hidden", "1 a link back to its own folder"):
        assert part in said


def test_a_row_about_a_name_that_is_not_utf_8_can_be_written(tmp_path):
    name = os.fsdecode(b"Zo\xeb.wav")
    row = Prediction(tmp_path / name, 0.0, 1.0, "neu", {"neu": 1.0})
    assert write_rows([row], tmp_path / "out.csv") == 1
    assert "Zo\\xeb.wav" in (tmp_path / "out.csv").read_text()
    with pytest.raises(MissingError, match=r"There is no file or folder .*Zo\\xeb\.wav\."):
        find_audio([tmp_path / name])


EXCEL = {
    "empty columns and lines": "path;emotion;;;\r\na.wav;neu;;;\r\n;;;;\r\nb.wav;sad;;;\r\n",
    "empty cells behind the lines alone": "path,emotion\r\na.wav,neu,,\r\nb.wav,sad,,\r\n",
    "its own first line": "sep=;\r\npath;emotion\r\na.wav;neu\r\nb.wav;sad\r\n",
    "its own first line, filled up": "sep=;;;\r\npath;emotion\r\na.wav;neu\r\nb.wav;sad\r\n",
    "quotes and breaks": '"path"\t"x"\t"emotion"\r\n"a.wav"\t"x\ny"\t"neu"\r\nb.wav\t\tsad',
    "spaces around all": "path , emotion\r\n a.wav , neu \r\nb.wav  , sad\r\n",
    "capitals": "path,emotion\r\na.wav,Neutral\r\nb.wav,SAD\r\n",
}


@pytest.mark.parametrize("text", EXCEL.values(), ids=EXCEL)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_as_excel_writes_it_is_read(tmp_path, text, encoding):
    for name in ("a.wav", "b.wav"):
        touch(tmp_path / name)
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    found = read_list(tmp_path / "m.csv")
    assert [(one.path.name, one.emotion) for one in found] == [("a.wav", "neu"), ("b.wav", "sad")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x14\0", "is a workbook, not CSV: save it as `CSV UTF-8`."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook, not CSV: save it as `CSV UTF-8`."),
        ("path\ncaf\u00e9.wav\n".encode("cp1252"), "line 2 has the byte 0xe9. Save it as UTF-8 ("),
        (b"path;emotion;;\na.wav;neu;;stray\n", "line 2: 4 cells, but the header has 2 columns"),
        (b"path;emotion;x\na.wav;neu\n", "line 2: 2 cells, but the header has 3 columns"),
    ],
)
def test_what_is_no_such_table_says_so(tmp_path, content, message):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DataError) as error:
        read_list(tmp_path / "m.csv")
    assert message in str(error.value)


def test_a_name_that_ends_in_a_space_is_kept_where_there_is_one(tmp_path):
    odd = touch(tmp_path / "a.wav ")
    touch(tmp_path / "a.wav")
    (tmp_path / "m.csv").write_text("path,emotion\na.wav ,neu\n")
    assert read_list(tmp_path / "m.csv")[0].path == odd
