"""Speaker corpora with a layout of their own: who speaks, what is taken, what is left out."""

from collections import Counter

import pytest
from corpus_files import read_tree

from spknorm.corpora.known import CORPORA as KNOWN
from spknorm.demo.corpus_trees import TREES
from spknorm.errors import DataError, MissingError
from spknorm.probe.corpus import ProbeDataConfig, read_records
from spknorm.schema import SpeakerCorpusConfig

CORPORA = ("voxceleb2", "vctk", "common_voice", "libritts", "cn_celeb")


def plant(root, corpus):
    names = list(TREES[corpus].names())
    for name in names:
        (root / name.path).parent.mkdir(parents=True, exist_ok=True)
        (root / name.path).write_bytes(name.path.encode())
    for place, text in TREES[corpus].tables(names).items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    return names


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_tree_as_handed_out_is_read_with_its_speakers_and_sexes(corpus, tmp_path):
    names = plant(tmp_path, corpus)
    records = read_tree(tmp_path, corpus)
    by_path = {tmp_path / name.path: name for name in names}
    pairs = {(one.speaker, by_path[one.path].speaker) for one in records}
    assert len(pairs) == len({ours for ours, _ in pairs})
    if corpus in ("vctk", "common_voice", "libritts"):
        assert all(
            one.label("sex") == ("female" if by_path[one.path].is_female else "male")
            for one in records
        )
    assert [one.id for one in records] == list(dict.fromkeys(one.id for one in records))


@pytest.mark.parametrize("corpus", CORPORA)
def test_another_folder_says_what_was_expected(corpus, tmp_path):
    with pytest.raises(MissingError, match=f"{tmp_path} is not "):
        read_tree(tmp_path, corpus)


def test_voxceleb2s_copies_in_wav_go_before_its_m4a(tmp_path):
    names = plant(tmp_path, "voxceleb2")
    copy = tmp_path / names[0].path.replace("/aac/", "/wav/").replace(".m4a", ".wav")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"sound")
    records = read_tree(tmp_path, "voxceleb2")
    assert len(records) == len(names)
    assert Counter(one.path.suffix for one in records) == {".m4a": len(names) - 1, ".wav": 1}
    assert {one.part for one in records} == {"dev", "test"}
    assert records[0].label("video") == "video00x0"


def test_voxceleb2s_sexes_are_in_its_table(tmp_path):
    plant(tmp_path, "voxceleb2")
    (tmp_path / "vox2_meta.csv").write_text(
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,f ,dev \n"
    )
    found = {one.speaker: one.label("sex") for one in read_tree(tmp_path, "voxceleb2")}
    assert (found["id00012"], found["id00013"]) == ("female", None)


def test_of_vctk_one_microphone_is_read_and_the_other_counted(tmp_path, caplog):
    plant(tmp_path, "vctk")
    caplog.set_level("INFO")
    records = read_tree(tmp_path, "vctk")
    assert all(one.path.stem.endswith("_mic1") for one in records)
    assert Counter(one.speaker for one in records) == dict.fromkeys(
        ("p225", "p226", "p280", "p315", "s5"), 6
    )
    assert "18 of the second microphone" in caplog.text


def test_the_older_vctk_has_no_microphone_in_its_names(tmp_path):
    (tmp_path / "wav48/p225").mkdir(parents=True)
    (tmp_path / "wav48/p225/p225_001.wav").touch()
    (tmp_path / "speaker-info.txt").write_text("ID  AGE  GENDER\n225  23  F  English\n")
    (one,) = read_tree(tmp_path, "vctk")
    assert (one.id, one.speaker, one.label("sex")) == ("p225_001", "p225", "female")


def test_people_with_few_clips_of_common_voice_are_left_out(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    plant(tmp_path, "common_voice")
    records = read_tree(tmp_path, "common_voice")
    assert set(Counter(one.speaker for one in records).values()) == {6}
    assert len({one.speaker for one in records}) == 8
    assert "2 of 10 speakers of CommonVoice have fewer than 5 clips and are left out" in caplog.text
    monkeypatch.setattr("spknorm.corpora.common_voice.LEAST", 1)
    assert len(read_tree(tmp_path, "common_voice")) == len(records) + 2


def test_one_client_of_common_voice_in_two_languages_is_two_speakers(tmp_path):
    plant(tmp_path, "common_voice")
    names = {one.speaker for one in read_tree(tmp_path / "en", "common_voice")}
    assert len(names) == 4
    assert not names & {one.speaker for one in read_tree(tmp_path / "it", "common_voice")}


def test_what_listeners_rejected_is_not_taken(tmp_path, monkeypatch):
    plant(tmp_path, "common_voice")
    bad = tmp_path / "en/clips/common_voice_en_9999.mp3"
    bad.touch()
    header = "client_id\tpath\tsentence"
    (tmp_path / "en/invalidated.tsv").write_text(f"{header}\nx\t{bad.name}\tHello\n")
    monkeypatch.setattr("spknorm.corpora.common_voice.LEAST", 1)
    assert bad not in {one.path for one in read_tree(tmp_path, "common_voice")}


def test_librittss_folders_may_lie_in_one_of_its_name(tmp_path):
    plant(tmp_path, "libritts")
    records = read_tree(tmp_path, "libritts")
    assert {one.speaker for one in records} == {"19", "26", "103", "911", "1034"}
    assert read_tree(tmp_path / "LibriTTS", "libritts") == records


def test_cn_celebs_evaluation_does_not_train_and_its_copies_are_not_read(tmp_path):
    plant(tmp_path, "cn_celeb")
    copy = tmp_path / "CN-Celeb_flac/eval/test/id00003-singing-01-001.flac"
    copy.parent.mkdir(parents=True)
    copy.touch()
    records = read_tree(tmp_path, "cn_celeb")
    assert copy not in {one.path for one in records}
    assert {one.speaker for one in records if one.split == "test"} == {"id00003"}
    assert {one.label("genre") for one in records} == {"singing", "vlog"}
    assert records[0].label("recording") == "id00000-singing-01"


def test_two_recordings_of_one_name_are_refused(tmp_path):
    for folder, content in (("a", b"one"), ("b", b"another")):
        (tmp_path / folder / "p225").mkdir(parents=True)
        (tmp_path / folder / "p225/p225_001_mic1.flac").write_bytes(content)
    with pytest.raises(DataError, match="1 utterances of VCTK have several files that differ"):
        read_tree(tmp_path, "vctk")


@pytest.mark.parametrize(
    "corpus", sorted(one for one in TREES if "speaker" in KNOWN[one].roles and one != "cameo")
)
def test_every_corpus_of_files_can_be_probed(corpus, tmp_path):
    plant(tmp_path, corpus)
    config = SpeakerCorpusConfig(corpus=corpus, root=str(tmp_path))
    assert len({one.speaker for one in read_records(config, ProbeDataConfig())}) > 1
