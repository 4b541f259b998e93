"""Whatever a list of recordings that strangers wrote holds: its records or a clear error."""

import json
import os

from fuzzing import JSON, content_like, fuzz
from hypothesis import strategies as st

from spknorm.corpora.doors import read_list
from spknorm.corpora.folds import read_folds
from spknorm.corpora.iemocap import read_iemocap
from spknorm.corpora.manifest import COLUMNS
from spknorm.corpora.records import EMOTIONS
from spknorm.corpora.voxceleb1 import read_voxceleb1
from spknorm.errors import DataError, MissingError

DOCUMENTED = (DataError, MissingError)

EVALUATION = (
    b"% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    b"[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
    b"C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
    b"[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[2.5000, 2.5000, 2.5000]\n"
)
MANIFEST = b'id,path,emotion,speaker\n1,a.wav,neu,"x, y"\n2,b/../c.wav,hap,"q""q"\n'
LINES = b'{"id": "1", "path": "a.wav", "speaker": "x"}\n{"path": "b/../c.wav", "age": 3}\n'
LIST = b"1 id10001/x/00001.wav\n3 id10002/y/00001.wav\n"
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "path": JSON
        | st.sampled_from(
            ("Session2/a/Ses02F_impro01_F000.wav", "Session1/Ses01M_script01_1_M000.wav")
        )
        | st.text(st.sampled_from("./Ses02F_improM\0\ud800"), max_size=40),
        "label": st.sampled_from(EMOTIONS) | JSON,
        "speaker": JSON,
    },
)
FOLD = st.fixed_dictionaries(
    {
        "labels": st.just({emotion: number for number, emotion in enumerate(EMOTIONS)}) | JSON,
        "meta_data": st.lists(ENTRY, max_size=4) | JSON,
    }
)
ROW = st.dictionaries(
    st.sampled_from((*COLUMNS, "gender", "")),
    JSON
    | st.text(st.characters(codec=None), max_size=30)
    | st.sampled_from(("a.wav", "..", "/a", "x/y")),
    max_size=6,
)


def attempt(reader, *arguments, **options):
    """Return the records, or None after a documented error with something to say."""
    try:
        records = reader(*arguments, **options)
    except DOCUMENTED as error:
        assert str(error)
        assert str(error).count("\n") <= 500
        return None
    ids = [one.id for one in records]
    assert ids
    assert all(one.path.is_absolute() for one in records)
    return records


def stays_inside(records, root):
    real = os.path.realpath(root)
    for one in records or ():
        assert (
            os.path.realpath(one.path).startswith(real + "/") or os.path.realpath(one.path) == real
        )


@fuzz(15_000, content=content_like(MANIFEST))
def test_a_csv_manifest_of_any_content(folder, content):
    (folder / "m.csv").write_bytes(content)
    records = attempt(read_list, folder / "m.csv")
    stays_inside(records, folder)
    if records:
        assert len({one.id for one in records}) == len(records)


@fuzz(
    10_000,
    content=content_like(LINES)
    | st.lists(ROW, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
)
def test_a_jsonl_manifest_of_any_content(folder, content):
    (folder / "m.jsonl").write_bytes(content)
    records = attempt(read_list, folder / "m.jsonl")
    stays_inside(records, folder)


@fuzz(17_000, content=content_like(EVALUATION))
def test_a_label_file_of_any_content(folder, content):
    labels = folder / "I/Session1/dialog/EmoEvaluation"
    wavs = folder / "I/Session1/sentences/wav/Ses01F_impro01"
    if not labels.is_dir():
        labels.mkdir(parents=True)
        wavs.mkdir(parents=True)
        for name in ("Ses01F_impro01_F000", "Ses01F_impro01_M000"):
            (wavs / f"{name}.wav").write_bytes(b"")
    (labels / "Ses01F_impro01.txt").write_bytes(content)
    try:
        records = read_iemocap(folder / "I")
    except DOCUMENTED as error:
        assert "Ses01F_impro01.txt, line " in str(error)
        return
    assert {one.emotion for one in records} <= set(EMOTIONS)
    stays_inside(records, wavs)


@fuzz(
    1_000,
    content=FOLD.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_fold_json_of_any_content(folder, content):
    (folder / "Session1").mkdir(exist_ok=True)
    for part in ("train", "test"):
        (folder / "Session1" / f"{part}_meta_data.json").write_bytes(content)
    stays_inside(attempt(read_folds, folder, "fold1", folder), folder)


@fuzz(1_000, content=content_like(LIST))
def test_a_split_list_of_any_content(folder, content):
    for name in ("id10001/x/00001.wav", "id10002/y/00001.wav"):
        (folder / "V/dev/wav" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "V/dev/wav" / name).write_bytes(b"")
    (folder / "V/iden_split.txt").write_bytes(content)
    stays_inside(attempt(read_voxceleb1, folder / "V"), folder / "V")
