"""Corpora with coded file names: whole trees of names against the published counts, and traps."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest
from corpus_files import link_many, read, read_tree, touch

from spknorm.corpora.known import CORPORA
from spknorm.corpora.reading import read_corpus
from spknorm.demo.coded_names import CODED, names_of
from spknorm.errors import DataError, MissingError
from spknorm.schema import ExpertConfig, SpeakerCorpusConfig

PUBLISHED = {  # utterances; neutral, happy, angry, sad; women, men (None: not told)
    "ravdess": (1440, (96, 192, 192, 192), (12, 12)),
    "ravdess_song": (1012, (92, 184, 184, 184), (11, 12)),
    "crema_d": (7442, (1087, 1271, 1271, 1271), None),
    "emodb": (535, (79, 71, 127, 62), (5, 5)),
    "tess": (2800, (400, 400, 400, 400), (2, 0)),
    "savee": (480, (120, 60, 60, 60), (0, 4)),
    "esd": (35000, (7000, 7000, 7000, 7000), (10, 10)),
    "emovo": (588, (84, 84, 84, 84), (3, 3)),
    "emov_db": (6887, (1566, 0, 1267, 0), (2, 2)),
    "shemo": (2838, (1018, 198, 1034, 360), (31, 56)),
    "jl": (2400, (240, 240, 240, 240), (2, 2)),
    "cafe": (936, (72, 144, 144, 144), (6, 6)),
    "aesdd": (604, (0, 119, 121, 122), None),
    "enterface": (1263, (0, 208, 211, 211), None),
    "casia": (1200, (200, 200, 200, 200), None),
    "subesco": (7000, (1000, 1000, 1000, 1000), (10, 10)),
    "asvp_esd": (5140, (1314, 613, 1064, 551), None),
}


def test_asvp_esds_stray_emotion_and_its_sounds_that_are_no_speech_are_not_taken(tmp_path, caplog):
    caplog.set_level("INFO")
    tail = "01-01-02-02-01.wav"
    touch(tmp_path, [f"Audio/actor_02/03-01-{code}-{tail}" for code in ("05", "17")])
    touch(tmp_path, [f"Bonus/actor_02/03-02-05-{tail}"])
    (one,) = read_tree(tmp_path, "asvp_esd")
    assert (one.emotion, one.speaker, one.label("sex")) == ("ang", "asvp_esd_02", "male")
    assert "1 of channel 02" in caplog.text
    assert "1 not where the corpus has its recordings" in caplog.text


def test_every_layout_has_a_name_in_the_schema_a_tree_and_published_counts():
    coded = {name for name, one in CORPORA.items() if one.names}
    assert coded == set(CODED) == set(PUBLISHED)


@pytest.mark.parametrize(
    "corpus",
    [pytest.param(one, marks=pytest.mark.slow) if one == "esd" else one for one in CODED],
)
def test_a_whole_tree_of_names_has_the_published_counts(corpus, tmp_path, caplog):
    names = names_of(corpus)
    records = read_tree(link_many(tmp_path, [name.path for name in names]), corpus)
    known = CORPORA[corpus]
    total, four, sexes = PUBLISHED[corpus]
    assert (known.num_utterances or sum(known.counts.values())) == total
    assert "differs" not in caplog.text
    lost = {one for one in known.damaged if one in caplog.text}
    assert len(records) == len(names) - len(lost)
    assert len(names) == total
    counted = Counter(name.emotion for name in names)
    assert tuple(counted[emotion] for emotion in ("neu", "hap", "ang", "sad")) == four
    by_path = {str(tmp_path / name.path): name for name in names}
    for one in records:
        name = by_path[str(one.path)]
        assert one.emotion == name.emotion
        if sexes is not None:
            assert one.label("sex") == ("female" if name.is_female else "male")
    speakers = {one.speaker: one.label("sex") for one in records}
    pairs = {(one.speaker, by_path[str(one.path)].speaker) for one in records}
    assert len(pairs) == len(speakers)  # one of ours for one of theirs
    if known.num_speakers is not None:
        assert len(speakers) == known.num_speakers
    if sexes is not None:
        counts = Counter(speakers.values())
        assert (counts["female"], counts["male"]) == sexes


def test_a_corpus_that_lacks_some_says_which(tmp_path, caplog):
    paths = [name.path for name in names_of("savee") if not name.path.endswith("KL/su07.wav")]
    read_tree(touch(tmp_path, paths), "savee")
    assert caplog.messages == [
        "This SAVEE differs from the published one (480 utterances): "
        "59 utterances of `surprise` instead of 60"
    ]


def test_a_part_of_a_corpus_is_not_compared(tmp_path, caplog):
    read_tree(touch(tmp_path, ["DC/a01.wav", "JE/n01.wav"]), "savee")
    assert not caplog.messages


def test_ravdess_videos_and_songs_are_not_its_speech(tmp_path, caplog):
    caplog.set_level("INFO")
    name = "01-05-01-02-01-01.wav"
    paths = [f"Actor_01/{modality}-{name}" for modality in ("01", "03")]
    touch(tmp_path, [*paths, "Actor_01/03-02-05-01-02-01-01.wav", "Actor_01/notes.wav"])
    (one,) = read_tree(tmp_path, "ravdess")
    assert one.id == "03-01-05-01-02-01-01"
    assert [song.id for song in read_tree(tmp_path, "ravdess_song")] == ["03-02-05-01-02-01-01"]
    assert caplog.messages[0].startswith(f"3 files under {tmp_path} are not taken: ")
    assert "1 of modality 01" in caplog.text


def test_what_a_ravdess_name_says(tmp_path):
    (one,) = read_tree(touch(tmp_path, ["Actor_02/03-01-02-02-01-02-02.wav"]), "ravdess")
    assert (one.emotion, one.speaker, one.session, one.split) == ("calm", "ravdess_02", None, None)
    assert (one.original, one.sentence, one.intensity, one.language) == (
        "calm", "01", "strong", "en"
    )  # fmt: skip
    assert one.labels == {"sex": "female"}


def test_calm_is_neutral_only_if_it_is_asked_for(tmp_path):
    codes = ("01", "02", "03", "04", "05", "06", "07", "08")
    touch(tmp_path, [f"Actor_01/03-01-{code}-01-01-01-01.wav" for code in codes])
    assert [one.emotion for one in read(tmp_path, "ravdess")] == ["neu", "hap", "sad", "ang"]
    everything = [one.emotion for one in read(tmp_path, "ravdess", labels="all")]
    assert everything == ["neu", "calm", "hap", "sad", "ang", "fea", "dis", "sur"]
    words = dict.fromkeys(CORPORA["ravdess"].words.values())
    asked = read(tmp_path, "ravdess", labels={"map": {**words, "calm": "neu", "neutral": "neu"}})
    assert [(one.emotion, one.label("original")) for one in asked] == [
        ("neu", "neutral"),
        ("neu", "calm"),
    ]


def test_corpora_without_all_four_train_all_they_have(tmp_path):
    touch(tmp_path, ["sam/Amused/amused_1-28_0001.wav", "sam/Neutral/neutral_1-28_0001.wav"])
    assert [one.emotion for one in read(tmp_path, "emov_db")] == ["amused", "neu"]


def test_crema_ds_old_name_and_its_silent_recording(tmp_path, caplog):
    paths = ["1040_ITH_SAD_X.wav", "1076_MTI_SAD_XX.wav", "1001_IEO_ANG_HI.wav"]
    records = read_tree(touch(tmp_path / "AudioWAV", paths).parent, "crema_d")
    assert [one.id for one in records] == ["1001_IEO_ANG_HI", "1040_ITH_SAD_XX"]
    assert "1 recordings of CREMA-D are known to be damaged and are left out: " in caplog.text
    assert "1076_MTI_SAD_XX (no signal)" in caplog.text


def test_crema_ds_wav_goes_before_its_mp3(tmp_path):
    touch(tmp_path, ["AudioMP3/1001_IEO_ANG_HI.mp3"], b"another")
    assert read_tree(tmp_path, "crema_d")[0].path.suffix == ".mp3"
    touch(tmp_path, ["AudioWAV/1001_IEO_ANG_HI.wav"])
    assert read_tree(tmp_path, "crema_d")[0].path.suffix == ".wav"


def test_crema_ds_sexes_are_in_its_table(tmp_path):
    touch(tmp_path, ["AudioWAV/1001_IEO_ANG_HI.wav", "AudioWAV/1002_IEO_ANG_HI.wav"])
    assert {one.label("sex") for one in read_tree(tmp_path, "crema_d")} == {None}
    table = "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,C,N\n1002,21,Female,C,N\n"
    (tmp_path / "VideoDemographics.csv").write_text(table)
    for root in (tmp_path, tmp_path / "AudioWAV"):
        assert [one.label("sex") for one in read_tree(root, "crema_d")] == ["male", "female"]


def test_tess_has_one_name_without_its_f_and_folders_of_any_case(tmp_path):
    paths = ["OAF_neutral/OA_bite_neutral.wav", "YAF_pleasant_surprised/YAF_bite_ps.wav"]
    one, other = read_tree(touch(tmp_path, [*paths, "OAF_Sad/OAF_bite_sad.wav"]), "tess")[::2]
    assert (one.id, one.speaker) == ("OAF_bite_neutral", "tess_OAF")
    assert (other.emotion, other.label("original")) == ("pleasant surprise",) * 2


def test_a_mirror_that_holds_everything_twice_is_read_once(tmp_path):
    names = ["OAF_Sad/OAF_bite_sad.wav", "tess/OAF_Sad/OAF_bite_sad.wav"]
    assert len(read_tree(touch(tmp_path, names, b"same"), "tess")) == 1


def test_two_files_of_one_name_that_differ_are_refused(tmp_path):
    touch(tmp_path, ["a/OAF_bite_sad.wav"], b"one")
    touch(tmp_path, ["b/OAF_bite_sad.wav"], b"another")
    with pytest.raises(DataError) as error:
        read_tree(tmp_path, "tess")
    assert str(error.value) == (
        "1 utterances of TESS have several files that differ; which one is meant cannot be known, "
        f"so remove the others:\n  OAF_bite_sad: {tmp_path}/a/OAF_bite_sad.wav, "
        f"{tmp_path}/b/OAF_bite_sad.wav"
    )


def test_savees_two_letters_are_not_one(tmp_path):
    paths = ["AudioData/DC/sa01.wav", "AudioData/DC/su01.wav", "AudioData/DC/a01.wav"]
    found = {one.id: one.emotion for one in read_tree(touch(tmp_path, paths), "savee")}
    assert found == {"DC_a01": "ang", "DC_sa01": "sad", "DC_su01": "sur"}
    flat = touch(tmp_path / "flat", ["DC_sa01.wav"])
    assert read_tree(flat, "savee")[0].id == "DC_sa01"


@pytest.mark.parametrize("number", [1, 10])
def test_subescos_women_and_men_of_one_number_are_two_people(tmp_path, number):
    names = [f"{sex}_{number:02d}_{who}_S_6_FEAR_5.wav" for sex, who in (("F", "A"), ("M", "B"))]
    records = read_tree(touch(tmp_path, names), "subesco")
    assert [one.speaker for one in records] == [
        f"subesco_F_{number:02d}",
        f"subesco_M_{number:02d}",
    ]


def test_esds_number_tells_the_emotion_whatever_its_folders_are_called(tmp_path):
    paths = [f"0011/x/0011_{number:06d}.wav" for number in (1, 350, 351, 701, 1051, 1401, 1750)]
    records = read_tree(touch(tmp_path, paths), "esd")
    assert [one.emotion for one in records] == ["neu", "neu", "ang", "hap", "sad", "sur", "sur"]
    assert [one.label("sentence") for one in records][:3] == ["en001", "en350", "en001"]
    official = touch(tmp_path / "b", ["0001/Angry/evaluation/0001_000351.wav"])
    (one,) = read_tree(official, "esd")
    assert (one.split, one.label("language"), one.label("sentence")) == ("dev", "zh", "zh001")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_cafes_accents_may_be_spelt_either_way(tmp_path, form):
    import unicodedata

    path = unicodedata.normalize(form, "Colère/Fort/01-C-2-1.wav")
    (one,) = read_tree(touch(tmp_path, [path]), "cafe")
    assert (one.emotion, one.label("intensity"), one.label("sex")) == ("ang", "strong", "male")


def test_cafes_letters_are_its_own(tmp_path):
    paths = [f"x/01-{letter}-1-1.wav" for letter in "CDJNPST"]
    found = [one.emotion for one in read_tree(touch(tmp_path, paths), "cafe")]
    assert found == ["ang", "dis", "hap", "neu", "fea", "sur", "sad"]


def test_aesdds_brackets_and_its_corrupt_recording(tmp_path, caplog):
    paths = [
        "anger/a03 (3).wav",
        "fear/f10 (01).wav",
        "sadness/s01 (5b).wav",
        "sadness/s05 (3).wav",
    ]
    records = read_tree(touch(tmp_path, paths), "aesdd")
    assert [one.id for one in records] == ["a03-3", "f10-1", "s01-5b"]
    assert [one.speaker for one in records] == ["aesdd_3", "aesdd_1", "aesdd_5"]
    assert "s05-3 (corrupt)" in caplog.text


def test_enterfaces_folder_names_the_subject(tmp_path, caplog):
    paths = [
        "subject 11/anger/sentence 1/s12_an_1.wav",
        "subject 12/anger/sentence 1/s12_an_1.wav",
        "subject 3/anger/sentence 1/s_3_an_1.wav",
        "subject 16/surprise/sentence 3/s16_su_3avi.wav",
        "subject 6/anger/s6_an.wav",
    ]
    for number, path in enumerate(paths):
        touch(tmp_path, [path], bytes([number]))
    records = read_tree(tmp_path, "enterface")
    assert [one.speaker for one in records] == [f"enterface_{who}" for who in (11, 12, 16, 3)]
    assert "subject6_anger_0 (uncut)" in caplog.text


def test_emov_dbs_folders_are_spelt_in_several_ways(tmp_path):
    paths = [
        "bea/Disgust/disgust_1-28_0011.wav",
        "sam/Disgusted/disgust_1-28_0011.wav",
        "jenie_anger/anger_1-28_0011.wav",
        "josh/Sleepiness/x_0011.wav",
    ]
    records = read_tree(touch(tmp_path, paths), "emov_db")
    assert [one.label("original") for one in records] == ["disgust", "angry", "sleepy", "disgust"]
    assert {one.label("sentence") for one in records} == {"0011"}


def test_hidden_files_of_a_mac_are_passed_over(tmp_path):
    assert len(read_tree(touch(tmp_path, ["wav/03a01Wa.wav", "wav/._03a01Wa.wav"]), "emodb")) == 1


def test_a_code_that_the_corpus_does_not_have_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        read_tree(touch(tmp_path, ["wav/03a01Xa.wav", "wav/03a01Wa.wav"]), "emodb")
    assert str(error.value) == (
        f"1 names cannot be EmoDB's:\n  {tmp_path}/wav/03a01Xa.wav: emotion `X`, EmoDB has "
        "W, L, E, A, F, T, N"
    )


def test_a_folder_of_something_else_says_what_was_expected(tmp_path):
    with pytest.raises(MissingError) as error:
        read_tree(touch(tmp_path, ["song.wav", "a.mp4"]), "ravdess")
    assert str(error.value) == (
        f"{tmp_path} is not RAVDESS (speech): expected names such as "
        "Actor_01/03-01-05-01-02-01-01.wav. Not taken: 1 .mp4, 1 not where the corpus has "
        "its recordings."
    )


def test_the_order_is_that_of_the_ids_wherever_files_lie(tmp_path):
    paths = [name.path for name in names_of("emovo")][:40]
    flat = [Path(path).name for path in reversed(paths)]
    one = [record.id for record in read_tree(touch(tmp_path / "a", paths), "emovo")]
    assert one == [record.id for record in read_tree(touch(tmp_path / "b", flat), "emovo")]


def test_an_emotion_corpus_can_carry_the_speaker_labels(tmp_path):
    touch(tmp_path, [f"{actor}_IEO_ANG_HI.wav" for actor in (1001, 1002)])
    section = SpeakerCorpusConfig(corpus="crema_d", root=str(tmp_path))
    records = read_corpus(ExpertConfig(speaker_corpus=section), "speaker")
    assert [one.speaker for one in records] == ["crema_d_1001", "crema_d_1002"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"example": "wav/a.wav"}, "EmoDB: the example does not fit the pattern"),
        ({"speaker": "{actor}"}, "EmoDB: `speaker` takes actor, which no name has"),
    ],
)
def test_a_row_is_held_against_its_own_example(change, problem):
    with pytest.raises(AssertionError, match=re.escape(problem)):
        dataclasses.replace(CORPORA["emodb"], **change)
