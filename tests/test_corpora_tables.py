"""Corpora whose labels are in tables: whole trees of names against published counts, and traps."""

from collections import Counter

import pytest

from spknorm.corpora import CORPORA, read_corpus
from spknorm.corpora.dialogues import read_dialogues
from spknorm.corpora.msp_improv import parse_name, read_msp_improv
from spknorm.corpora.msp_podcast import read_msp_podcast
from spknorm.demo.corpus_trees import TREES
from spknorm.errors import DataError, MissingError
from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig


def touch(root, paths, content=b""):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def plant(root, corpus, *, some=None):
    """Write a tree of names and its tables, without sound; return the names."""
    names = list(TREES[corpus].names())[:some]
    touch(root, [name.path for name in names])
    for place, text in TREES[corpus].tables(names).items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8", newline="")
    return names


def write(root, place, *lines):
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(root, corpus, role="emotion", **settings):
    if role == "speaker":
        section = SpeakerCorpusConfig(corpus=corpus, root=str(root))
        return read_corpus(ExpertConfig(speaker_corpus=section), role)
    data = DataConfig(corpus=corpus, root=str(root), **settings)
    return read_corpus(ExpertConfig(datarc=data), role)


MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID"
IMPROV = "MSP-IMPROV-S01A-F01-P-"


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
    one, other = read_dialogues(tmp_path, "meld")
    assert (one.id, other.id) == ("train_dia0_utt0", "dev_dia0_utt0")
    assert (one.split, other.split) == ("train", "dev")
    assert (one.channel, one.speaker, one.label("sex")) == ("centre", "meld_Joey", "male")


def test_melds_clips_without_a_row_and_rows_without_a_clip_are_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, ["train_splits/dia0_utt0.mp4", "train_splits/dia0_utt7.mp4"])
    touch(tmp_path, ["train_splits/._dia0_utt0.mp4", "train_splits/final_videos_testdia0_utt0.mp4"])
    rows = ["1,Hi,Joey,joy,positive,0,0", "2,Hi,Joey,joy,positive,0,1"]
    write(tmp_path, "train_sent_emo.csv", MELD, *rows)
    assert len(read_dialogues(tmp_path, "meld")) == 1
    assert "1 utterances in MELD's tables have no recording and are left out, the first: " in (
        caplog.text
    )
    assert "2 without a row in the corpus' tables" in caplog.text


def test_a_wav_beside_a_video_of_meld_is_read_instead(tmp_path):
    touch(tmp_path, ["train_splits/dia0_utt0.mp4"], b"video")
    touch(tmp_path, ["train_splits/dia0_utt0.wav"], b"sound")
    write(tmp_path, "train_sent_emo.csv", MELD, "1,Hi,Joey,joy,positive,0,0")
    (one,) = read_dialogues(tmp_path, "meld")
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
        read_dialogues(tmp_path, "meld")
    assert str(error.value) == (
        f"{tmp_path}/train_sent_emo.csv lacks the columns Speaker, Dialogue_ID, Utterance_ID; it "
        "has Utterance, Emotion."
    )


def test_what_is_not_meld_says_what_was_expected(tmp_path):
    with pytest.raises(MissingError) as error:
        read_dialogues(tmp_path, "meld")
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
    (one,) = read_dialogues(tmp_path, "emorynlp")
    assert (one.speaker, one.emotion, one.original) == ("emorynlp_Joey Tribbiani", "hap", "joyful")
    assert (one.split, one.label("sex")) == ("dev", "male")
    assert "1 with several speakers" in caplog.text


def test_peaceful_and_powerful_are_none_of_the_four():
    assert {"peaceful", "powerful", "scared"} <= set(CORPORA["emorynlp"].classes)


# --- MSP-IMPROV


def test_all_of_msp_improv(tmp_path, caplog):
    names = plant(tmp_path, "msp_improv")
    records = read(tmp_path, "msp_improv")
    assert "differs" not in caplog.text
    counts = Counter(one.emotion for one in records)
    assert [counts[one] for one in ("neu", "hap", "ang", "sad")] == [3477, 2644, 792, 885]
    truth = {str(tmp_path / name.path): name for name in names}
    assert all(
        one.speaker == f"msp_improv_{truth[str(one.path)].speaker}"
        and one.emotion == truth[str(one.path)].emotion
        for one in records
    )
    speakers = {one.speaker: one.label("sex") for one in records}
    assert Counter(speakers.values()) == {"female": 6, "male": 6}
    assert {one.session for one in records} == {f"Session{n}" for n in range(1, 7)}


