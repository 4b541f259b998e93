"""EmoBox's fold lists against the names that our readers give, a pair of each corpus' ids."""

import json

import pytest
from acted_corpora import utterance
from corpus_files import read_tree

from spknorm.errors import DataError, MissingError
from spknorm.protocols.emobox import hold_out_by_lists

CODED = {  # our corpus: recordings as handed out, and the keys that EmoBox's lists have for them
    "aesdd": ("anger/a11 (5).wav aesdd-a11-5", "sadness/s02 (5b).wav aesdd-s02-5b"),
    "cafe": ("Peur/Fort/08-P-2-1.wav cafe-08-P-2-1", "Peur/Fort/01-P-2-3.wav cafe-01-P-2-3"),
    "casia": (
        "wangzhe/neutral/239.wav casia-239-wangzhe-neutral",
        "liuchanhg/fear/239.wav casia-239-liuchanhg-fear",
    ),
    "crema_d": (
        "AudioWAV/1052_WSI_ANG_XX.wav cremad-1052-WSI-ANG-XX",
        "AudioWAV/1077_IEO_ANG_MD.wav cremad-1077-IEO-ANG-MD",
    ),
    "emodb": ("wav/03a02Wb.wav emodb-03a02Wb", "wav/08a02Wb.wav emodb-08a02Wb"),
    "emov_db": (
        "sam/Amused/amused_365-392_0384.wav emovdb-sam-Amused-0384",
        "jenie/Sleepiness/sleepiness_1-28_0011.wav emovdb-jenie-Sleepy-0011",
        "bea/Angry/anger_1-28_0011.wav emovdb-bea-Angry-0011",
    ),
    "emovo": ("f2/gio-f2-b2.wav emovo-gio-f2-b2", "m1/gio-m1-b2.wav emovo-gio-m1-b2"),
    "enterface": (
        "subject 14/anger/sentence 3/s14_an_3.avi enterface-s14_an_3.avi",
        "subject 3/surprise/sentence 2/s_3_su_2.avi enterface-s_3_su_2.avi",
        "subject 16/surprise/sentence 3/s16_su_3avi.avi enterface-s16_su_3avi.avi",
        "subject 11/anger/sentence 2/s12_an_2.avi enterface-s12_an_2.avi",
    ),
    "esd": ("0005/Neutral/0005_000001.wav esd-0005-000001", "0011/0011_000001.wav esd-0011-000001"),
    "jl": (
        "JL(wav+txt)/male2_concerned_6b_1.wav jlcorpus-male2-concerned-6b-1",
        "JL(wav+txt)/male1_angry_12a_2.wav jlcorpus-male1-angry-12a-2",
    ),
    "ravdess": (
        "Actor_11/03-01-07-02-02-02-11.wav ravdess-03-01-07-02-02-02-11",
        "Actor_02/03-01-07-02-02-02-02.wav ravdess-03-01-07-02-02-02-02",
    ),
    "savee": ("AudioData/JE/n23.wav savee-JE-n23", "AudioData/KL/sa08.wav savee-KL-sa08"),
    "shemo": ("male/M32S01.wav shemo-M32S01", "female/F32S01.wav shemo-F32S01"),
    "subesco": (
        "M_09_SHUMANTA_S_2_FEAR_2.wav subesco-M_09_SHUMANTA_S_2_FEAR_2",
        "F_02_MONIKA_S_2_SURPRISE_3.wav subesco-F_02_MONIKA_S_2_SURPRISE_3]",
    ),
    "tess": (
        "OAF_Fear/OAF_should_fear.wav tess-OAF-should-fear",
        "YAF_pleasant_surprised/YAF_raid_ps.wav tess-YAF-raid-ps",
    ),
}
OTHERS = {  # our reader's id, who speaks, and the key
    "iemocap": (
        ("Ses01F_impro04_F000", "Ses01F", "iemocap-Ses01F_impro04_F000"),
        ("Ses05M_script01_1b_M000", "Ses05M", "iemocap-Ses05M_script01_1b_M000"),
    ),
    "meld": (
        ("test_dia0_utt0", "Mark", "meld-dia0_utt0-test"),
        ("dev_dia0_utt0", "Oliver", "meld-dia0_utt0-dev"),
        ("train_dia0_utt0", "Ann", "meld-dia0_utt0-train"),
    ),
    "emozionalmente": (
        ("1614680733939", "7af9", "emozionalmente-1614680733939"),
        ("1613840532900", "5b1d", "emozionalmente-1613840532900"),
    ),
}


