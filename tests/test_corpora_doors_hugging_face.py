"""Data sets of Hugging Face, read where they lie: a hub's repository, one saved, an audiofolder."""

import json

import pytest
from corpus_files import write
from test_corpora_doors import seen

from spknorm.corpora.doors import read_list
from spknorm.errors import DataError, MissingError


def test_a_hub_repository_with_sound_inside(sounds, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setenv("SPKNORM_CACHE", str(sounds / "cache"))
    (sounds / "hub/data").mkdir(parents=True)
    content = (sounds / "a.wav").read_bytes()
    features = {"label": {"names": ["angry", "calm"], "_type": "ClassLabel"}}
    for part in ("train", "validation"):
        rows = [{"audio": {"bytes": content, "path": "x.wav"}, "label": 1, "speaker_id": 7}]
        table = pa.Table.from_pylist(rows).replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
        pq.write_table(table, sounds / f"hub/data/{part}-00000-of-00001.parquet")
    one, other = read_list(sounds / "hub")
    assert (one.emotion, one.speaker, one.split, other.split) == ("calm", "7", "train", "dev")
    assert one.path.read_bytes() == content
    assert one.path.is_relative_to(sounds / "cache")


def test_a_data_set_saved_to_disk_with_sound_beside(sounds):
    import pyarrow as pa

    folder = sounds / "saved/train"
    folder.mkdir(parents=True)
    rows = [{"audio": {"bytes": None, "path": "../a.wav"}, "emotion": "happy", "gender": "f"}]
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as out:
        out.write_table(table)
    write(sounds, "saved/dataset_dict.json", '{"splits": ["train"]}')
    with pytest.raises(DataError, match="leads out of the root"):
        read_list(sounds / "saved")
    (one,) = read_list(sounds / "saved", allow_outside=True)
    assert (one.emotion, one.split, one.label("sex")) == ("hap", "train", "female")
    assert one.path.samefile(sounds / "a.wav")


def test_an_audiofolder(sounds):
    (sounds / "test").mkdir()
    (sounds / "a.wav").rename(sounds / "test/a.wav")
    write(sounds, "test/metadata.csv", "file_name,emotion,speaker", "a.wav,sad,anna")
    (one,) = read_list(sounds)
    assert seen([one]) == [("a.wav", "sad", "sad", "anna", "test")]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("[1]", "expected a JSON object"),
        ("{bad", r"not JSON \(Expecting property name"),
        ('{"file_name": "a.wav", "file_name": "b.wav"}', "the key `file_name` stands twice"),
    ],
)
def test_a_line_of_an_audiofolder_that_is_no_object_is_named(sounds, line, wrong):
    write(sounds, "metadata.jsonl", '{"file_name": "a.wav"}', line)
    with pytest.raises(DataError, match=rf"metadata\.jsonl, line 2: .*{wrong}"):
        read_list(sounds)


def test_null_in_an_audiofolder_is_no_class_and_nobody(sounds):
    write(sounds, "metadata.jsonl", '{"file_name": "a.wav", "emotion": null, "speaker": null}')
    (one,) = read_list(sounds)
    assert (one.emotion, one.original, one.speaker) == (None, None, None)


def test_without_pyarrow_one_line_says_what_to_install(sounds, monkeypatch):
    import sys

    (sounds / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError) as error:
        read_list(sounds / "x.parquet")
    assert str(error.value) == (
        f"{sounds}/x.parquet is read where pyarrow is installed: `pip install "
        "'spknorm[datasets]'` (or `pip install pyarrow`)."
    )


def test_a_damaged_table_is_named(sounds):
    (sounds / "x.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match=r"x\.parquet cannot be read"):
        read_list(sounds / "x.parquet")