def test_the_third_field_of_msp_improv_is_wrong_for_about_half_of_the_turns(tmp_path):
    names = [name.path.rsplit("/", 1)[1][:-4] for name in TREES["msp_improv"].names()]
    assert len(names) == 8438
    kinds = {kind: [n for n in map(parse_name, names) if n.kind == kind] for kind in "PRST"}
    shares = {
        kind: sum(one.scenario != one.speaker for one in of) / len(of) for kind, of in kinds.items()
    }
    assert shares["R"] == shares["T"] == 0
    assert 0.45 < shares["P"] < 0.55
    assert 0.45 < shares["S"] < 0.55


def test_the_first_field_of_iemocap_is_wrong_for_about_half_of_the_turns(tmp_path):
    from pathlib import Path

    from spknorm.corpora.iemocap import parse_name
    from spknorm.corpora.records import Utterance
    from spknorm.protocols.leaks import named_by_dialogue

    names = list(TREES["iemocap"].names())
    stems = [Path(name.path).stem for name in names]
    by_prefix = [Utterance(id=stem, path=Path(), speaker=stem[:6]) for stem in stems]
    num_names, wrong = named_by_dialogue(by_prefix)
    assert num_names == 10039
    assert 0.45 < wrong / num_names < 0.55
    assert [parse_name(stem).speaker for stem in stems] == [name.speaker for name in names]


def test_what_a_line_of_msp_improv_says(tmp_path):
    touch(tmp_path, [f"Audio/session1/S01A/P/{IMPROV}MF02.wav"])
    write(
        tmp_path,
        "Evaluation.txt",  # as some copies are spelt
        "UTD-IMPROV-S01A-F01-P-MF02.avi; H; A:1.500000; V:3.25; D:2.500000; N:4.0; ",
        "WORKER00000001; Happy; Happy,Excited; A:1.0; V:3.0; D:2.0; N:4.0; ",
        "WORKER00000002; Neutral; Neutral; A:2.0; V:3.5; D:3.0; N:4.0; ",
        "WORKER00000003; Happy; Happy; A:1.5; V:3.0; D:2.0; N:4.0; ",
    )
    (one,) = read_msp_improv(tmp_path)
    assert (one.speaker, one.session, one.turn) == ("msp_improv_M01", "Session1", "improvised")
    assert (one.sentence, one.part, one.label("sex")) == ("S01", "P", "male")
    assert one.votes == (("happy", 2.0), ("neutral", 1.0))
    assert (one.arousal, one.valence, one.dominance) == (4.5, 3.25, 2.5)  # upside down no more
    assert CORPORA["msp_improv"].scale == (1.0, 5.0)


def test_what_raters_do_not_agree_on_is_left_out_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, [f"{IMPROV}FM0{n}.wav" for n in (1, 2)])
    lines = [f"UTD-IMPROV-S01A-F01-P-FM0{n}.avi; {code}; A:1; V:1; D:1;" for n, code in ((1, "X"), (2, "N"))]  # fmt: skip # noqa: E501
    write(tmp_path, "Evalution.txt", *lines)
    assert [one.emotion for one in read_msp_improv(tmp_path)] == ["neu"]
    both = read(tmp_path, "msp_improv", targets="dimensions")
    assert [(one.emotion, one.arousal) for one in both] == [(None, 5.0), ("neu", 5.0)]
    assert "1 without agreement (X)" in caplog.text


def test_a_class_that_msp_improv_does_not_have_is_named(tmp_path):
    write(tmp_path, "Evalution.txt", "UTD-IMPROV-S01A-F01-P-FM01.avi; Q; A:1; V:1; D:1;")
    with pytest.raises(DataError, match="line 1: unknown class `Q`, MSP-IMPROV has A, S, H, N, O"):
        read_msp_improv(tmp_path)


# --- MSP-Podcast