def lists(folder, **parts):
    for part, keys in parts.items():
        path = folder / f"fold_1/x_{part}_fold_1.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"key": key, "wav": ""}) + "\n" for key in keys))
    return folder


@pytest.mark.parametrize("corpus", CODED)
def test_a_key_of_a_list_finds_the_recording_that_was_handed_out_so(corpus, tmp_path):
    keys = {}
    for row in CODED[corpus]:
        path, _, key = row.rpartition(" ")
        keys[key] = tmp_path / "corpus" / path
        keys[key].parent.mkdir(parents=True, exist_ok=True)
        keys[key].write_bytes(key.encode())
    first, *others = keys
    folder = lists(tmp_path / "lists", test=[first], train=others)
    train, _, test = hold_out_by_lists(read_tree(tmp_path / "corpus", corpus), "fold1", folder)
    assert [one.path for one in test] == [keys[first]]
    assert {one.path for one in train} == {keys[key] for key in others}


@pytest.mark.parametrize("corpus", OTHERS)
def test_so_does_a_key_of_corpora_with_tables(corpus, tmp_path):
    records = [utterance(name, speaker) for name, speaker, _ in OTHERS[corpus]]
    first, *others = [key for *_, key in OTHERS[corpus]]
    folder = lists(tmp_path, test=[first], train=others)
    train, _, test = hold_out_by_lists(records, "fold1", folder)
    assert test == records[:1]
    assert train == records[1:]


def test_two_lists_of_one_part_are_refused(tmp_path):
    lists(tmp_path, test=["emodb-03a02Wb"], train=["emodb-08a02Wb"])
    (tmp_path / "fold_1/y_test_fold_1.jsonl").write_text('{"key": "y-1", "wav": ""}\n')
    with pytest.raises(DataError) as error:
        hold_out_by_lists(
            [utterance("03a02Wb", "03"), utterance("08a02Wb", "08")], "fold1", tmp_path
        )
    assert str(error.value) == (
        f"{tmp_path} has two lists of the test part of fold 1, {tmp_path}/fold_1/"
        f"x_test_fold_1.jsonl and {tmp_path}/fold_1/y_test_fold_1.jsonl: `fold_lists` is the "
        "folder of one corpus."
    )


def test_lines_that_cannot_be_used_are_named(tmp_path):
    lists(tmp_path, test=["emodb-03a02Wb"])
    with (tmp_path / "fold_1/x_test_fold_1.jsonl").open("a") as file:
        file.write('{\n[1]\n{"wav": "a"}\n')
    with pytest.raises(DataError) as error:
        hold_out_by_lists([utterance("03a02Wb", "03")], "fold1", tmp_path)
    text = str(error.value)
    assert text.startswith(f"3 lines of {tmp_path}/fold_1/x_test_fold_1.jsonl cannot be used:")
    assert "x_test_fold_1.jsonl, line 2: not JSON" in text
    assert "x_test_fold_1.jsonl, line 3: expected a JSON object" in text
    assert "x_test_fold_1.jsonl, line 4: lacks 'key'" in text


def test_the_folder_of_all_corpora_has_no_list(tmp_path):
    lists(tmp_path / "emodb", test=["emodb-03a02Wb"])
    with pytest.raises(MissingError, match=r"has no list fold_1/<corpus>_test_fold_1\.jsonl"):
        hold_out_by_lists([utterance("03a02Wb", "03")], "fold1", tmp_path)
