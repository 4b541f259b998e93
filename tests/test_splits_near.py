"""The audit of splits: near-duplicates, lists of other tools, the page."""

import json

import numpy as np
import pytest
import soundfile

from spknorm.cli import main
from spknorm.demo.corpus_trees import write_tree
from spknorm.protocols.fingerprint import ALIKE, fingerprint, groups_of


def splits(*words):
    return main(["splits", *map(str, words)])


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Recordings of a small tree."""
    root = tmp_path_factory.mktemp("voices")
    write_tree(root, "emovo", seed=1, num_speakers=3, per_emotion=2)
    return sorted(root.rglob("*.wav"))


def encoded(samples, rate, how, path):
    """Write the same sound in another way."""
    if how == "quieter":
        soundfile.write(path.with_suffix(".wav"), samples * 0.2, rate)
        return path.with_suffix(".wav")
    if how == "mp3":
        soundfile.write(path.with_suffix(".mp3"), samples, rate)
        return path.with_suffix(".mp3")
    if how == "ogg":
        soundfile.write(path.with_suffix(".ogg"), samples, rate)
        return path.with_suffix(".ogg")
    if how == "telephone":
        from scipy.signal import resample_poly

        low = resample_poly(samples, 8000, rate)
        soundfile.write(path.with_suffix(".wav"), low, 8000, subtype="ULAW")
        return path.with_suffix(".wav")
    silence = np.random.default_rng(0).normal(0, 1e-5, rate // 4)
    soundfile.write(path.with_suffix(".wav"), np.concatenate([silence, samples, silence]), rate)
    return path.with_suffix(".wav")


@pytest.mark.parametrize("how", ["quieter", "mp3", "ogg", "telephone", "between silences"])
def test_what_was_encoded_anew_is_alike_and_nothing_else_is(how, voices, tmp_path):
    files = list(voices)
    for number, file in enumerate(voices[::7]):
        samples, rate = soundfile.read(file)
        files.append(encoded(samples, rate, how, tmp_path / f"copy{number}"))
    groups = groups_of([fingerprint(file) for file in files])
    copies = groups[len(voices) :]
    assert copies == groups[: len(voices) : 7][: len(copies)]
    assert len(set(groups)) == len(voices)


def test_other_recordings_are_far_from_alike(voices):
    vectors = np.stack([fingerprint(file)[1] for file in voices])
    likeness = vectors @ vectors.T - 2 * np.eye(len(voices))
    assert likeness.max() < ALIKE - 0.03


def test_what_cannot_be_decoded_is_alike_to_nothing():
    assert groups_of([None, None]) == [None, None]


@pytest.fixture
def near(voices, tmp_path):
    """A list in which a quieter copy of a training recording is tested."""
    rows = ["path,emotion,speaker,split"]
    for number, file in enumerate(voices[:6]):
        samples, rate = soundfile.read(file)
        soundfile.write(tmp_path / f"{number}.wav", samples, rate)
        rows.append(f"{number}.wav,neu,s{number},{'train' if number < 4 else 'test'}")
    samples, rate = soundfile.read(voices[0])
    soundfile.write(tmp_path / "copy.ogg", 0.5 * samples, rate)
    rows.append("copy.ogg,neu,s9,test")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "list.csv"


def test_a_copy_in_another_encoding_is_a_leak_that_bytes_do_not_show(near, capsys):
    assert splits(near, "--strict") == 0
    assert splits(near, "--strict", "--near") == 3
    shown = capsys.readouterr().out
    assert "LEAK 1 of 1 near-duplicates of test are in train (1 utterances): copy.ogg" in shown


def test_a_copy_with_the_same_bytes_is_a_recording_and_not_a_near_duplicate(near, capsys):
    (near.parent / "copy.ogg").write_bytes((near.parent / "0.wav").read_bytes())
    assert splits(near, "--near") == 0
    shown = capsys.readouterr().out
    assert "LEAK 1 of 3 recordings of test are in train" in shown
    assert "near-duplicates" not in shown


def test_the_page_has_folds_leaks_examples_and_classes(near, capsys):
    page = near.parent / "page.html"
    splits(near, "--near", "--page", page, "--json", near.parent / "out.json")
    text = page.read_text()
    assert "1 of 1 folds leak" in text
    assert "1 of 1 near-duplicates of test are in train (1 utterances)" in text
    assert "neu 4 / 0 / 3" in text
    (fold,) = json.loads((near.parent / "out.json").read_text())[str(near)]
    assert {one["what"] for one in fold["shared"]} >= {"speakers", "near-duplicates", "recordings"}


def test_names_on_a_page_are_text(tmp_path):
    row = "x.wav,<b>anna</b>,{}"
    lines = ["path,speaker,split", row.format("train"), row.replace("x", "y").format("test")]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    splits(tmp_path / "list.csv", "--names", "--page", tmp_path / "page.html")
    assert "&lt;b&gt;anna&lt;/b&gt;" in (tmp_path / "page.html").read_text()


def test_reading_nothing_and_decoding_all_exclude_each_other(tmp_path, capsys):
    assert splits("savee", "--names", "--near") == 2
    assert "--names reads no file and --near decodes all" in capsys.readouterr().err


def test_emoboxs_lists_are_audited_fold_by_fold(tmp_path, capsys):
    for fold, test in (("1", "anna"), ("2", "ben")):
        for part in ("train", "test"):
            people = ["anna", "ben"] if part == "train" and fold == "2" else [test]
            if part == "train" and fold == "1":
                people = ["ben"]
            rows = [json.dumps({"key": f"x-{who}-{part[0] if fold == '2' else ''}",
                                "wav": f"{who}.wav", "emo": "joy"}) for who in people]  # fmt: skip
            file = tmp_path / f"fold_{fold}/x_{part}_fold_{fold}.jsonl"
            file.parent.mkdir(exist_ok=True)
            file.write_text("\n".join(rows) + "\n")
    lines = [
        f"x-{who}-{part} 1 x 0 1 <spk={who}> a" for who in ("anna", "ben") for part in ("", "t")
    ]
    (tmp_path / "data.seg.wrd.stm").write_text("\n".join(lines) + "\n")
    assert splits(tmp_path, "--names", "--strict") == 3
    shown = capsys.readouterr().out
    assert "  fold_1: 1 train, 0 dev, 1 test; no leak found\n" in shown
    assert "LEAK 1 of 1 speakers of test are in train (1 utterances): ben" in shown


def test_what_cannot_be_decoded_and_speakers_but_for_capitals_are_told(tmp_path, capsys, caplog):
    lines = ["id,path,emotion,speaker,split"]
    for number, (speaker, part) in enumerate((("anna", "train"), ("ANNA", "test"))):
        noise = np.random.default_rng(number).normal(0, 0.1, 16000)
        soundfile.write(tmp_path / f"{number}.wav", noise, 16000)
        lines.append(f"u{number},{number}.wav,neu,{speaker},{part}")
    (tmp_path / "l.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "1.wav").write_bytes((tmp_path / "1.wav").read_bytes()[:9000])
    assert splits(tmp_path / "l.csv", "--near") == 0
    told = capsys.readouterr().out
    assert "    1 files cannot be decoded, so they are not compared by ear\n" in told
    assert splits(tmp_path / "l.csv") == 0
    assert "files cannot be" not in capsys.readouterr().out
    assert (
        "differ from training ones in capitals or spaces alone (`ANNA` and `anna`)" in caplog.text
    )