def test_all_of_msp_podcasts_four_classes(tmp_path):
    plant(tmp_path, "msp_podcast")
    records = read(tmp_path, "msp_podcast")
    counts = Counter((one.part, one.emotion) for one in records)
    assert [counts["Train", e] for e in ("neu", "hap", "ang", "sad")] == [16518, 8564, 1839, 1680]
    assert Counter(one.split for one in records) == {"train": 28601, "dev": 4772, "test": 12787}
    assert not any("Unknown" in str(one.speaker) for one in records)


HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"


@pytest.mark.parametrize("name", ["labels_consensus.csv", "labels_concensus.csv"])
@pytest.mark.parametrize("folder", ["Audios", "Audio"])
def test_both_spellings_of_msp_podcasts_releases(name, folder, tmp_path):
    touch(tmp_path, [f"{folder}/a.wav"])
    write(tmp_path, f"Labels/{name}", HEADER, "a.wav,H,5.2,4.8,4.0,12,Female,Development")
    (one,) = read_msp_podcast(tmp_path)
    assert (one.speaker, one.split, one.part) == ("msp_podcast_12", "dev", "Development")
    assert (one.arousal, one.valence, one.dominance) == (5.2, 4.8, 4.0)
    assert one.label("sex") == "female"


def test_an_unknown_speaker_is_nobody_and_drawn_for_no_speaker_head(tmp_path, caplog):
    caplog.set_level("INFO")
    rows = [f"{n}.wav,H,5,4,4,{who},Female,Train" for n, who in enumerate(("1", "Unknown", "2"))]
    touch(tmp_path, [f"Audios/{n}.wav" for n in range(3)])
    write(tmp_path, "Labels/labels_consensus.csv", HEADER, *rows)
    assert [one.speaker for one in read(tmp_path, "msp_podcast")] == [
        "msp_podcast_1", None, "msp_podcast_2"
    ]  # fmt: skip
    speakers = [one.speaker for one in read(tmp_path, "msp_podcast", "speaker")]
    assert speakers == ["msp_podcast_1", "msp_podcast_2"]
    assert "1 of 3 utterances of MSP-Podcast have no known speaker and are drawn for no" in (
        caplog.text
    )


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "labels_detailed.csv",
            [
                "FileName,EmoDetail",
                'a.wav,"WORKER01; Happy; Happy,Excited; A:5; V:5; D:5;"',
                'a.wav,"WORKER02; Happy; Happy; A:5; V:5; D:5;"',
                'a.wav,"WORKER03; Other-amused; Other; A:5; V:5; D:5;"',
            ],
        ),
        (
            "labels_detailed.csv",
            [
                "FileName,Workers,EmoClass_Major,EmoClass_Second",
                "a.wav,WORKER01,Happy,Happy",
                "a.wav,WORKER02,Happy,Happy",
                "a.wav,WORKER03,Other-amused,Other",
            ],
        ),
        (
            "labels_detailed.json",
            [
                '{"a.wav": {"WORKER01": {"EmoClass_Major": "Happy"}, "WORKER02": '
                '{"EmoClass_Major": "Happy"}, "WORKER03": {"EmoClass_Major": "Other-amused"}}}'
            ],
        ),
    ],
)
def test_votes_come_from_each_form_of_the_detailed_table(name, lines, tmp_path):
    touch(tmp_path, ["Audios/a.wav"])
    write(tmp_path, "Labels/labels_consensus.csv", HEADER, "a.wav,H,5,4,4,1,Female,Train")
    write(tmp_path, f"Labels/{name}", *lines)
    assert read_msp_podcast(tmp_path)[0].votes == (("happy", 2.0), ("other", 1.0))


def test_withheld_labels_of_test3_are_left_out_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, ["Audios/a.wav", "Audios/MSP-PODCAST_test3_0001.wav"])
    rows = ["a.wav,N,5,4,4,1,Female,Test1", "MSP-PODCAST_test3_0001.wav,,,,,,,Test3"]
    write(tmp_path, "Labels/labels_consensus.csv", HEADER, *rows, "b.wav,X,4,4,4,1,Female,Train")
    assert [one.part for one in read_msp_podcast(tmp_path)] == ["Test1"]
    touch(tmp_path, ["Audios/b.wav"])
    both = read(tmp_path, "msp_podcast", targets="dimensions")
    assert [(one.emotion, one.arousal) for one in both] == [("neu", 5.0), (None, 4.0)]
    assert "1 without a label (Test3), 1 without agreement (X)" in caplog.text


