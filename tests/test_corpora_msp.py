"""The MSP corpora: whole trees of names against published counts, and traps."""

from collections import Counter

import pytest
from corpus_files import plant, read, read_tree, touch, write

from spknorm.corpora.known import CORPORA
from spknorm.corpora.msp_improv import parse_name
from spknorm.demo.corpus_trees import TREES
from spknorm.errors import DataError

IMPROV = "MSP-IMPROV-S01A-F01-P-"


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
    (one,) = read_tree(tmp_path, "msp_improv")
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
    assert [one.emotion for one in read_tree(tmp_path, "msp_improv")] == ["neu"]
    both = read(tmp_path, "msp_improv", targets="dimensions")
    assert [(one.emotion, one.arousal) for one in both] == [(None, 5.0), ("neu", 5.0)]
    assert "1 without agreement (X)" in caplog.text


def test_a_class_that_msp_improv_does_not_have_is_named(tmp_path):
    write(tmp_path, "Evalution.txt", "UTD-IMPROV-S01A-F01-P-FM01.avi; Q; A:1; V:1; D:1;")
    with pytest.raises(DataError, match="line 1: unknown class `Q`, MSP-IMPROV has A, S, H, N, O"):
        read_tree(tmp_path, "msp_improv")


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
    (one,) = read_tree(tmp_path, "msp_podcast")
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


def test_who_speaks_is_known_of_what_raters_do_not_agree_on(tmp_path):
    touch(tmp_path, ["Audios/a.wav", "Audios/b.wav"])
    rows = [f"{who}.wav,{code},5,4,4,{who},Female,Train" for who, code in ("aX", "bH")]
    write(tmp_path, "Labels/labels_consensus.csv", HEADER, *rows)
    assert len(read(tmp_path, "msp_podcast")) == 1
    assert len(read(tmp_path, "msp_podcast", "speaker")) == 2
    assert len(read(tmp_path, "msp_podcast", "speaker", label="emotion")) == 1


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
    assert read_tree(tmp_path, "msp_podcast")[0].votes == (("happy", 2.0), ("other", 1.0))


def test_withheld_labels_of_test3_are_left_out_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, ["Audios/a.wav", "Audios/MSP-PODCAST_test3_0001.wav"])
    rows = ["a.wav,N,5,4,4,1,Female,Test1", "MSP-PODCAST_test3_0001.wav,,,,,,,Test3"]
    write(tmp_path, "Labels/labels_consensus.csv", HEADER, *rows, "b.wav,X,4,4,4,1,Female,Train")
    assert [one.part for one in read_tree(tmp_path, "msp_podcast")] == ["Test1"]
    touch(tmp_path, ["Audios/b.wav"])
    both = read(tmp_path, "msp_podcast", targets="dimensions")
    assert [(one.emotion, one.arousal) for one in both] == [("neu", 5.0), (None, 4.0)]
    assert "1 without a label (Test3), 1 without agreement (X)" in caplog.text


def test_speakers_may_be_in_a_file_of_their_own(tmp_path):
    touch(tmp_path, ["Audios/a.wav", "Audios/b.wav"])
    rows = ["a.wav,N,5,4,4,,Female,Test1", "b.wav,N,5,4,4,,Female,Test1"]
    write(tmp_path, "Labels/labels_consensus.csv", HEADER, *rows)
    write(tmp_path, "Speaker_ids.txt", "a.wav; 17", "b.wav; Unknown")
    assert [one.speaker for one in read_tree(tmp_path, "msp_podcast")] == ["msp_podcast_17", None]


def test_biic_podcast_is_read_alike(tmp_path):
    plant(tmp_path, "biic_podcast")
    records = read(tmp_path, "biic_podcast")
    assert (len(records), records[0].language) == (240, "zh")
    assert all(one.speaker.startswith("biic_podcast_") for one in records)
