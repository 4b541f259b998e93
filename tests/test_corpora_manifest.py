"""CSV and JSONL manifests that are fine; those that are not are in reliability/."""

import json
import time

import numpy as np
import pytest
import soundfile
from made_splits import make_split

from spknorm.corpora.checks import check_records, usable
from spknorm.corpora.doors import read_list
from spknorm.corpora.records import EMOTIONS
from spknorm.corpora.tables import text_of
from spknorm.errors import DataError

NAMES = (
    "plain.wav",
    "with space.wav",
    " leading and trailing .wav ",
    "quote\"s and 'quotes'.wav",
    "comma,semicolon;tab\t.wav",
    "new\nline.wav",
    "Zoë 声 🎙.wav",
    "-rf.wav",
    "%s{0}$HOME.wav",
    "x" * 251 + ".wav",
)


def write_csv(path, rows, encoding="utf-8"):
    import csv

    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows(rows)


def test_columns_become_fields_and_further_ones_labels(tmp_path):
    rows = [
        ["id", "path", "emotion", "speaker", "session", "turn", "split", "gender"],
        ["a", "x/a.wav", "neu", "s1", "Session1", "scripted", "train", "f"],
        ["b", "b.wav", "", "s2", "", "", "", ""],
    ]
    write_csv(tmp_path / "m.csv", rows)
    first, second = read_list(tmp_path / "m.csv")
    assert first.path == tmp_path / "x/a.wav"
    assert (first.id, first.emotion, first.speaker) == ("a", "neu", "s1")
    assert (first.session, first.turn, first.split) == ("Session1", "scripted", "train")
    assert first.labels == {"gender": "f"}
    assert (second.emotion, second.session, second.labels) == (None, None, {})


def test_jsonl_gives_what_csv_gives(tmp_path):
    write_csv(tmp_path / "m.csv", [["path", "speaker", "age"], ["a.wav", "s1", "31"]])
    (tmp_path / "m.jsonl").write_text(
        '{"path": "a.wav", "speaker": "s1", "age": 31, "emotion": null}\n\n'
    )
    assert read_list(tmp_path / "m.csv") == read_list(tmp_path / "m.jsonl")


def test_the_path_is_the_id_where_there_is_none(tmp_path):
    write_csv(tmp_path / "m.csv", [["path"], ["x/a.wav"], ["y/a.wav"]])
    assert [one.id for one in read_list(tmp_path / "m.csv")] == ["x/a.wav", "y/a.wav"]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_names_of_any_kind_are_found(tmp_path, ending, encoding):
    for name in NAMES:
        (tmp_path / name).write_bytes(b"")
    file = tmp_path / f"m.{ending}"
    if ending == "csv":
        write_csv(file, [["path"], *[[name] for name in NAMES]], encoding)
    else:
        text = "".join(json.dumps({"path": name}) + "\n" for name in NAMES)
        file.write_text(text, encoding=encoding)
    found = read_list(file)
    assert [one.path.name for one in found] == list(NAMES)
    assert all(one.path.is_file() for one in found)


def test_a_root_may_be_given(tmp_path):
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "m.csv", [["path"], ["a.wav"]])
    (found,) = read_list(tmp_path / "m.csv", root=tmp_path / "data")
    assert found.path == tmp_path / "data/a.wav"


@pytest.mark.parametrize("cell", ["nan", "NaN", "None", "<NA>", "NaT", " nan "])
def test_what_pandas_and_python_write_for_a_missing_value_is_absent(tmp_path, cell):
    rows = [["path", "emotion", "speaker", "session"], ["a.wav", cell, cell, cell]]
    write_csv(tmp_path / "m.csv", rows)
    (found,) = read_list(tmp_path / "m.csv")
    assert (found.emotion, found.speaker, found.session) == (None, None, None)


def test_a_key_that_stands_twice_in_a_line_of_json_is_refused(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "emotion": "neu", "emotion": "sad"}\n')
    with pytest.raises(DataError, match="line 1: the key `emotion` stands twice, and one of the t"):
        read_list(tmp_path / "m.jsonl")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("read", [read_list, text_of])
def test_a_text_with_zero_bytes_is_no_list_of_odd_names(tmp_path, encoding, read):
    (tmp_path / "m.csv").write_bytes(b"\n" + "path,emotion\na.wav,neu\n".encode(encoding))
    with pytest.raises(DataError, match=r"m\.csv has zero bytes in it, the first in line 2: "):
        read(tmp_path / "m.csv")


@pytest.mark.slow
def test_50_000_files_are_listed_and_split_in_seconds_after_the_first_look(tmp_path):
    soundfile.write(tmp_path / "one.wav", np.ones(800) * 0.1, 16000)
    rows = [["path", "emotion", "speaker", "session"]]
    for number in range(50_000):
        speaker = f"speaker{number % 500}"
        name = f"{speaker}/{number}.wav"
        if number < 500:
            (tmp_path / speaker).mkdir()
        (tmp_path / name).hardlink_to(tmp_path / "one.wav")
        rows.append([name, EMOTIONS[number // 500 % 4], speaker, f"Session{number % 5 + 1}"])
    write_csv(tmp_path / "m.csv", rows)
    usable(read_list(tmp_path / "m.csv"), work_dir=tmp_path / "work", skip_bad=False)
    import torch  # noqa: F401 (whose import is not what is measured)

    start = time.process_time()  # of this process alone: the machine may be busy
    records = read_list(tmp_path / "m.csv")
    check_records(records, role="emotion")
    records = usable(records, work_dir=tmp_path / "work", skip_bad=False)
    split = make_split(records, protocol="si5", fold="fold1")
    assert time.process_time() - start < 5
    assert len(split.train) + len(split.dev) + len(split.test) == 50_000
