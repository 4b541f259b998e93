"""CSV and JSONL manifests that are fine; those that are not are in reliability/."""

import json
import time

import pytest

from spknorm.corpora import read_manifest

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
    first, second = read_manifest(tmp_path / "m.csv")
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
    assert read_manifest(tmp_path / "m.csv") == read_manifest(tmp_path / "m.jsonl")


def test_the_path_is_the_id_where_there_is_none(tmp_path):
    write_csv(tmp_path / "m.csv", [["path"], ["x/a.wav"], ["y/a.wav"]])
    assert [one.id for one in read_manifest(tmp_path / "m.csv")] == ["x/a.wav", "y/a.wav"]


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
    found = read_manifest(file)
    assert [one.path.name for one in found] == list(NAMES)
    assert all(one.path.is_file() for one in found)


def test_a_root_may_be_given(tmp_path):
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "m.csv", [["path"], ["a.wav"]])
    (found,) = read_manifest(tmp_path / "m.csv", root=tmp_path / "data")
    assert found.path == tmp_path / "data/a.wav"


def test_50_000_lines_are_read_in_seconds(tmp_path):
    rows = [[f"speaker{n % 500}/{n}.wav", f"speaker{n % 500}"] for n in range(50_000)]
    write_csv(tmp_path / "m.csv", [["path", "speaker"], *rows])
    start = time.perf_counter()
    assert len(read_manifest(tmp_path / "m.csv")) == 50_000
    assert time.perf_counter() - start < 5
