"""Lists of other tools, read where they lie: EmoBox, audformat, nkululeko, Kaldi."""

import json

import numpy as np
import pytest
from corpus_files import write

from spknorm.audio import load_audio
from spknorm.corpora.doors import read_list
from spknorm.corpora.reading import read_corpus
from spknorm.errors import ConfigError, DataError, MissingError
from spknorm.schema import DataConfig, ExpertConfig


def seen(records):
    return [(one.path.name, one.emotion, one.original, one.speaker, one.split) for one in records]


# --- Kaldi


def test_kaldis_lists(sounds):
    write(sounds, "wav.scp", "u1 a.wav", "u2\tb.wav")
    write(sounds, "utt2spk", "u1 anna", "u2 ben")
    write(sounds, "utt2emo", "u1 happiness", "u2 neutral")
    write(sounds, "text", "u1 HELLO THERE", "u2 WELL")
    write(sounds, "spk2gender", "anna f", "ben m")
    write(sounds, "utt2split", "u1 train", "u2 test")
    one, other = read_list(sounds)
    assert seen([one]) == [("a.wav", "hap", "happiness", "anna", "train")]
    assert (one.id, one.sentence, one.label("sex")) == ("u1", "HELLO THERE", "female")
    assert (other.speaker, other.label("sex")) == ("ben", "male")


def test_kaldis_segments_are_parts_of_recordings(sounds):
    write(sounds, "wav.scp", "r a.wav")
    write(sounds, "segments", "u1 r 0.25 0.75", "u2 r 1.0 1.5")
    write(sounds, "utt2spk", "u1 anna", "u2 anna")
    records = read_list(sounds)
    whole = load_audio(sounds / "a.wav")
    assert np.array_equal(load_audio(records[0].audio), whole[4000:12000])
    assert np.array_equal(load_audio(records[1].audio), whole[16000:24000])


def test_a_command_in_wav_scp_is_not_run(sounds):
    write(sounds, "wav.scp", "u1 sph2pipe -f wav a.sph |", "u2 a.wav")
    with pytest.raises(DataError) as error:
        read_list(sounds)
    assert str(error.value) == (
        f"1 lines in {sounds} cannot be used:\n  `u1`: `u1` is made by a command, which is not "
        "run: write the file itself"
    )


def test_kaldis_paths_may_not_leave_unless_that_is_meant(sounds):
    (sounds / "data").mkdir()
    write(sounds, "data/wav.scp", f"u1 {sounds}/a.wav")
    with pytest.raises(DataError, match="leads out of the root"):
        read_list(sounds / "data")
    assert read_list(sounds / "data", allow_outside=True)[0].path == sounds / "a.wav"
    assert read_list(sounds / "data", root=sounds)[0].path == sounds / "a.wav"


# --- nkululeko


def test_nkululekos_csv(sounds):
    rows = ["a.wav,anna,female,anger", "b.wav,unknown,male,boredom"]
    write(sounds, "list.csv", "file,speaker,gender,emotion", *rows)
    one, other = read_list(sounds / "list.csv")
    assert seen([one]) == [("a.wav", "ang", "anger", "anna", None)]
    assert (one.label("sex"), other.speaker, other.emotion) == ("female", None, "boredom")


def test_nkululekos_parts_of_files_may_be_written_as_time_spans(sounds):
    rows = ["a.wav,0 days 00:00:00.500000,0 days 00:00:01,anna,sad", "a.wav,1.0,1.5,anna,happy"]
    write(sounds, "list.csv", "file,start,end,speaker,emotion", *rows)
    records = read_list(sounds / "list.csv")
    assert [(one.start, one.end) for one in records] == [(0.5, 1.0), (1.0, 1.5)]
    assert len({one.id for one in records}) == 2


