"""Corpora of dialogues of a series: whole trees of names against published counts, and traps."""

from collections import Counter

import pytest
from corpus_files import plant, read, read_tree, touch, write

from spknorm.corpora.known import CORPORA
from spknorm.errors import DataError, MissingError

MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID"


# --- MELD


def test_all_of_meld(tmp_path, caplog):
    plant(tmp_path, "meld")
    records = read(tmp_path, "meld", labels="all")
    assert "differ" not in caplog.text
    assert "4 recordings of MELD are known to be damaged" in caplog.text
    counts = Counter(one.emotion for one in records)
    assert len(records) == 13708 - 4
    assert sum(counts[one] for one in ("neu", "hap", "ang", "sad")) >= 11353 - 4
    assert len({one.speaker for one in records}) == 304
    by_part = {part: {r.speaker for r in records if r.split == part} for part in ("train", "test")}
    assert len(by_part["test"]) == 100
    assert len(by_part["test"] & by_part["train"]) == 69


def test_melds_numbers_begin_anew_in_each_part(tmp_path):
    touch(tmp_path, ["train_splits/dia0_utt0.mp4"], b"one")
    touch(tmp_path, ["dev_splits_complete/dia0_utt0.mp4"], b"another")
    for part in ("train", "dev"):
        write(tmp_path, f"{part}_sent_emo.csv", MELD, "1,Hi,Joey,joy,positive,0,0")
    one, other = read_tree(tmp_path, "meld")
    assert (one.id, other.id) == ("train_dia0_utt0", "dev_dia0_utt0")
    assert (one.split, other.split) == ("train", "dev")
    assert (one.channel, one.speaker, one.label("sex")) == ("centre", "meld_Joey", "male")


def test_melds_clips_without_a_row_and_rows_without_a_clip_are_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, ["train_splits/dia0_utt0.mp4", "train_splits/dia0_utt7.mp4"])
    touch(tmp_path, ["train_splits/._dia0_utt0.mp4", "train_splits/final_videos_testdia0_utt0.mp4"])
    rows = ["1,Hi,Joey,joy,positive,0,0", "2,Hi,Joey,joy,positive,0,1"]
    write(tmp_path, "train_sent_emo.csv", MELD, *rows)
    assert len(read_tree(tmp_path, "meld")) == 1
    assert "1 utterances in MELD's tables have no recording and are left out, the first: " in (
        caplog.text
    )
    assert "2 without a row in the corpus' tables" in caplog.text


def test_a_wav_beside_a_video_of_meld_is_read_instead(tmp_path):
    touch(tmp_path, ["train_splits/dia0_utt0.mp4"], b"video")
    touch(tmp_path, ["train_splits/dia0_utt0.wav"], b"sound")
    write(tmp_path, "train_sent_emo.csv", MELD, "1,Hi,Joey,joy,positive,0,0")
    (one,) = read_tree(tmp_path, "meld")
    assert one.path.suffix == ".wav"


@pytest.mark.parametrize("name", ["All", "Ross and Joey", "Joey/Drake", "Both", "The Guys"])
def test_several_at_once_are_no_speaker_of_a_speaker_corpus(name, tmp_path):
    touch(tmp_path, ["train_splits/dia0_utt0.mp4", "train_splits/dia0_utt1.mp4"])
    rows = ["1,Hi,Joey,joy,positive,0,0", f"2,Hi,{name},joy,positive,0,1"]
    write(tmp_path, "train_sent_emo.csv", MELD, *rows)
    assert len(read(tmp_path, "meld")) == 2
    assert [one.speaker for one in read(tmp_path, "meld", "speaker")] == ["meld_Joey"]


def test_a_meld_table_without_a_column_is_named(tmp_path):
    touch(tmp_path, ["train_splits/dia0_utt0.mp4"])
    write(tmp_path, "train_sent_emo.csv", "Utterance,Emotion", "Hi,joy")
    with pytest.raises(DataError) as error:
        read_tree(tmp_path, "meld")
    assert str(error.value) == (
        f"{tmp_path}/train_sent_emo.csv lacks the columns Speaker, Dialogue_ID, Utterance_ID; it "
        "has Utterance, Emotion."
    )


def test_what_is_not_meld_says_what_was_expected(tmp_path):
    with pytest.raises(MissingError) as error:
        read_tree(tmp_path, "meld")
    assert str(error.value) == f"{tmp_path} is not MELD: expected train_sent_emo.csv in it."


# --- EmoryNLP


def test_all_of_emorynlp(tmp_path, caplog):
    plant(tmp_path, "emorynlp")
    records = read(tmp_path, "emorynlp", labels="all")
    assert "differ" not in caplog.text
    assert "3 recordings of EmoryNLP are known to be damaged" in caplog.text
    assert len(records) == 9489 - 3
    assert {one.emotion for one in records} == set(CORPORA["emorynlp"].classes)


def test_emorynlps_lists_of_several_speakers_are_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    paths = [f"emorynlp_dev_splits/sea1_ep2_sc3_utt{n}.mp4" for n in (1, 2)]
    touch(tmp_path, paths)
    header = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode"
    rows = ["Hi,['Joey Tribbiani'],Joyful,3,1,1,2", """Hi,"['Joey T', 'Ross G']",Mad,3,2,1,2"""]
    write(tmp_path, "emorynlp_dev_final.csv", header, *rows)
    (one,) = read_tree(tmp_path, "emorynlp")
    assert (one.speaker, one.emotion, one.original) == ("emorynlp_Joey Tribbiani", "hap", "joyful")
    assert (one.split, one.label("sex")) == ("dev", "male")
    assert "1 with several speakers" in caplog.text


def test_peaceful_and_powerful_are_none_of_the_four():
    assert {"peaceful", "powerful", "scared"} <= set(CORPORA["emorynlp"].classes)