def test_speakers_may_be_in_a_file_of_their_own(tmp_path):
    touch(tmp_path, ["Audios/a.wav", "Audios/b.wav"])
    rows = ["a.wav,N,5,4,4,,Female,Test1", "b.wav,N,5,4,4,,Female,Test1"]
    write(tmp_path, "Labels/labels_consensus.csv", HEADER, *rows)
    write(tmp_path, "Speaker_ids.txt", "a.wav; 17", "b.wav; Unknown")
    assert [one.speaker for one in read_msp_podcast(tmp_path)] == ["msp_podcast_17", None]


def test_biic_podcast_is_read_alike(tmp_path):
    plant(tmp_path, "biic_podcast")
    records = read(tmp_path, "biic_podcast")
    assert (len(records), records[0].language) == (240, "zh")
    assert all(one.speaker.startswith("biic_podcast_") for one in records)


# --- Emozionalmente


def test_all_of_emozionalmente(tmp_path, caplog):
    plant(tmp_path, "emozionalmente")
    records = read(tmp_path, "emozionalmente", labels="all")
    assert "differs" not in caplog.text
    assert set(Counter(one.original for one in records).values()) == {986}
    assert len({one.speaker for one in records}) == 431
    assert len({one.sentence for one in records}) == 18
    assert records[0].votes == (("neutrality", 4.0), ("joy", 1.0))
    assert {one.label("sex") for one in records} == {"female", "male"}


def test_emozionalmente_without_listeners_is_read_without_votes(tmp_path):
    touch(tmp_path, ["audio/1.wav"])
    header = "file_name,sentence,actor,emotion_expressed"
    write(tmp_path, "metadata/samples.csv", header, "1.wav,Ciao,anna,joy")
    (one,) = read(tmp_path, "emozionalmente", labels="all")
    assert (one.emotion, one.speaker, one.votes) == ("hap", "emozionalmente_anna", ())


# --- CAMEO


def test_cameos_speakers_are_numbered_anew_in_each_of_its_corpora(tmp_path, monkeypatch):
    from spknorm.demo.corpus_trees import write_tree

    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    written = write_tree(tmp_path / "tree", "cameo", num_speakers=26, per_emotion=1)
    records = read(tmp_path / "tree", "cameo")
    assert len(records) == len(written) == 104
    assert len({one.speaker for one in records}) == 26
    assert {one.part for one in records} == {one.label("corpus") for one in records}
    assert len({one.part for one in records}) == 13
    assert all(one.path.is_relative_to(tmp_path / "cache") for one in records)
    stamps = {one.path: one.path.stat().st_mtime_ns for one in records}
    assert [one.path for one in read(tmp_path / "tree", "cameo")] == list(
        dict.fromkeys(one.path for one in records)
    )
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


# --- IEMOCAP


def test_all_words_of_iemocap_come_with_votes_and_dimensions(tmp_path):
    touch(tmp_path, ["Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"])
    write(
        tmp_path,
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]",
        "",
        "[6.2901 - 8.2357]\tSes01F_impro01_M000\texc\t[4.5000, 3.5000, 2.0000]",
        "C-E2:\tExcited; Happiness;\t()",
        "C-E3:\tExcited;\t()",
        "C-E4:\tOther;\t(amazed)",
        "C-F1:\tNeutral state;\t()",  # the actress of herself
        "A-E3:\tval 4; act 4; dom  2;\t()",
    )
    (one,) = read(tmp_path, "iemocap", labels="all")
    assert (one.emotion, one.original, one.speaker) == ("exc", "exc", "Ses01_M")
    assert one.votes == (("exc", 1.5), ("oth", 1.0), ("hap", 0.5))
    assert (one.valence, one.arousal, one.dominance) == (4.5, 3.5, 2.0)
    (four,) = read(tmp_path, "iemocap")
    assert (four.emotion, four.original) == ("hap", "exc")