def test_a_line_of_nkululekos_that_cannot_be_used_is_named(sounds):
    rows = ["a.wav,0,x,anna", "a.wav,0,1,anna", "a.wav,0,1,anna"]
    write(sounds, "list.csv", "file,start,end,speaker", *rows)
    with pytest.raises(DataError) as error:
        read_list(sounds / "list.csv")
    assert "  line 2: " in str(error.value)
    assert "  line 4: `a.wav[0,1]` is that of line 3" in str(error.value)


# --- audformat


def audformat(root, *, segmented=False):
    header = {
        "name": "db",
        "schemes": {
            "speaker": {"dtype": "int", "labels": {"3": {"gender": "female"}}},
            "emotion": {"dtype": "str", "labels": ["anger", "neutral"]},
        },
        "splits": {"train": {"type": "train"}, "test": {"type": "test"}},
        "tables": {
            "emotion.train": {
                "type": "segmented" if segmented else "filewise",
                "split_id": "train",
                "columns": {"emotion": {"scheme_id": "emotion"}},
            },
            "files": {"type": "filewise", "columns": {"speaker": {"scheme_id": "speaker"}}},
            "speaker": {"type": "misc", "columns": {}},
        },
    }
    write(root, "db.yaml", json.dumps(header))  # which is YAML, too
    write(root, "db.files.csv", "file,speaker", "a.wav,3", "b.wav,4")


def test_audformats_tables_are_put_together(sounds):
    audformat(sounds)
    write(sounds, "db.emotion.train.csv", "file,emotion", "a.wav,anger", "b.wav,neutral")
    one, other = read_list(sounds)
    assert seen([one, other]) == [
        ("a.wav", "ang", "anger", "3", "train"),
        ("b.wav", "neu", "neutral", "4", "train"),
    ]
    assert (one.label("sex"), other.label("sex")) == ("female", None)


def test_audformats_parts_inherit_what_is_known_of_their_file(sounds):
    audformat(sounds, segmented=True)
    rows = ["a.wav,0 days 00:00:00,0 days 00:00:00.750000,anger", "a.wav,0 days 00:00:01,,neutral"]
    write(sounds, "db.emotion.train.csv", "file,start,end,emotion", *rows)
    one, other = read_list(sounds)
    assert (one.start, one.end, one.speaker, one.split) == (0.0, 0.75, "3", "train")
    assert (other.start, other.end, other.emotion) == (1.0, None, "neu")
    assert len(load_audio(other.audio)) == 16000


def test_audformats_parquet_tables(sounds):
    import pandas as pd

    audformat(sounds, segmented=True)
    table = pd.DataFrame(
        {"emotion": ["anger"]},
        index=pd.MultiIndex.from_arrays(
            [["a.wav"], pd.to_timedelta([0.5], unit="s"), pd.to_timedelta([1.5], unit="s")],
            names=["file", "start", "end"],
        ),
    )
    table.to_parquet(sounds / "db.emotion.train.parquet")
    (one,) = read_list(sounds)
    assert (one.start, one.end, one.emotion, one.speaker) == (0.5, 1.5, "ang", "3")


def test_a_table_of_audformat_that_is_not_there_is_named(sounds):
    audformat(sounds)
    with pytest.raises(MissingError) as error:
        read_list(sounds)
    assert str(error.value) == (
        f"{sounds} has neither db.emotion.train.csv nor db.emotion.train.parquet."
    )


# --- EmoBox


def emobox(root):
    for fold, test in (("1", "b"), ("2", "a")):
        for part, names in (("train", "ab".replace(test, "")), ("test", test)):
            rows = [
                json.dumps(
                    {"key": f"db-{name}", "dataset": "db", "wav": f"{name}.wav", "emo": code}
                )
                for name, code in (("a", "A"), ("b", "neutral"))
                if name in names
            ]
            write(root, f"fold_{fold}/db_{part}_fold_{fold}.jsonl", *rows)
    write(root, "label_map.json", '{"a": "Anger", "Neutral": "Neutral"}')
    write(
        root, "data.seg.wrd.stm", "db-a 1 x 0 2 <spk=anna,emo=A> hello", "db-b 1 x 0 2 <spk=ben,>"
    )


def test_emoboxs_folds_parts_and_speakers(sounds):
    emobox(sounds)
    records = read_list(sounds, by_part=True)
    assert [(one.id, one.label("fold"), one.split) for one in records] == [
        ("db-a", "fold_1", "train"), ("db-b", "fold_1", "test"),
        ("db-b", "fold_2", "train"), ("db-a", "fold_2", "test"),
    ]  # fmt: skip
    assert {(one.id, one.speaker, one.emotion) for one in records} == {
        ("db-a", "anna", "ang"), ("db-b", "ben", "neu"),  # in spite of the case of its map
    }  # fmt: skip


def test_a_speaker_of_emobox_may_be_a_path_with_spaces(sounds):
    emobox(sounds)
    line = "db-a 1 x 0 2 <emo=A,spk=downloads/Raw JL corpus (unchecked)/female1> hello"
    write(sounds, "data.seg.wrd.stm", line)
    speakers = {one.id: one.speaker for one in read_list(sounds)}
    assert speakers == {"db-a": "downloads/Raw JL corpus (unchecked)/female1", "db-b": None}


def test_emoboxs_utterances_are_there_once_for_a_training(sounds):
    emobox(sounds)
    records = read_list(sounds)
    assert [(one.id, one.split, one.label("fold")) for one in records] == [
        ("db-a", None, None), ("db-b", None, None)
    ]  # fmt: skip
    one_fold = read_list(sounds / "fold_1", root=sounds)
    assert [(one.id, one.split) for one in one_fold] == [("db-a", "train"), ("db-b", "test")]


def test_emoboxs_times_and_channel_are_heard(sounds):
    row = {"key": "k", "wav": "a.wav", "emo": "joy", "start_time": 0.5, "end_time": 1.0}
    write(sounds, "x_train_fold_1.jsonl", json.dumps({**row, "channel": 3}))
    (one,) = read_list(sounds / "x_train_fold_1.jsonl")
    assert (one.start, one.end, one.channel, one.emotion) == (0.5, 1.0, "3", "hap")


def test_a_line_of_emoboxs_that_cannot_be_used_is_named(sounds):
    rows = ['{"key": "k", "wav": "a.wav"}', "{", '{"key": "m", "emo": "joy"}']
    write(sounds, "x_train_fold_1.jsonl", *rows)
    with pytest.raises(DataError) as error:
        read_list(sounds / "x_train_fold_1.jsonl")
    assert "x_train_fold_1.jsonl, line 2: not JSON" in str(error.value)
    assert "x_train_fold_1.jsonl, line 3: lacks 'wav'" in str(error.value)


# --- all of them


def test_a_training_reads_a_door_by_the_setting_manifest(sounds):
    write(sounds, "wav.scp", "u1 a.wav", "u2 b.wav")
    write(sounds, "utt2emo", "u1 happy", "u2 excited")
    data = DataConfig(corpus="manifest", manifest=str(sounds), labels="all")
    assert [one.emotion for one in read_corpus(ExpertConfig(datarc=data), "emotion")] == [
        "hap", "excited"
    ]  # fmt: skip


def test_a_folder_of_no_known_kind_says_which_are_known(tmp_path):
    with pytest.raises(ConfigError) as error:
        read_list(tmp_path)
    assert str(error.value).startswith(
        f"The folder {tmp_path} is of no known kind. Known are audformat: the folder with db.yaml; "
        "Kaldi: the folder with wav.scp; "
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_excel_writes_is_read_by_every_door_for_tables(separator, end, sounds):
    rows = [["file", "speaker", "emotion"], ["a.wav", "anna", "joy"]]
    text = end.join(separator.join(row) for row in rows) + end
    (sounds / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    if separator != "\t":
        assert seen(read_list(sounds / "list.csv")) == [("a.wav", "hap", "joy", "anna", None)]
    (sounds / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("file", "path").encode())
    assert read_list(sounds / "list.csv")[0].speaker == "anna"
